/** Which codes of a weight packed layers read, and how they are laid out for them. */

import { OptionError, show } from "../errors.ts";
import { packCodes } from "../packed/file/codes.ts";
import { noHalf, PackedWeight } from "../packed/file/weight.ts";
import { type Shape, sizeOf } from "../shape.ts";
import type { QTensor } from "./contract.ts";
import { groupOf, isSigns, type QuantSpec } from "./spec.ts";
import { evenLevels, withGroups, withZeros, zerosOf } from "./whole.ts";

/** Whether a weight (out, …) has a scale for all of it, a row, a group of a row, or a block. */
function isByRows({ granularity, axis }: QuantSpec, { length }: Shape): boolean {
  if (granularity === "tensor") return true;
  if (granularity === "channel") return axis % length === 0;
  if (granularity === "token") return length === 2;
  return length > 1 && ("block" in granularity || axis === -1 || (axis === 1 && length === 2));
}

/** What shares a scale, for people. */
function sharesOf({ granularity, axis }: QuantSpec): string {
  if (typeof granularity === "string")
    return granularity === "channel" ? `a channel of axis ${axis}` : `a ${granularity}`;
  if ("block" in granularity) return `in blocks of ${granularity.block.join(" x ")}`;
  return `in groups of ${granularity.group}${axis === -1 ? "" : ` along axis ${axis}`}`;
}

/** Whether products with the codes of an input are sums of integers, times scales. */
export function servesIntegers(codes: QTensor): boolean {
  const weight = withZeros(withGroups(codes));
  return isByRows(weight.spec, weight.shape) && !weight.spec.codebook && zerosOf(weight) !== "float";
}

/**
 * Throws OptionError for weights under `path` that no packed layer reads. Where the input is quantized, `largest` is the largest
 * magnitude of its integers; else null.
 */
export function checkPackable(path: string, spec: QuantSpec, shape: Shape, largest: number | null): void {
  const { scheme, zeroPoint, codebook, signed, bits } = spec;
  if (!isByRows(spec, shape)) {
    throw new OptionError(
      `prepare: packed weights have a scale a tensor, a row, a group of a row or a block, got ${scheme} codes ${sharesOf(spec)} for ${show(path)} of ${show(shape)}; give it another config by a rule, or what is not to be packed quantized() by parametrize`,
    );
  }
  if (zeroPoint === "float" && signed) {
    throw new OptionError(
      `prepare: packed codes with float zero points have no sign, got signed ones for ${show(path)}; use signed: false`,
    );
  }
  if (largest === null) return;
  if (zeroPoint === "float" || (codebook && !evenLevels(spec))) {
    throw new OptionError(
      `prepare: a quantized input needs weights of integers, got ${codebook ? "a codebook" : "float zero points"} for ${show(path)}; leave out the input`,
    );
  }
  // Levels of a codebook may be halves of odd integers; zero points are known later.
  const integer = codebook
    ? 2 * (2 ** bits - 1)
    : spec.qmin < 0 && zeroPoint === "none"
      ? 2 ** (bits - 1)
      : 2 ** bits - 1;
  const k = sizeOf(shape.slice(1));
  if (largest * integer * k <= 2 ** 31 - 1) return;
  throw new OptionError(
    `prepare: sums of products must fit int32, got ${k} products of ${bits}-bit weights for ${show(path)}; leave out the input, or use fewer bits`,
  );
}

/** What the codes of an input can be for packed layers: signs, found anew for each position, or by one static scale. */
const inputs = {
  sign: { onNonFinite: ["throw"] },
  dynamic: {
    granularity: ["token"],
    scheme: ["symmetric"],
    range: ["narrow"],
    rounding: ["half-even"],
    scaleDtype: ["float32"],
    eps: [0],
    onNonFinite: ["throw"],
  },
  static: {
    granularity: ["tensor", "channel"],
    scheme: ["symmetric", "affine"],
    zeroPoint: ["none", "int"],
    rounding: ["half-even"],
    onNonFinite: ["throw"],
  },
} as const satisfies Record<string, { [K in keyof QuantSpec]?: readonly QuantSpec[K][] }>;

/** Throws OptionError for an input of the weight `path` whose codes packed layers do not find. */
export function checkPackableInput(path: string, spec: QuantSpec, isStatic: boolean): void {
  const kind = isSigns(spec) ? "sign" : isStatic ? "static" : "dynamic";
  for (const [name, known] of Object.entries<readonly unknown[]>(inputs[kind])) {
    const value = spec[name as keyof QuantSpec];
    if (known.includes(value)) continue;
    throw new OptionError(
      `prepare: a packed ${kind} input needs ${name} ${known.map(show).join(" or ")}, got ${show(value)} for ${show(path)}`,
    );
  }
}

/** A quantized weight (out, …) as rows of packed codes, those with a zero point from 0 up. */
export function packedWeight(given: QTensor): PackedWeight {
  const weight = withZeros(withGroups(given));
  const { codes, scale, spec, shape, zeroPoint } = weight;
  const { bits, qmin, codebook, scaleDtype } = spec;
  const rows = shape[0] ?? 1;
  const columns = sizeOf(shape.slice(1));
  if (!isByRows(spec, shape) || (qmin < 0 && zerosOf(weight) === "float")) {
    throw new OptionError(
      `pack: weights need a scale a tensor, a row or a group of a row, and no sign with float zero points, got ${spec.scheme} codes of ${show(shape)}`,
    );
  }
  const signed = qmin < 0 && !zeroPoint;
  const least = zeroPoint ? qmin : 0;
  // A weight of nothing has no scale of its own: products are made of it by any.
  const scales = scale.size === 0 ? Float32Array.of(1) : Float32Array.from(scale.data as ArrayLike<number>);
  return PackedWeight.ofCodes({
    rows,
    columns,
    bits,
    signed,
    codes: packCodes(
      least < 0 ? Uint8Array.from(codes.data, (code) => code - least) : codes.data,
      rows,
      columns,
      { bits, signed },
    ),
    scale: scales,
    group: groupOf(spec),
    // Those of other types that float16 holds are stored as such.
    scaleType: scaleDtype !== "float32" && noHalf(scales) < 0 ? "float16" : "float32",
    codebook: codebook && Array.from({ length: 2 ** bits }, (_, k) => codebook[k] ?? 0),
    zeroPoint:
      zeroPoint &&
      (scale.size === 0 ? Float32Array.of(0) : Float32Array.from(zeroPoint.data, (z) => z - least)),
  });
}
