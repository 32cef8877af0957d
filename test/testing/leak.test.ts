import { keep, memory, scope, tensor, zeros } from "bitgrad";
import { leakCheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

describe("leakCheck", () => {
  it("passes work that releases what it makes", () => {
    leakCheck(() => scope(() => zeros([100]).exp().sum().item()));
    leakCheck(() => zeros([10]).dispose());
  });

  it("tells how much is left behind", () => {
    expect(() => leakCheck(() => scope(() => keep(zeros([100]))), { runs: 3 })).toThrow(
      "leakCheck: memory grows, got 3 tensors and 1200 bytes more after 3 runs",
    );
  });

  it("lets the first runs fill caches", () => {
    let cache: unknown = null;
    leakCheck(() => {
      cache ??= tensor([1]);
    });
    expect(cache).not.toBeNull();
  });

  it("releases everything itself, also when it throws", () => {
    const before = memory().tensors;
    expect(() => leakCheck(() => zeros([1]))).toThrow();
    expect(memory().tensors).toBe(before);
  });
});
