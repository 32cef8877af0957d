/** Packed kinds from outside that do what they must not: each is named, with the path of the layer. */

import { FormatError, OptionError } from "bitgrad";
import { type Fields, loadPacked, PackedModel, type Values } from "bitgrad/packed";
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
