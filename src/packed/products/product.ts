/**
 * The product of a packed layer. Integers: codes of the input, exact sums, then the output transform of `kernels/output.ts`, by
 * SIMD on weights that are laid out on the heap once, or by plain loops, with the same bits. Codes of float32 input
 * (weight-only): sums of floats, in the order the kernel chooses.
 */

import { gemm as inDouble } from "../../../kernels/gemm-f32/reference.ts";
import { type FloatLayer, gemmFloatHeap, prepareFloat } from "../../../kernels/gemm-i4/simd.ts";
import { gemmInt } from "../../../kernels/gemm-i8/reference.ts";
import { gemmIntHeap, type IntLayer, prepareInt } from "../../../kernels/gemm-i8/simd.ts";
import { type DigitLayer, digitHeap, prepareDigits } from "../../../kernels/lookup/digits.ts";
import { type PairLayer, pairHeap, preparePairs } from "../../../kernels/lookup/simd.ts";
import type { Output } from "../../../kernels/output.ts";
import { memoryIsShared } from "../../../kernels/wasm/heap.ts";
import { staged } from "../../../kernels/wasm/staging.ts";
import { gemm, usesSimd } from "../../backend.ts";
import { FormatError, show } from "../../errors.ts";
import type { PackedWeight } from "../file/weight.ts";
import type { Fold } from "../layers/fold.ts";
import { lasting, mended, room, work } from "../values.ts";
import { rowsByLookup } from "./choice.ts";
import { type Codes, checkFinite, codesOf, type PackedInput, signBits } from "./input.ts";

/** The largest magnitude of a code less its zero point. */
const codeBound = (input: PackedInput): number =>
  input.kind === "signs" ? 1 : input.kind === "dynamic" ? 127 : input.most - input.least;

/** Throws FormatError where sums could leave int32, and for a quantized input before weights that are not integers. */
export function checkSums(op: string, { bits, columns: k, coded }: PackedWeight, input: PackedInput): void {
  if (coded === null || coded.codebook !== null) {
    throw new FormatError(`${op}: a quantized input needs weights of integers, got ${show(bits)} bits`);
  }
  const largest = coded.signed ? 2 ** (bits - 1) : 2 ** bits - 1;
  if (codeBound(input) * largest * k > 2 ** 31 - 1) {
    throw new FormatError(`${op}: sums of products must fit int32, got ${k} products of ${bits} bits`);
  }
}

/** Weights laid out on the heap. */
type Laid = IntLayer | FloatLayer | PairLayer | DigitLayer;

/** Whether weights are to be laid out: not yet done, or refused by a heap that may have grown since. */
export const isMissing = (layer: object | null | undefined): boolean =>
  layer === undefined || (layer === null && !memoryIsShared());

/** Gives a product's heap back when nobody holds the product any more. */
const freed = /* @__PURE__ */ new FinalizationRegistry<Laid>((layer) => layer.free());

/** out = x·weightᵀ + bias for rows of x. */
export class Product {
  private readonly op: string;
  private readonly weight: PackedWeight;
  private readonly input: PackedInput | null;
  private readonly bias: Float32Array | null;
  private readonly fold: Fold | null;
  /** Made at first use: on the heap, or null where the kernel does not serve it. */
  private integers: IntLayer | null | undefined;
  private floats: FloatLayer | null | undefined;
  private pairs: PairLayer | null | undefined;
  private digits: DigitLayer | null | undefined;
  /** Rows up to which codes are multiplied by lookup, once known. */
  private fewRows: number | null = null;
  /** The bias where products of floats start from it. */
  private start: Float32Array | null = null;

  /** With a fold signs become bits, by `ofSigns` alone. Throws what `checkSums` does. */
  constructor(
    op: string,
    weight: PackedWeight,
    input: PackedInput | null,
    bias: Float32Array | null,
    fold: Fold | null = null,
  ) {
    if (input !== null) checkSums(op, weight, input);
    this.op = op;
    this.weight = weight;
    this.input = input;
    this.bias = bias;
    this.fold = fold;
  }

  /** (m, rows) of x (m, columns). */
  run(x: Float32Array, m: number): Float32Array {
    const { weight, input, bias } = this;
    const { rows: n, columns: k } = weight;
    const out = room(m * n);
    if (out.length === 0) return out;
    work(m * n * k);
    if (input !== null) {
      if (input.kind === "signs" && this.ofSigns(out, x, m)) return out;
      const codes = codesOf(this.op, x, m, k, input);
      if (!this.bySimd(out, codes, m)) {
        gemmInt(out, codes.codes, this.weight.kernelWeights, { m }, this.output(codes.scale));
      }
      return out;
    }
    if (weight.floats) {
      if (bias && this.start === null) {
        this.start = lasting(n);
        this.start.set(bias);
      }
      const shape = { m, k, n, transposeA: false, transposeB: true, bias: this.start };
      gemm(out, x, weight.operand, shape);
      return mended(out, () => inDouble(out, x, weight.operand, shape));
    }
    const plain = () => weightOnly(out, x, m, weight, bias);
    if (!this.bySimdFloats(out, x, m)) plain();
    return mended(out, plain);
  }

  dispose(): void {
    for (const layer of [this.integers, this.floats, this.pairs, this.digits]) layer?.free();
    freed.unregister(this);
    this.integers = undefined;
    this.floats = undefined;
    this.pairs = undefined;
    this.digits = undefined;
  }

  /** Signs, or bits of them, times signs or ternary digits. False where SIMD does not serve it. */
  ofSigns(out: Float32Array | Uint8Array, x: Float32Array | Uint8Array, m: number): boolean {
    if (!usesSimd()) return false;
    if (isMissing(this.pairs)) this.pairs = this.kept(this.laidPairs());
    const layer = this.pairs;
    if (!layer) return false;
    if (!(x instanceof Uint8Array)) checkFinite(this.op, x, m * layer.k);
    const bits = x instanceof Uint8Array ? x : signBits(x, m, layer.k);
    return staged((stage) => {
      const from = stage.input(bits, 0, bits.length);
      const to = stage.output(out, 0, out.length, false);
      return from !== 0 && to !== 0 && pairHeap(layer, to, from, { m });
    });
  }

  private laidPairs(): PairLayer | null {
    const rows = this.weight.pairWeights;
    const kind = this.weight.bits === 1 ? "differ" : "ternarySigns";
    return rows && preparePairs(kind, rows, this.output(null));
  }

  private bySimd(out: Float32Array, { codes, scale }: Codes, m: number): boolean {
    if (!usesSimd()) return false;
    const fixed = this.input!.kind === "static" ? scale : null;
    const lookup = this.lookup(m, fixed, codes);
    if (lookup === null && isMissing(this.integers)) {
      const unsigned = codes instanceof Uint8Array;
      this.integers = this.kept(prepareInt(this.weight.kernelWeights, this.output(fixed), unsigned));
    }
    const layer = lookup ?? this.integers;
    if (!layer) return false;
    return staged((stage) => {
      const from = stage.input(codes, 0, m * layer.k);
      const to = stage.output(out, 0, m * layer.n, false);
      const scaleX = this.input!.kind === "dynamic" ? stage.input(scale!, 0, m) : undefined;
      if (from === 0 || to === 0 || scaleX === 0) return false;
      if (lookup) return digitHeap(lookup, to, from, { m, scaleX });
      return gemmIntHeap(this.integers!, to, from, m, scaleX);
    });
  }

  /** Weights of 1 bit and ternary ones where they are multiplied by table lookup; null where products do it. */
  private lookup(m: number, fixed: Float32Array | null, codes: Codes["codes"]): DigitLayer | null {
    const { bits, rows: n, columns: k } = this.weight;
    if ((bits !== 1 && bits !== 2) || k === 0) return null;
    this.fewRows ??= this.weight.pairWeights ? rowsByLookup(bits, n, k) : 0;
    if (m > this.fewRows) return null;
    if (isMissing(this.digits)) {
      const rows = this.weight.pairWeights;
      const [lowest, highest] = codes instanceof Uint8Array ? [0, 255] : [-128, 127];
      const kind = {
        weights: bits === 1 ? "signs" : "ternary",
        bits,
        lowest,
        highest,
      } as const;
      this.digits = rows && this.kept(prepareDigits(kind, rows, this.output(fixed)));
    }
    return this.digits ?? null;
  }

  private bySimdFloats(out: Float32Array, x: Float32Array, m: number): boolean {
    if (!usesSimd()) return false;
    if (isMissing(this.floats)) {
      this.floats = this.kept(prepareFloat(this.weight.kernelWeights, this.bias ?? undefined));
    }
    const layer = this.floats;
    if (!layer) return false;
    return staged((stage) => {
      const from = stage.input(x, 0, m * layer.k);
      const to = stage.output(out, 0, m * layer.n, false);
      return from !== 0 && to !== 0 && gemmFloatHeap(layer, to, from, m);
    });
  }

  private kept<L extends Laid>(layer: L | null): L | null {
    if (layer) freed.register(this, layer, this);
    return layer;
  }

  private output(scaleX: Float32Array | null): Output {
    const { input, bias, weight, fold } = this;
    return {
      to: "float32",
      zeroX: input?.kind === "static" ? input.zeroPoint : 0,
      scaleW: weight.coded!.scale,
      ...(scaleX && { scaleX }),
      // A bias of 0 where there is none: a sum of −0 then becomes 0 everywhere.
      bias: bias ?? new Float32Array(weight.rows),
      ...fold,
    };
  }
}

/** x·weightᵀ + bias of float32 x and codes, one row of the weight as float32 at a time, sums in double. */
function weightOnly(
  out: Float32Array,
  x: Float32Array,
  m: number,
  weight: PackedWeight,
  bias: Float32Array | null,
): void {
  const { rows: n, columns: k } = weight;
  const row = new Float32Array(k);
  for (let c = 0; c < n; c++) {
    weight.readRow(row, c);
    for (let r = 0; r < m; r++) {
      let sum = bias ? bias[c] : 0;
      for (let i = 0; i < k; i++) sum += x[r * k + i] * row[i];
      out[r * n + c] = sum;
    }
  }
}
