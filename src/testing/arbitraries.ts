/** Arbitraries for fast-check: shapes, axes and tensors that shrink. */

import fc from "fast-check";
import { type DType, isFloat } from "../dtype.ts";
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

/** Arbitraries for fast-check, which must be installed. */
export const arb: {
  readonly shape: typeof shape;
  readonly tensor: typeof ofShape;
  readonly broadcastPair: typeof broadcastPair;
  readonly axis: typeof axis;
  readonly axes: typeof axes;
  readonly order: typeof order;
  readonly rng: typeof rng;
} = { shape, tensor: ofShape, broadcastPair, axis, axes, order, rng };
