import { FormatError, noGrad, OptionError, Rng, relu, scope, type Tensor } from "bitgrad";
import { evaluate, Linear, type PackedFields, type Packer, Parameter, Sequential } from "bitgrad/nn";
import {
  FieldReader,
  type Fields,
  loadPacked,
  PackedLinear,
  PackedModel,
  type PackedStep,
  type Values,
} from "bitgrad/packed";
import { freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits, random, values } from "./twins.ts";

/** gain · x + inner(x), a gain for each feature: a layer and its packed twin, none of which the library knows. */
class Gained {
  gain = new Parameter(random([8], 5));
  inner: Linear;

  constructor() {
    this.inner = new Linear(8, 8, { rng: new Rng(1) });
  }

  forward(x: Tensor): Tensor {
    return x.mul(this.gain.effective()).add(this.inner.forward(x));
  }

  toPacked(packer: Packer): PackedFields {
    return { kind: "gained", tensor: packer.floats(this.gain), inner: packer.layer(this.inner) };
  }
}

interface GainedCall {
  times: number;
  mask: { data: ArrayLike<number>; shape: readonly number[] };
}

class PackedGained implements PackedStep {
  static readonly kind = "gained";
  static readonly options = { times: 1, mask: "ids" };
  readonly kind = "gained";
  readonly tensor: Float32Array;
  readonly inner: PackedLinear;
  _disposed = 0;

  constructor(fields: Fields) {
    const read = new FieldReader("gained", fields);
    this.tensor = read.numbers("tensor");
    this.inner = read.layer("inner", "linear");
  }

  forward(x: Values, { times = 1, mask = null as GainedCall["mask"] | null } = {}): Values {
    const { data, shape } = this.inner.forward(x);
    const { tensor } = this;
    const shown = (i: number) => (mask ? mask.data[i] : 1) * times;
    return {
      data: data.map((v, i) => (Math.fround(x.data[i] * tensor[i % tensor.length]) + v) * shown(i)),
      shape,
    };
  }

  dispose(): void {
    this._disposed++;
  }
}

const kinds = [PackedGained];
const frozen = <M extends object>(model: M): M =>
  evaluate(freeze(prepare(model, plan({ default: int8Dynamic(), rules: [["**gain", null]] }))));

describe("a packed kind from outside", () => {
  it("packs, goes through a file and computes, as a root and within", () => {
    for (const model of [
      new Gained(),
      new Sequential(new Linear(8, 8, { rng: new Rng(2) }), relu, new Gained()),
    ]) {
      frozen(model);
      const x = random([3, 8]);
      const want = bits(noGrad(() => scope(() => model.forward(x))));
      const packed = pack(model, { kinds });
      expect(bits(packed.forward(values(x)))).toEqual(want);
      const bytes = packed.toBytes();
      const loaded = loadPacked(bytes, { kinds });
      expect(bits(loaded.forward(values(x)))).toEqual(want);
      expect(loaded.toBytes()).toEqual(bytes);
      expect(loaded.byteLength).toBe(packed.byteLength);
    }
  });

  it("is told what it names, and gives back what it holds", () => {
    const packed = pack(frozen(new Gained()), { kinds });
    const x = values(random([1, 8]));
    const plain = packed.forward(x).data;
    const mask = { data: [1, 1, 1, 1, 0, 0, 0, 0], shape: [1, 8] };
    const twice = packed.forward<GainedCall>(x, { times: 2, mask }).data;
    expect([...twice].map((v) => v + 0)).toEqual([...plain].map((v, i) => (i < 4 ? 2 * v : 0)));
    expect(() => packed.forward<GainedCall>(x, { mask: { data: [1], shape: [8] } })).toThrow(/forward: mask/);
    expect(() => packed.forward(x, { context: null })).toThrow(
      /unknown option, got "context".* times, mask, budget/,
    );
    packed.dispose();
    expect(packed.root).toMatchObject({ _disposed: 1 });
  });

  it("is refused where it is not given, is none, or has a name that is taken", () => {
    const bytes = pack(frozen(new Gained()), { kinds }).toBytes();
    expect(() => loadPacked(bytes)).toThrow(FormatError);
    expect(() => pack(frozen(new Gained()))).toThrow(/known kind, got "gained"/);
    const nested = pack(frozen(new Sequential(new Gained(), relu)), { kinds }).toBytes();
    expect(() => loadPacked(nested)).toThrow(/sequential: steps must be a list of packed layers/);
    const other = (kind: unknown) => Object.assign(class extends PackedGained {}, { kind });
    for (const [given, says] of [
      [[other("linear")], /must not be taken, got "linear"/],
      [[other("dynamic")], /must not be taken, got "dynamic"/],
      [[other("mixed")], /must not be taken, got "mixed"/],
      [[PackedGained, other("gained")], /must not be taken, got "gained"/],
      [[other(5)], /static kind, a text, got 5/],
      [[other("")], /static kind/],
      [[null], /static kind/],
      [["gained"], /static kind/],
      [PackedGained, /list of classes/],
    ] as const) {
      const options = { kinds: given as never };
      for (const make of [
        () => loadPacked(bytes, options),
        () => pack(frozen(new Gained()), options),
        () => new PackedModel({ kind: "function", name: "relu" } as never, options),
      ]) {
        expect(make).toThrow(OptionError);
        expect(make).toThrow(says);
      }
    }
    // Twice the same class is no clash.
    expect(loadPacked(bytes, { kinds: [PackedGained, PackedGained, PackedLinear] }).root.kind).toBe("gained");
  });

  it("must have the kind of its class, and fields that a file can hold", () => {
    class Odd {
      static readonly kind: string = "odd";
      readonly kind: string = "even";
    }
    expect(() => new PackedModel({ kind: "odd" }, { kinds: [Odd] })).toThrow(/kind of its class, got "even"/);
    class Holds {
      static readonly kind = "holds";
      readonly kind = "holds";
      readonly field: unknown;
      constructor({ field }: Fields) {
        this.field = field;
      }
      forward(x: Values) {
        return x;
      }
    }
    const made = (field: unknown) => new PackedModel({ kind: "holds", field } as never, { kinds: [Holds] });
    for (const field of [
      Number.NaN,
      Infinity,
      undefined,
      () => 1,
      5n,
      new Uint8Array(2),
      new Map(),
      Symbol("a"),
      new Array(2),
    ]) {
      expect(() => made(field).toBytes()).toThrow(OptionError);
    }
    const bias = Float32Array.of(1, 2);
    for (const field of [
      null,
      1.5,
      "text",
      `"it's"`,
      true,
      [1, [2, "x"]],
      { tense: 3, deep: { weight: [null] } },
      { tensor: 3, weight: "a" },
      // What a file says of numbers, and what it leaves out of the library's own layers.
      { floats: 2 },
      { rows: 1, columns: 2, bits: 8, "it's": '"' },
      [{ same: 0 }, { same: { floats: bias } }],
      { bias: null, stride: [1, 1], input: { kind: "dynamic", bits: 8 } },
      { kind: "of nobody", rows: 1, floats: bias, same: null, dilation: [1, 1], b: bias, 7: bias },
    ]) {
      const bytes = made(field).toBytes();
      const { root } = loadPacked(bytes, { kinds: [Holds] });
      expect((root as Holds).field).toStrictEqual(field);
    }
  });

  it("may have its kind from its prototype", () => {
    class Lent {
      static readonly kind = "lent";
      readonly bias = Float32Array.of(1);
      get kind() {
        return "lent";
      }
      forward(x: Values) {
        return x;
      }
    }
    const bytes = new PackedModel(new Lent(), { kinds: [Lent] }).toBytes();
    const back = loadPacked(bytes, { kinds: [Lent] });
    expect(back.root).toBeInstanceOf(Lent);
    expect(back.toBytes()).toEqual(bytes);
  });

  it("meets damaged fields by a FieldReader", () => {
    const linear = pack(new Linear(8, 8)).root;
    for (const fields of [{ tensor: 5 }, { tensor: new Float32Array(8), inner: null }, { inner: linear }]) {
      expect(() => new PackedModel({ kind: "gained", ...fields } as never, { kinds })).toThrow(FormatError);
    }
  });
});
