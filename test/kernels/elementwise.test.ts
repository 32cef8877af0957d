import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { binaryLoops, unaryLoops } from "../../kernels/elementwise/arithmetic.ts";
import { binary, select, unary } from "../../kernels/elementwise/reference.ts";
import { newArray, type TypedArray } from "../../src/dtype.ts";
import { broadcastShapes, type Shape, sizeOf } from "../../src/shape.ts";
import { values } from "./check.ts";

const dtypes = ["float32", "float64", "int32", "uint32", "int8", "uint8"] as const;

/** A shape and two shapes that broadcast to it. */
const pairs = fc
  .array(fc.record({ size: fc.integer({ min: 0, max: 5 }), a: fc.boolean(), b: fc.boolean() }), {
    maxLength: 4,
  })
  .chain((axes) => {
    const a = axes.map((axis) => (axis.a ? axis.size : 1));
    const b = axes.map((axis) => (axis.b ? axis.size : 1));
    return fc.record({
      a: fc.integer({ min: 0, max: leadingOnes(a) }).map((drop) => a.slice(drop)),
      b: fc.integer({ min: 0, max: leadingOnes(b) }).map((drop) => b.slice(drop)),
    });
  });

function leadingOnes(shape: Shape): number {
  const first = shape.findIndex((n) => n !== 1);
  return first < 0 ? shape.length : first;
}

/** The element of x that broadcasting puts at row-major position `at` of `shape`. */
function pick(x: TypedArray, own: Shape, shape: Shape, at: number): number {
  let index = 0;
  let step = 1;
  let rest = at;
  for (let axis = shape.length - 1, k = own.length - 1; axis >= 0; axis--, k--) {
    const place = rest % shape[axis];
    rest = (rest - place) / shape[axis];
    if (k < 0) continue;
    if (own[k] !== 1) index += place * step;
    step *= own[k];
  }
  return x[index];
}

describe("binary", () => {
  it("applies the function to the broadcast operands, for every shape and any pair of types", () => {
    const functions = [...binaryLoops.keys(), (a: number, b: number) => a - 2 * b];
    const type = fc.constantFrom(...dtypes);
    fc.assert(
      fc.property(pairs, fc.constantFrom(...functions), type, type, type, ({ a, b }, f, ta, tb, to) => {
        const shape = broadcastShapes("test", a, b);
        const x = newArray(ta, sizeOf(a)).map((_, i) => 7 * Math.sin(i + 1)) as TypedArray;
        const y = newArray(tb, sizeOf(b)).map((_, i) => 7 * Math.cos(i + 1)) as TypedArray;
        const want = newArray(to, sizeOf(shape));
        for (let i = 0; i < want.length; i++) want[i] = f(pick(x, a, shape, i), pick(y, b, shape, i));
        const got = newArray(to, sizeOf(shape));
        binary(got, shape, x, a, y, b, f);
        expect(got).toEqual(want);
      }),
      { numRuns: 500 },
    );
  });
});

describe("unary", () => {
  it("applies the function to each element of any type, its own loop or not", () => {
    for (const dtype of dtypes)
      for (const f of [...unaryLoops.keys(), Math.exp]) {
        const x = newArray(dtype, 33).map((_, i) => 7 * Math.sin(i + 1)) as TypedArray;
        const want = newArray(dtype, 33);
        for (let i = 0; i < 33; i++) want[i] = f(x[i]);
        const got = newArray(dtype, 33);
        unary(got, x, f);
        expect(got).toEqual(want);
      }
  });

  it("keeps NaN through every direct loop", () => {
    for (const f of unaryLoops.keys()) {
      const out = new Float32Array(1);
      unary(out, Float32Array.of(Number.NaN), f);
      expect(out[0]).toBeNaN();
    }
  });
});

describe("select", () => {
  it("takes a where the condition is not zero and b elsewhere, broadcasting all three", () => {
    const c = Uint8Array.of(1, 0, 1);
    const a = Float32Array.of(10, 20);
    const b = values(6, 1);
    const got = new Float64Array(6);
    select(got, [2, 3], c, [3], a, [2, 1], b, [2, 3]);
    expect(Array.from(got)).toEqual([10, b[1], 10, 20, b[4], 20]);
    const ints = new Int32Array(3);
    select(ints, [3], c, [3], Int32Array.of(5), [], Int8Array.of(-1, -2, -3), [3]);
    expect(Array.from(ints)).toEqual([5, -2, 5]);
  });
});
