import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  type BackendName,
  backendInfo,
  keep,
  ones,
  Rng,
  randn,
  scope,
  setHeapBudget,
  type Tensor,
  useBackend,
} from "bitgrad";
import { Parameter } from "bitgrad/nn";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { addressOf } from "../kernels/wasm/heap.ts";

const defaultBudget = backendInfo().heap.budget;
const asked = process.env.BITGRAD_BACKEND as BackendName | undefined;
const onHeap = (t: Tensor): boolean => addressOf(t.data) !== 0;

beforeEach(() => {
  useBackend("simd");
});

afterEach(() => {
  useBackend(asked ?? "simd");
  setHeapBudget(defaultBudget);
});

describe("the SIMD backend", () => {
  it.skipIf(asked)("is the default here, and says so", () => {
    expect(backendInfo().name).toBe("simd");
  });

  it("multiplies as the reference does within the dot-product bound", () => {
    const a = randn([37, 129], { rng: new Rng(1) });
    const b = randn([129, 41], { rng: new Rng(2) });
    const fast = a.matmul(b);
    useBackend("reference");
    expect(backendInfo()).toMatchObject({
      name: "reference",
      reason: "the reference was chosen by useBackend",
    });
    const exact = a.to("float64").matmul(b.to("float64"));
    const bound = a
      .abs()
      .to("float64")
      .matmul(b.abs().to("float64"))
      .mul(129 * 2 ** -24);
    expect(fast.to("float64").sub(exact).abs().lessEqual(bound).all().item()).toBe(1);
    expect(a.matmul(b).to("float64").sub(exact).abs().max().item()).toBeLessThan(1e-5);
  });

  it("refuses backends that do not exist", () => {
    expect(() => useBackend("cuda" as never)).toThrow(/useBackend: no such backend, got "cuda"/);
  });

  it("reports plain SIMD when relaxed SIMD is turned off", () => {
    useBackend("simd", { relaxed: false });
    expect(backendInfo().relaxed).toBe(false);
  });
});

describe("the heap", () => {
  it("holds the tensors of a scope and gives all of them back at its end", () => {
    const before = backendInfo().heap.bytes;
    scope(() => {
      const x = ones([100]).mul(2);
      expect(onHeap(x)).toBe(true);
      expect(backendInfo().heap.bytes).toBeGreaterThan(before);
    });
    expect(backendInfo().heap.bytes).toBe(before);
  });

  it("lets what a scope returns or keeps go on as ordinary arrays with the same numbers", () => {
    const before = backendInfo().heap.bytes;
    let kept: Tensor | undefined;
    const returned = scope(() => {
      kept = keep(ones([200]).mul(3));
      return [ones([100]).mul(2), ones([5])];
    });
    expect(returned.map(onHeap)).toEqual([false, false]);
    expect(onHeap(kept!)).toBe(false);
    expect([returned[0].sum().item(), kept!.sum().item()]).toEqual([200, 600]);
    expect(backendInfo().heap.bytes).toBe(before);
  });

  it("keeps the numbers of a nested scope's result on the heap of the scope around it", () => {
    scope(() => {
      const inner = scope(() => ones([100]).mul(2));
      expect(onHeap(inner)).toBe(true);
      expect(inner.sum().item()).toBe(200);
    });
  });

  it("never holds a gradient, which outlives the scope it was made in", () => {
    const weight = new Parameter(ones([100]));
    scope(() => {
      weight.effective().mul(3).sum().backward();
    });
    expect(onHeap(weight.grad!)).toBe(false);
    expect(weight.grad!.sum().item()).toBe(300);
  });

  it("holds nothing outside scopes, under the reference, or beyond its budget", () => {
    expect(onHeap(ones([100]).mul(2))).toBe(false);
    setHeapBudget(0);
    scope(() => {
      const large = Array.from({ length: 4 }, () => ones([4_000_000]).mul(2));
      expect(large.some((t) => !onHeap(t))).toBe(true);
      expect(large.map((t) => t.data[3_999_999])).toEqual([2, 2, 2, 2]);
    });
    useBackend("reference");
    scope(() => {
      expect(onHeap(ones([100]).mul(2))).toBe(false);
    });
    expect(() => setHeapBudget(Number.NaN)).toThrow(/setHeapBudget: needs a number of bytes, got NaN/);
  });

  it("gives zeroed memory however often a block was used before", () => {
    for (let i = 0; i < 3; i++) {
      scope(() => {
        const x = ones([256]).mul(7);
        x.dispose();
        const y = ones([128]).pad([[64, 64]]);
        expect(y.sum().item()).toBe(128);
      });
    }
  });
});

it.each([
  ["computes on a memory that may not be shared, however often it grows", "unshared"],
  ["computes on a memory that is not shared where the platform makes none to share", "no-shared-memory"],
])("%s", async (_, name) => {
  const script = fileURLToPath(new URL(`./fixtures/${name}.ts`, import.meta.url));
  const { stderr } = await promisify(execFile)(process.execPath, ["--import", "tsx", script], {
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  expect(stderr).not.toMatch(/Error/);
});
