import {
  BitgradError,
  backendInfo,
  keep,
  memory,
  OptionError,
  type Scope,
  StageError,
  scope,
  setHeapBudget,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import { Linear } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { afterEach, describe, expect, it } from "vitest";
import { addressOf } from "../kernels/wasm/heap.ts";
import { Parameter } from "../src/nn/parameter.ts";

afterEach(() => expect(memory().tensors).toBe(0));

describe("scope", () => {
  it("returns what the callback returns and releases the rest, naming itself", () => {
    let lost = zeros([1]);
    const kept = scope(
      () => {
        lost = tensor([1, 2]).exp();
        return tensor([1, 2]).mul(2);
      },
      { name: "step" },
    );
    expectClose(kept, [2, 4]);
    expect(() => lost.data).toThrow(BitgradError);
    expect(() => lost.add(1)).toThrow(
      'tensor: used after its memory was released, got a tensor released by the end of scope "step"; return it from the scope or keep() it',
    );
  });

  it("finds tensors in arrays, objects, maps and sets that are returned, also in cycles", () => {
    const node: { value: Tensor | null; self: unknown } = { value: null, self: null };
    const found = scope(() => {
      node.value = zeros([1]);
      node.self = node;
      return [new Map([["a", zeros([1])]]), new Set([zeros([1])]), node] as const;
    });
    expect([...found[0].values(), ...found[1], found[2].value].map((t) => t?.data.length)).toEqual([1, 1, 1]);
  });

  it("keeps what keep takes out, for the scope around it alone", () => {
    let inner = zeros([1]);
    scope(() => {
      scope(() => {
        inner = keep(zeros([3]));
      });
      expect(inner.size).toBe(3);
      expect(memory().tensors).toBe(1);
    });
    expect(() => inner.data).toThrow("released");
  });

  it("leaves tensors from outside, parameters and gradients alone", () => {
    const outside = zeros([2]);
    const p = new Parameter(tensor([1, 2]));
    let made: Parameter | null = null;
    scope(() => {
      p.value.square().sum().add(outside.sum()).backward();
      made = new Parameter(tensor([3]));
    });
    expect(outside.data.length).toBe(2);
    expectClose(p.grad as Tensor, [2, 4]);
    expectClose((made as unknown as Parameter).value, [3]);
  });

  it("releases also when the callback throws, and refuses promises", () => {
    let lost = zeros([1]);
    expect(() =>
      scope(() => {
        lost = zeros([2]);
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(() => lost.data).toThrow("released");
    expect(() => scope(async () => zeros([1]))).toThrow(StageError);
  });

  it("ends with it the scopes that a callback left open as it threw", () => {
    let lost = zeros([1]);
    expect(() =>
      scope(() => {
        scope({ name: "left open" });
        lost = zeros([2]);
        throw new Error("inside");
      }),
    ).toThrow("inside");
    expect(() => lost.data).toThrow('the end of scope "left open"');
    zeros([1]);
    expect(memory().tensors).toBe(0);
  });

  it("opens by itself for `using`, and ends once", () => {
    const s: Scope = scope({ name: "loop" });
    const [lost, kept] = [zeros([1]), s.keep(zeros([1]))];
    s.dispose();
    s.dispose();
    expect(() => lost.data).toThrow('the end of scope "loop"');
    expect(kept.size).toBe(1);
    const t = scope();
    t[Symbol.dispose]();
    expect(memory().tensors).toBe(0);
  });

  it("hands over nothing to a scope that has ended, whatever the order", () => {
    const [outer, inner] = [scope({ name: "outer" }), scope({ name: "inner" })];
    outer.dispose();
    const t = inner.keep(zeros([1]));
    inner.dispose();
    expect(t.size).toBe(1);
    expect(memory().tensors).toBe(0);
  });

  it("refuses junk", () => {
    expect(() => scope("step" as never)).toThrow(OptionError);
    expect(() => scope(() => 1, { label: "x" } as never)).toThrow('unknown option, got "label"');
    expect(memory().tensors).toBe(0);
  });
});

describe("data", () => {
  it("is a tensor's own memory, which leaves the process by its slice alone", () => {
    const { value } = new Linear(64, 64).weight;
    const own = value.data.slice();
    const clone = structuredClone(own);
    expect(
      [own.buffer, clone.buffer].every((b) => b instanceof ArrayBuffer && b.byteLength === 64 * 64 * 4),
    ).toBe(true);
    const first = value.data[0];
    own[0] = 7;
    clone[0] = 7;
    expect(value.data[0]).toBe(first);
  });
});

describe("dispose", () => {
  it("gives one view back and leaves the other, and is harmless twice", () => {
    scope(() => {
      const x = zeros([2, 3]);
      const y = x.reshape([6]);
      x.dispose();
      x.dispose();
      expect(() => x.data).toThrow("released by dispose()");
      expect(y.data.length).toBe(6);
      expect(memory().tensors).toBe(1);
      y[Symbol.dispose]();
      expect(memory().tensors).toBe(0);
    });
  });

  it("gives back at once what was made in a shape", () => {
    scope(() => {
      tensor([1, 2, 3, 4], { shape: [2, 2] }).dispose();
      expect(memory().tensors).toBe(0);
    });
  });
});

describe("memory", () => {
  it("counts the tensors and bytes of open scopes, views once, and their peak", () => {
    const before = memory();
    expect([before.tensors, before.bytes]).toEqual([0, 0]);
    zeros([1000]);
    expect(memory().tensors).toBe(0);
    scope(() => {
      const x = zeros([1000]);
      x.reshape([10, 100]);
      zeros([5], { dtype: "int8" });
      expect([memory().tensors, memory().bytes]).toEqual([2, 4005]);
    });
    expect(memory().bytes).toBe(0);
    expect(memory().peak).toBeGreaterThanOrEqual(4005);
  });
});

describe("what is pinned", () => {
  const bytes = () => backendInfo().heap.bytes;
  const onSimd = backendInfo().name === "simd";

  it.skipIf(!onSimd)(
    "lies on the heap with the numbers it had, through scopes, until it is disposed of",
    () => {
      // The block that small operands of kernels are copied to lasts from its first use on.
      scope(() => zeros([5000]).add(1));
      const before = bytes();
      const parameter = new Parameter(tensor(Float32Array.from({ length: 1000 }, (_, i) => i)));
      expect(addressOf(parameter.value.data)).toBeGreaterThan(0);
      const made = scope(() => new Parameter(zeros([1000]).add(2)));
      expect(addressOf(made.value.data)).toBeGreaterThan(0);
      scope(() => zeros([5000]).add(1));
      expect(parameter.value.data[999]).toBe(999);
      expect(made.value.data.every((value) => value === 2)).toBe(true);
      expect(bytes()).toBeGreaterThanOrEqual(before + 8000);
      // A parameter holds a detached twin, so the block goes with it alone where nobody else reads it.
      made.value.storage.release("the test");
      parameter.value.storage.release("the test");
      expect(bytes()).toBe(before);
      expect(() => made.value.data).toThrow(/released by the test/);
    },
  );

  it.skipIf(!onSimd)("takes at most half of the heap's budget", () => {
    const { budget } = backendInfo().heap;
    setHeapBudget(2 ** 20);
    const parameter = new Parameter(zeros([2 ** 18]));
    setHeapBudget(budget);
    expect(addressOf(parameter.value.data)).toBe(0);
    expect(parameter.value.data[2 ** 18 - 1]).toBe(0);
  });
});

describe("tensor() inside a scope", () => {
  it.skipIf(backendInfo().name === "reference")("copies its numbers to where kernels work in place", () => {
    const numbers = Float32Array.from({ length: 100 }, (_, i) => i);
    scope(() => {
      const made = [
        tensor(numbers),
        tensor(Array.from(numbers)),
        tensor(tensor(numbers)),
        tensor(Int8Array.from(numbers)),
      ];
      for (const t of made) {
        expect(addressOf(t.data)).not.toBe(0);
        expect(Array.from(t.data)).toEqual(Array.from(numbers));
      }
      numbers[0] = 7;
      expect(made[0].data[0]).toBe(0);
    });
    expect(addressOf(tensor(numbers).data)).toBe(0);
  });
});
