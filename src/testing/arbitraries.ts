/** Arbitraries for fast-check: shapes, axes, tensors and specs of codes that shrink. */

import fc from "fast-check";
import { type QuantSpec, type SpecOptions, scaleDtypes, spec } from "../codes/spec.ts";
import { type DType, isFloat } from "../dtype.ts";
import { BitgradError } from "../errors.ts";
import { Rng } from "../random/rng.ts";
import { checkShape, type Shape, sizeOf } from "../shape.ts";
import { type Tensor, tensor } from "../tensor.ts";

export interface ShapeLimits {
  minRank?: number;
  maxRank?: number;
  /** The smallest size of an axis; 0 brings empty tensors. */
  minSize?: number;
  maxSize?: number;
}

/** Shapes of rank 0 to 3 with sizes 1 to 4, unless told otherwise. */
const shape = ({
  minRank = 0,
  maxRank = 3,
  minSize = 1,
  maxSize = 4,
}: ShapeLimits = {}): fc.Arbitrary<Shape> =>
  fc
    .array(fc.integer({ min: minSize, max: maxSize }), { minLength: minRank, maxLength: maxRank })
    .map((sizes) => checkShape("arb.shape", sizes));

export interface TensorLimits extends ShapeLimits {
  /** A shape, or an arbitrary of them. */
  shape?: Shape | fc.Arbitrary<Shape>;
  dtype?: DType;
  /** Bounds of the elements, both included; default −10 and 10 (0 and 10 for unsigned types). */
  min?: number;
  max?: number;
}

/** Finite tensors. */
const ofShape = ({
  shape: given,
  dtype = "float32",
  min,
  max,
  ...limits
}: TensorLimits = {}): fc.Arbitrary<Tensor> => {
  const unsigned = dtype === "uint8" || dtype === "uint32" || dtype === "bool";
  const low = min ?? (unsigned ? 0 : -10);
  const high = max ?? (dtype === "bool" ? 1 : 10);
  const element = isFloat(dtype)
    ? fc.double({ min: low, max: high, noNaN: true })
    : fc.integer({ min: low, max: high });
  const shapes = given === undefined ? shape(limits) : Array.isArray(given) ? fc.constant(given) : given;
  return (shapes as fc.Arbitrary<Shape>).chain((sizes) => {
    const length = sizeOf(sizes);
    return fc
      .array(element, { minLength: length, maxLength: length })
      .map((data) => tensor(data, { dtype, shape: sizes }) as Tensor);
  });
};

/** Two shapes that broadcast together. */
const broadcastPair = (limits?: ShapeLimits): fc.Arbitrary<[a: Shape, b: Shape]> =>
  shape(limits).chain((whole) => {
    const part = fc
      .tuple(
        fc.nat({ max: whole.length }),
        fc.array(fc.boolean(), { minLength: whole.length, maxLength: whole.length }),
      )
      .map(([dropped, ones]): Shape => whole.map((n, i) => (ones[i] ? 1 : n)).slice(dropped));
    return fc.tuple(part, part);
  });

/** An axis of a tensor of this rank, counted from either end. Rank 1 or more. */
const axis = (rank: number): fc.Arbitrary<number> => fc.integer({ min: -rank, max: rank - 1 });

/** Some axes of a tensor of this rank, each once, in any order, counted from either end. */
const axes = (rank: number): fc.Arbitrary<number[]> =>
  fc
    .shuffledSubarray(Array.from({ length: rank }, (_, i) => i))
    .chain((list) => fc.tuple(...list.map((k) => fc.constantFrom(k, k - rank))));

/** Every axis of a tensor of this rank, in any order. */
const order = (rank: number): fc.Arbitrary<number[]> =>
  fc.shuffledSubarray(
    Array.from({ length: rank }, (_, i) => i),
    { minLength: rank },
  );

/** A seeded generator. */
const rng = (): fc.Arbitrary<Rng> => fc.nat().map((seed) => new Rng(seed));

/** Bits of a code, 1 to 8 unless told otherwise. */
const bits = ({ min = 1, max = 8 }: { min?: number; max?: number } = {}): fc.Arbitrary<number> =>
  fc.integer({ min, max });

const schemes = ["symmetric", "affine", "absmax-signed", "codebook"] as const;

/** Some levels of a codebook, 32nds. */
const levels = (count: number): fc.Arbitrary<number[]> =>
  fc
    .uniqueArray(fc.integer({ min: -32, max: 32 }), { minLength: 2, maxLength: Math.min(count, 16) })
    .map((list) => list.sort((a, b) => a - b).map((k) => k / 32));

/** Options of a scheme, each of those that go with it. */
function optionsOf(scheme: SpecOptions["scheme"], count: number): fc.Arbitrary<Partial<SpecOptions>> {
  const small = fc.integer({ min: 1, max: 33 });
  const shared = {
    bits: fc.constant(count),
    scheme: fc.constant(scheme),
    rounding: fc.constantFrom("half-even", "half-away", "half-up", "stochastic"),
    scaleDtype: fc.constantFrom(...scaleDtypes),
    eps: fc.constantFrom(0, 1e-5),
    onNonFinite: fc.constantFrom("throw", "clamp"),
    granularity: fc.oneof(
      fc.constantFrom("tensor", "channel", "token"),
      small.map((group) => ({ group })),
      fc.tuple(fc.integer({ min: 1, max: 3 }), small).map((block) => ({ block })),
    ),
    axis: fc.constantFrom(null, 0, 1, -1, -2),
  } as const;
  const own = {
    symmetric: { range: fc.constantFrom("narrow", "full", "noClip") },
    affine: {
      signed: fc.boolean(),
      zeroPoint: fc.constantFrom("int", "float"),
      includeZero: fc.constantFrom(null, true),
    },
    "absmax-signed": {},
    codebook: { codebook: levels(2 ** count) },
  } as const;
  return fc.record({ ...shared, ...own[scheme] }) as fc.Arbitrary<Partial<SpecOptions>>;
}

/** A spec; null where options contradict each other. */
function specOrNull(options: Partial<SpecOptions>): QuantSpec | null {
  try {
    return spec(options);
  } catch (error) {
    if (error instanceof BitgradError) return null;
    throw error;
  }
}

/** Specs for matrices: of all options, but for those that are given. Throws OptionError for those that go with no scheme. */
const ofOptions = (given: Partial<SpecOptions> = {}): fc.Arbitrary<QuantSpec> => {
  const legal = schemes.filter((scheme) => {
    const codebook = scheme === "codebook" ? [-1, 1] : null;
    return specOrNull({ bits: 2, scheme, codebook, ...given })?.scheme === scheme;
  });
  if (legal.length === 0) spec(given);
  return fc
    .tuple(fc.constantFrom(...legal), given.bits === undefined ? bits() : fc.constant(given.bits))
    .chain(([scheme, count]) => optionsOf(scheme, count))
    .map((options) => specOrNull({ ...options, ...given }))
    .filter((made) => made !== null);
};

/** Lists of numbers that quantizers stumble over, each of another kind. */
function hardNumbers(length: number, most: number): fc.Arbitrary<number[]> {
  const list = (element: fc.Arbitrary<number>) => fc.array(element, { minLength: length, maxLength: length });
  const unit = fc.double({ min: -1, max: 1, noNaN: true });
  const exponent = fc.integer({ min: -100, max: Math.floor(Math.log2(most / 127)) });
  const place = fc.nat({ max: Math.max(0, length - 1) });
  const tops = fc.constantFrom(1, 3, 7, 15, 31, 63, 127);
  return fc.oneof(
    fc.tuple(list(unit), exponent).map(([x, e]) => x.map((v) => v * 2 ** e)),
    // Half steps between the codes that a scale of a power of two gives.
    fc
      .tuple(list(fc.integer({ min: -254, max: 254 })), tops, exponent, place)
      .map(([x, top, e, at]) => x.map((k, i) => (i === at ? top : (k % (2 * top + 1)) / 2) * 2 ** e)),
    list(fc.integer({ min: -128, max: 127 })),
    list(fc.constantFrom(0, -0, 0.25)),
    list(fc.integer({ min: -100, max: 100 }).map((k) => k * 2 ** -149)),
    fc.tuple(unit, exponent).map(([v, e]) => Array<number>(length).fill(v * 2 ** e)),
    fc
      .tuple(list(unit), place, fc.constantFrom(1000, -1000))
      .map(([x, at, outlier]) => x.map((v, i) => (i === at ? outlier : v))),
  );
}

/**
 * float32 matrices that quantizers stumble over: numbers of many magnitudes, half steps between codes, integers, zeros of
 * both signs, denormals, equal numbers, a lone outlier. Of 1 to 4 rows and 1 to 40 columns, unless a shape is given; of
 * magnitudes up to `max`, at least 1000: scales of float16 take no more than some 60000.
 */
const weights = ({
  shape: given,
  max = 1e30,
}: Pick<TensorLimits, "shape" | "max"> = {}): fc.Arbitrary<Tensor> => {
  const rows = fc.integer({ min: 1, max: 4 });
  const matrices = fc.tuple(rows, fc.integer({ min: 1, max: 40 }));
  const shapes = given === undefined ? matrices : Array.isArray(given) ? fc.constant(given) : given;
  return (shapes as fc.Arbitrary<Shape>).chain((sizes) =>
    hardNumbers(sizeOf(sizes), Math.max(max, 1000)).map((data) =>
      tensor(Float32Array.from(data), { shape: sizes }),
    ),
  );
};

/** Arbitraries for fast-check, which must be installed. */
export const arb: {
  readonly shape: typeof shape;
  readonly tensor: typeof ofShape;
  readonly broadcastPair: typeof broadcastPair;
  readonly axis: typeof axis;
  readonly axes: typeof axes;
  readonly order: typeof order;
  readonly rng: typeof rng;
  readonly bits: typeof bits;
  readonly spec: typeof ofOptions;
  readonly weights: typeof weights;
} = {
  ...{ shape, tensor: ofShape, broadcastPair, axis, axes, order, rng },
  ...{ bits, spec: ofOptions, weights },
};
