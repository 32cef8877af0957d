/** Products of rows by weights: by tiles of the result, or by several threads a row of the weight where there are few rows. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { PackedWeight } from "../../packed/file/weight.ts";
import type { Operands } from "../../packed/products/way.ts";
import { pick } from "./elementwise.ts";
import { codedKind, floatKind, integerKind, type Kind, signKind } from "./kinds.ts";
import { type Laid, layOut, sumsOf } from "./laid.ts";
import { multiply } from "./multiply.ts";
import { codeRows, floatRows, integerRows, patchesOf, type Rows, rowsOf, signRows } from "./operand.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { groupsOf } from "./wgsl.ts";
import { grouped } from "./windows.ts";

const layouts = new WeakMap<PackedWeight, Laid>();

function laidOut(weight: PackedWeight): Laid {
  const laid = layouts.get(weight) ?? layOut(weight);
  layouts.set(weight, laid);
  return laid;
}

/** Rows of float32, each with zeros up to a multiple of four. */
function padded({ floats, rows, columns: k }: PackedWeight): Float32Array {
  if (k % 4 === 0) return floats!;
  const stride = 4 * Math.ceil(k / 4);
  const out = new Float32Array(rows * stride);
  for (let r = 0; r < rows; r++) out.set(floats!.subarray(r * k, (r + 1) * k), r * stride);
  return out;
}

/** One group that ends on four numbers. */
const fours = (k: number) => ({ group: k, groups: 1, span: 4 * Math.ceil(k / 4) });

interface Sides {
  readonly kind: Kind;
  readonly x: Block;
  readonly w: Block;
  /** What the kind reads beside them. */
  readonly more: readonly Block[];
  readonly scale: Block | number | null;
  /** Rows of x a scale. */
  readonly rows: number;
  readonly constant?: number;
}

/** Both sides of a product of m rows of x, as the kind of product that serves them takes them. */
function sides(
  gpu: WebGpuRuns,
  op: string,
  x: Block,
  { weight, input }: Operands,
  m: number,
  rows: Rows,
): Sides {
  const none = { scale: null, rows: 1 };
  if (weight.floats) {
    const w = gpu.upload(op, weight, () => padded(weight));
    const places = fours(weight.columns);
    return { kind: floatKind(weight.columns), x: floatRows(gpu, x, m, rows, places), w, more: [], ...none };
  }
  const laid = laidOut(weight);
  const w = gpu.upload(op, laid.words, () => laid.words);
  const scales = gpu.upload(op, laid.scales, () => laid.scales);
  const { zero, levels } = laid;
  const zeros = typeof zero === "number" ? [] : [gpu.upload(op, zero, () => zero)];
  if (input === null || input.kind === "mixed") {
    const more = [scales, ...(levels ? [gpu.upload(op, levels, () => levels)] : zeros)];
    return { kind: codedKind(laid), x: floatRows(gpu, x, m, rows, laid), w, more, ...none };
  }
  const ofSigns = weight.bits === 1 && weight.coded!.signed;
  if (input.kind === "signs" && ofSigns && laid.groups === 1 && rows.rows === 1) {
    const kind = signKind(laid);
    return {
      kind,
      x: signRows(gpu, x, m, laid.k, kind.units),
      w,
      more: [scales],
      constant: laid.k / 2,
      ...none,
    };
  }
  if (laid.factor === null) {
    const codes = integerRows(gpu, x, m, rows, laid, input);
    return { kind: codedKind(laid), w, more: [scales, ...zeros], ...codes };
  }
  const codes = codeRows(gpu, x, m, rows, laid, input);
  const kind = integerKind(laid, codes.zero, gpu.abilities.packedDots);
  const sums = codes.zero === 0 ? [] : [sumsBlock(gpu, op, weight, laid)];
  return { kind, w, more: [scales, ...zeros, ...sums], ...codes };
}

const sums = new WeakMap<Laid, Uint32Array>();

function sumsBlock(gpu: WebGpuRuns, op: string, weight: PackedWeight, laid: Laid): Block {
  const known = sums.get(laid) ?? new Uint32Array(sumsOf(weight, laid).buffer);
  sums.set(laid, known);
  return gpu.upload(op, known, () => known);
}

/** m rows times the rows of a weight, and a bias: (m, k) -> (m, n). */
export function product(gpu: WebGpuRuns, x: Block, of: Operands, m: number): Block {
  const { weight, bias } = of;
  const op = `product ${weight.floats ? "float32" : `${weight.bits} bits`}`;
  const { rows: n, columns: k } = weight;
  return multiply(gpu, { op, m, n, bias, pixels: 1, ...sides(gpu, op, x, of, m, rowsOf(k)) });
}

/** Images times filters, which are rows of the weight; what lies outside counts as 0. */
export function conv(gpu: WebGpuRuns, x: Block, of: Operands, g: ConvGeometry): Block {
  const { weight, bias } = of;
  if (g.groups > 1) return groups(gpu, x, of, g);
  const op = `conv ${weight.floats ? "float32" : `${weight.bits} bits`}`;
  const pixels = g.oh * g.ow;
  const m = g.n * pixels;
  return multiply(gpu, { op, m, n: g.o, bias, pixels, ...sides(gpu, op, x, of, m, patchesOf(g)) });
}

/** Few channels a filter, by float32 that codes stand for. */
function groups(gpu: WebGpuRuns, x: Block, { weight, input, bias }: Operands, g: ConvGeometry): Block {
  const op = "conv of groups";
  const k = g.c * g.h * g.w;
  const codes =
    weight.floats || input === null || input.kind === "mixed"
      ? { x, scale: null }
      : integerRows(gpu, x, g.n, rowsOf(k), { group: k, groups: 1, span: k }, input);
  const { scale } = codes;
  const each = scale !== null && typeof scale !== "number" ? [scale] : [];
  const inputs = [
    codes.x,
    dequantized(gpu, op, weight),
    ...each,
    ...(bias ? [gpu.upload(op, bias, () => bias)] : []),
  ];
  const length = g.n * g.o * g.oh * g.ow;
  const code = grouped(g, bias !== null, each.length > 0 ? "each" : ((scale as number | null) ?? 1));
  const reason = "one number a thread; groups of channels, as float32";
  return gpu.run({ op, reason, code, inputs, workgroups: groupsOf(length) }, length);
}

/** A weight as float32. */
export const dequantized = (gpu: WebGpuRuns, op: string, weight: PackedWeight): Block =>
  gpu.upload(op, weight.kernels, () => weight.floats ?? weight.dequantized().slice());

/** (m, k) times (k, n), of which the columns become rows, as those of a weight are. */
export function matmul(gpu: WebGpuRuns, a: Block, b: Block, m: number, k: number, n: number): Block {
  const x = floatRows(gpu, a, m, rowsOf(k), fours(k));
  const call = { op: "permute", reason: "one number a thread", inputs: [b], workgroups: groupsOf(k * n) };
  const columns = gpu.run({ ...call, code: pick([n, k], [1, n], 0) }, k * n);
  const w = floatRows(gpu, columns, n, rowsOf(k), fours(k));
  const kind = floatKind(k);
  return multiply(gpu, {
    ...{ op: "matmul", m, n, bias: null, pixels: 1, kind, x, w },
    ...{ more: [], scale: null, rows: 1 },
  });
}
