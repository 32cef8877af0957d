/** Packed kinds from outside that do what they must not: each is named, with the path of the layer. */

import { FormatError, OptionError, ShapeError } from "bitgrad";
import { Linear, Sequential } from "bitgrad/nn";
import { type Fields, loadPacked, PackedModel, type PackedStep, type Values } from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const x: Values = { data: Float32Array.of(1, 2), shape: [1, 2] };

/** A kind whose layers keep their fields, and give what `give` makes of x. */
const kindOf = (give: (x: Values, call?: object) => unknown, statics: object = {}) =>
  Object.assign(
    class {
      static readonly kind = "own";
      readonly kind = "own";
      readonly v: unknown;
      constructor(fields: Fields) {
        this.v = fields.v ?? null;
      }
      forward(given: Values, call?: object): Values {
        return give(given, call) as Values;
      }
    },
    statics,
  );
type Kind = ReturnType<typeof kindOf>;
const made = (Kind: Kind, fields: object = {}) =>
  new PackedModel({ kind: "own", ...fields } as never, { kinds: [Kind] });
const same = (given: Values): Values => given;

class Own {
  forward(given: unknown): never {
    return given as never;
  }
  toPacked() {
    return { kind: "own" };
  }
}

describe("what a packed kind from outside gives", () => {
  it.each([
    ["undefined", () => undefined],
    ["5", () => 5],
    ["Promise", async () => x],
    ["Promise", () => Promise.reject(new Error("late"))],
    ["(1, 2) with 3 numbers", () => ({ data: new Float32Array(3), shape: [1, 2] })],
    ["(1, 2) with 2 numbers in Float64Array", () => ({ data: new Float64Array(2), shape: [1, 2] })],
    ["(1, 2) with 2 numbers in (1, 2)", () => ({ data: [1, 2], shape: [1, 2] })],
    ["(-1, 0) with 0 numbers", () => ({ data: new Float32Array(0), shape: [-1, 0] })],
    ["Object", () => ({ data: new Float32Array(2) })],
  ])("is checked: %s", (what, give) => {
    const Kind = kindOf(give as never);
    const deep = pack(
      new Sequential(new Linear(2, 2), new Sequential(new Own(), new Linear(2, 1))) as never,
      {
        kinds: [Kind],
      },
    );
    for (const [model, at] of [
      [made(Kind), "the root"],
      [deep, "steps.1.steps.0"],
      [loadPacked(deep.toBytes(), { kinds: [Kind] }), "steps.1.steps.0"],
      [new PackedModel(new Kind({}), { kinds: [Kind] }), "the root"],
    ] as const) {
      expect(() => model.forward(x)).toThrow(ShapeError);
      expect(() => model.forward(x)).toThrow(
        `forward: the layer "own" at ${at}: needs { data, shape } of float32, got ${what}`,
      );
    }
  });

  it("passes where it is right, with all that it was told, and leaves the class alone", () => {
    const Kind = kindOf((_, call) => ({ data: Float32Array.of((call as { k: number }).k), shape: [1] }), {
      options: { k: 3 },
    });
    const { forward } = Kind.prototype;
    const model = made(Kind);
    expect(model.forward<{ k: number }>(x, { k: 4 }).data[0]).toBe(4);
    expect(new PackedModel(model.root, { kinds: [Kind] }).forward(x).data[0]).toBe(3);
    expect(Kind.prototype.forward).toBe(forward);
    expect(Object.keys(model.root)).not.toContain("forward");
    expect([...made(kindOf(same)).forward(x).data]).toEqual([1, 2]);
  });

  it("needs a forward at the root, and a layer that may be extended", () => {
    class Still implements PackedStep {
      static readonly kind = "still";
      readonly kind = "still";
      constructor() {
        Object.freeze(this);
      }
      forward = same;
    }
    class None {
      static readonly kind = "none";
      readonly kind = "none";
    }
    expect(() => new PackedModel({ kind: "none" }, { kinds: [None] })).toThrow(OptionError);
    expect(() => new PackedModel({ kind: "none" }, { kinds: [None] })).toThrow(
      'PackedModel: the root must have forward, got "none"',
    );
    expect(() =>
      pack(new Sequential(new Own()) as never, { kinds: [Object.assign(None, { kind: "own" })] }),
    ).toThrow();
    expect(() => new PackedModel({ kind: "still" }, { kinds: [Still] })).toThrow(
      /must not be frozen, got "still"/,
    );
  });
});

describe("fields without an end", () => {
  it("are refused by a model and by a file, with their path", () => {
    const steps: unknown[] = [];
    const ring = { kind: "sequential", steps };
    steps.push({ kind: "function", name: "relu" }, ring);
    expect(() => new PackedModel(ring)).toThrow(FormatError);
    expect(() => new PackedModel(ring)).toThrow(
      /^PackedModel: fields must not hold themselves, got "steps\.1"/,
    );
    let deep: object = { kind: "function", name: "relu" };
    for (let i = 0; i < 20_000; i++) deep = { kind: "sequential", steps: [deep] };
    expect(() => new PackedModel(deep as never)).toThrow(FormatError);
    const v: Record<string, unknown> = {};
    const model = made(kindOf(same), { v });
    (model.root as unknown as { v: Record<string, unknown> }).v.again = (
      model.root as unknown as { v: object }
    ).v;
    expect(() => model.toBytes()).toThrow(OptionError);
    expect(() => model.toBytes()).toThrow(/^toBytes: fields must not hold themselves, got "v\.again"/);
    // The same object twice is no ring.
    const twice = { a: 1 };
    expect(made(kindOf(same), { v: [twice, twice] }).toBytes().length).toBeGreaterThan(0);
  });
});

describe("fields that JSON changes", () => {
  it("are refused: −0, and the name __proto__", () => {
    for (const [v, says] of [
      [-0, /got −0 at v; write 0/],
      [{ a: [1, -0] }, /got −0 at v\.a\.1/],
      [JSON.parse('{"__proto__":{"x":1}}'), /got "__proto__" at v/],
      [{ a: JSON.parse('{"__proto__":1}') }, /got "__proto__" at v\.a/],
    ] as const) {
      const model = made(kindOf(same), { v });
      expect(() => model.toBytes()).toThrow(OptionError);
      expect(() => model.toBytes()).toThrow(says);
    }
    const kept = Float32Array.of(-0);
    const { root } = loadPacked(made(kindOf(same), { v: kept }).toBytes(), { kinds: [kindOf(same)] });
    expect((root as unknown as { v: Float32Array }).v).toEqual(kept);
  });
});

describe("what a packed kind from outside can be told", () => {
  const options = { m: "ids", v: "values", k: 3 };
  it("is told falsy arrays too", () => {
    const model = made(kindOf(same, { options }));
    for (const name of ["m", "v"])
      for (const falsy of [0, false, "", Number.NaN, 0n]) {
        expect(() => model.forward(x, { [name]: falsy } as never)).toThrow(/^forward: /);
      }
    for (const name of ["m", "v"])
      for (const none of [null, undefined])
        expect(model.forward(x, { [name]: none } as never).shape).toEqual([1, 2]);
  });

  it("is an object of options, without a budget", () => {
    for (const bad of [null, "abc", 5, [], ["ids"], () => 1, new Map()]) {
      expect(() => made(kindOf(same, { options: bad }))).toThrow(OptionError);
      expect(() => made(kindOf(same, { options: bad }))).toThrow(
        /^PackedModel: static options must be an object by name, got .* of "own"/,
      );
    }
    expect(() => made(kindOf(same, { options: { budget: 3 } }))).toThrow(
      'PackedModel: an option must not be named "budget", which every run has, got it of "own"',
    );
    expect(made(kindOf(same, { options: undefined })).forward(x).shape).toEqual([1, 2]);
  });
});
