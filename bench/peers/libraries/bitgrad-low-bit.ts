/** Low-bit products of this library: packed layers, and the integer kernel where no layer gives out what it sums. */

import { gemmIntHeap, prepareInt } from "../../../kernels/gemm-i8/simd.ts";
import type { Output } from "../../../kernels/output.ts";
import { alloc, view } from "../../../kernels/wasm/heap.ts";
import { packCodes } from "../../../src/packed/file/codes.ts";
import { PackedLinear, PackedWeight } from "../../../src/packed/index.ts";
import { inArena, lasting } from "../../../src/packed/values.ts";
import type { Side } from "../../pair.ts";
import type { BlockProblem, IntProblem, LevelProblem } from "../library.ts";

const name = "bitgrad";

export function intProduct({ sizes: [m, k, n], x, weight, requantize }: IntProblem): Side {
  const to = requantize ? "uint8" : "int32";
  let output: Output = { to };
  if (requantize) {
    const { scales, zero } = requantize;
    const [scaleX, scaleW] = scales.map((scale) => Float32Array.of(scale));
    output = { to, zeroX: zero, scaleW, scaleX, inverse: 1 / scales[2], outZero: zero };
  }
  const layer = prepareInt({ n, k, bits: 8, codes: weight }, output, true);
  if (layer === null) throw new Error("bitgrad: the SIMD kernels do not run here");
  const [rows, out] = [alloc(m * k), alloc(m * n * 4)];
  view("uint8", rows, m * k).set(x);
  return {
    name,
    run: () => void gemmIntHeap(layer, out, rows, m),
    result: () => view(to, out, m * n).slice(),
  };
}

/** On arrays of JavaScript, copied in and out. */
export function blockProduct({ sizes: [, k, n], x, codes, block, scale, integers }: BlockProblem): Side {
  const type = { bits: 4, signed: true };
  const weight = PackedWeight.ofCodes({
    ...{ ...type, rows: n, columns: k, codes: packCodes(codes, n, k, type) },
    ...{ scale, group: block, scaleType: "float32", codebook: null },
  });
  const layer = new PackedLinear({
    weight,
    bias: null,
    input: integers ? { kind: "dynamic", bits: 8 } : null,
  });
  return { name, run: () => void layer.forward(x), result: () => layer.forward(x).data };
}

/** As within a packed model: rows and result lie on the heap, and quantizing the rows is part of it. */
export function levelProduct({ a, b, weightBits: bits, signs }: LevelProblem): Side {
  const [rows, columns] = b.shape;
  const type = { bits, signed: true };
  const weight = PackedWeight.ofCodes({
    ...{ ...type, rows, columns, codes: packCodes(Int8Array.from(b.data), rows, columns, type) },
    ...{ scale: Float32Array.of(1), group: null, scaleType: "float32", codebook: null },
  });
  const input = signs ? { kind: "signs" } : { kind: "dynamic", bits: 8 };
  const layer = new PackedLinear({ weight, bias: null, input });
  const x = { data: lasting(a.data.length), shape: a.shape };
  x.data.set(a.data);
  return {
    name,
    run: () =>
      inArena(
        () => void layer.forward(x),
        () => {},
      ),
    result: () =>
      inArena(
        () => layer.forward(x).data,
        (data) => data.slice(),
      ),
  };
}
