/**
 * Layers of signs that hand bits on: where products of signs go, with or without a batch norm between, into products of
 * signs alone, only the sign of what becomes of a sum matters. It changes at most once as the sum grows, so it is a
 * comparison of the sum with a threshold, which is found by the float steps themselves.
 */

import { unpackSigns } from "../../../kernels/bits.ts";
import { permute } from "../../backend.ts";
import { sizeOf } from "../../shape.ts";
import type { PackedStep } from "../file/layer.ts";
import { convolvedBits, convolveSigns, convSigns } from "../products/conv-signs.ts";
import { multiplySigns, signs } from "../products/signs.ts";
import { type Fold, signFold } from "../products/thresholds.ts";
import { Operands } from "../products/way.ts";
import { bitRoom, room, type Values, work } from "../values.ts";
import type { PackedConv2d } from "./conv.ts";
import type { PackedBatchNorm } from "./images.ts";
import type { PackedLinear } from "./linear.ts";

/** Signs as bits: of rows (…, k), or of images (n, c, h, w) channels last, those of a group from a byte on. */
export interface Bits {
  readonly bits: Uint8Array;
  readonly shape: readonly number[];
}

type SignLayer = PackedLinear | PackedConv2d;

/** Layers are told by their kind: those of another copy of the library have other classes. */
const isLinear = (step: PackedStep | undefined): step is PackedLinear => step?.kind === "linear";
const isConv = (step: PackedStep | undefined): step is PackedConv2d =>
  step?.kind === "conv2d" || step?.kind === "conv1d";

/** A layer of signs times signs, or of rows of signs times ternary digits; null for any other. */
function signLayer(step: PackedStep | undefined): SignLayer | null {
  const rows = isLinear(step) && step.inputSteps.length === 0 && !step.correction && signs.serves(step);
  const served = rows || (isConv(step) && step.kind === "conv2d" && convSigns.serves(step));
  return served && step.weight.coded!.scale.length <= Math.max(1, step.weight.rows) ? step : null;
}

/** Whether the bits that `from` makes are laid out as `to` reads them. */
function meets(from: SignLayer, to: SignLayer): boolean {
  if (isLinear(from) || isLinear(to)) return from.kind === to.kind;
  // Where the bits of a group fill bytes, groups do not show.
  const dense = ({ groups }: PackedConv2d) => groups === 1 || (from.weight.rows / groups) % 8 === 0;
  return from.groups === to.groups || (dense(from) && dense(to));
}

/** What runs steps, at the place of the first of them. */
export function bitStages(steps: readonly PackedStep[]): readonly (BitStage | undefined)[] {
  const stages: (BitStage | undefined)[] = [];
  steps.forEach((step, i) => {
    const layer = signLayer(step);
    const after = steps[i + 1];
    const norm = after?.kind === "batchNorm" ? (after as PackedBatchNorm) : null;
    const length = norm ? 2 : 1;
    const next = signLayer(steps[i + length]);
    if (!layer || !next || !meets(layer, next) || (norm && norm.mean.length !== layer.weight.rows)) return;
    stages[i] = new BitStage(layer, true, norm);
    // Which takes bits, whatever it makes.
    stages[i + length] = new BitStage(next, false, null);
  });
  return stages;
}

function foldOf({ weight, bias }: SignLayer, norm: PackedBatchNorm | null): Fold | null {
  const { rows: n, columns: k } = weight;
  const { scale } = weight.coded!;
  // The steps of kernels/output.ts.
  return signFold(k, n, (sum, c) => {
    const scaled = Math.fround(Math.fround(sum) * scale[scale.length === 1 ? 0 : c]);
    const y = Math.fround(scaled + (bias ? bias[c] : 0));
    return norm ? norm.at(y, c) : y;
  });
}

/** A layer of signs, on values or bits, to values, or with what follows it to bits, where thresholds can say them. */
export class BitStage {
  private readonly layer: SignLayer;
  private readonly folds: boolean;
  private readonly norm: PackedBatchNorm | null;
  /** Made at first use. */
  private operands: Operands | null = null;

  constructor(layer: SignLayer, folds: boolean, norm: PackedBatchNorm | null) {
    this.layer = layer;
    this.folds = folds;
    this.norm = norm;
  }

  /** The steps that a run takes. */
  get length(): number {
    return this.norm && this.operands?.fold ? 2 : 1;
  }

  private make(): Operands {
    const { layer, folds, norm } = this;
    const { weight, input, bias } = layer;
    return new Operands(layer.kind, weight, input, bias, folds ? foldOf(layer, norm) : null);
  }

  /** Null where SIMD does not serve them. */
  run(x: Values | Bits): Values | Bits | null {
    const { layer } = this;
    this.operands ??= this.make();
    const { operands } = this;
    const from = "bits" in x ? x.bits : x.data;
    if (isConv(layer)) {
      const g = layer.geometry(x.shape);
      const shape = [g.n, g.o, g.oh, g.ow];
      if (operands.fold) return made(convolvedBits(from, g, operands), shape);
      const out = room(sizeOf(shape));
      return made(convolveSigns(out, from, g, operands) ? out : null, shape);
    }
    const { rows: n, columns: k } = layer.weight;
    const outer = x.shape.slice(0, -1);
    // A batch norm goes by axis 1, which is that of the features in a matrix alone.
    if (x.shape[outer.length] !== k || (this.length > 1 && outer.length !== 1)) return null;
    const m = sizeOf(outer);
    work(m * n * k);
    const out = operands.fold ? bitRoom(m * Math.ceil(n / 8)) : room(m * n);
    return made(multiplySigns(out, from, m, operands) ? out : null, [...outer, n]);
  }

  dispose(): void {
    this.operands?.free();
  }
}

const made = (out: Float32Array | Uint8Array | null, shape: readonly number[]): Values | Bits | null =>
  out instanceof Uint8Array ? { bits: out, shape } : out && { data: out, shape };

/** −1 and 1 for bits, as they were made for `to`, where it cannot take them. */
export function unpacked(x: Values | Bits, to?: PackedStep): Values {
  if ("data" in x) return x;
  const { bits, shape } = x;
  if (!isConv(to)) {
    const k = shape[shape.length - 1];
    const data = room(sizeOf(shape));
    data.set(unpackSigns(bits, sizeOf(shape.slice(0, -1)), k));
    return { data, shape };
  }
  const [n, c, h, w] = shape;
  const signs = room(sizeOf(shape));
  signs.set(unpackSigns(bits, n * h * w * to.groups, c / to.groups));
  const data = room(signs.length);
  permute(data, signs, [n, h * w, c], [0, 2, 1]);
  return { data, shape };
}
