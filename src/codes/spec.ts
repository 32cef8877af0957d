/** QuantSpec: what a uniform or codebook quantizer is, apart from the numbers it is given. */

import { checkChoice, isPlainObject, OptionError, readOptions, show } from "../errors.ts";

/**
 * Which elements share a scale: all; those of one index of `axis` (an output row of a weight); those of one row of the last
 * axis (a token of an activation); every `group` along `axis`, which is the last one; or blocks of rows and columns of the
 * last two axes. The last group, and the last blocks, are smaller where need be.
 */
export type Granularity =
  | "tensor"
  | "channel"
  | "token"
  | { readonly group: number }
  | { readonly block: readonly [rows: number, columns: number] };

export interface SpecOptions {
  /** Bits of a code, 1 to 8. One symmetric bit means the codes −1 and +1. */
  bits: number;
  /**
   * "symmetric": scale from max|x|, no zero point. "affine": scale and zero point from the range of x. "absmax-signed": the
   * element of largest magnitude becomes the lowest code exactly, and the scale may be negative, as in ggml's Q4_0. Where
   * both signs have that magnitude it is the positive one; ggml takes the one that comes first. "codebook": the nearest of
   * `codebook` times max|x|.
   */
  scheme: "symmetric" | "affine" | "absmax-signed" | "codebook";
  granularity: Granularity;
  /**
   * The axis that "channel" means, 0 where it is null, or along which groups run: −1, the last one. A weight (out, …)
   * of more than two axes counts as a matrix (out, columns) for groups along −1, and for blocks.
   */
  axis: number | null;
  /**
   * Symmetric codes: "narrow" −(2^(b−1) − 1) … 2^(b−1) − 1; "full" from −2^(b−1) with scale max|x| / ((2^b − 1)/2), where an
   * element may err by half a step at the end; "noClip" from −2^(b−1) with the least scale that leaves nothing out of range.
   */
  range: "narrow" | "full" | "noClip";
  /** Affine codes: from −2^(b−1) where true, else from 0. */
  signed: boolean;
  rounding: Rounding;
  /**
   * Affine only: "int" widens the range to hold 0, which is then exact; "float" takes the range as it is and rounds
   * x/scale + zeroPoint, as HQQ does. "none" elsewhere. null: what goes with the scheme.
   */
  zeroPoint: "int" | "float" | "none" | null;
  /** Affine only: whether the range is widened to hold 0. null: with "int" zero points, which need it; not with "float". */
  includeZero: boolean | null;
  /**
   * The type scales are rounded to, half to even. Below 2^−14, where "float16" loses bits, they stay float32. "e8m0" are
   * powers of two: 2^(⌊log₂ max|x|⌋ − ⌊log₂ largest code⌋), by which the largest elements may be clamped (OCP Microscaling
   * Formats v1.0, 2023; of affine codes the width of the range stands for max|x|); with "noClip" the next one up. A scale
   * that was not found from the range of x takes the nearest in ratio.
   */
  scaleDtype: ScaleDtype;
  /** The least scale that is chosen: smaller ones become it. At least 2^−126, also by 0. That of a run of zeros is 1. */
  eps: number;
  /** "clamp" lets ±Infinity take the extreme codes and keeps it out of the range. NaN is always an error. */
  onNonFinite: "throw" | "clamp";
  /** The levels that codes 0, 1, … stand for, rising, within −1 … 1. */
  codebook: readonly number[] | null;
}

export type ScaleDtype = "float32" | "float16" | "bfloat16" | "e8m0";

/** Ties go to the even integer, away from zero, up; or x is rounded up with the probability of its fraction. */
export type Rounding = "half-even" | "half-away" | "half-up" | "stochastic";

/** A checked spec; `qmin` and `qmax` are the least and the largest code. */
export interface QuantSpec extends Readonly<SpecOptions> {
  readonly axis: number;
  readonly includeZero: boolean;
  readonly zeroPoint: "int" | "float" | "none";
  readonly qmin: number;
  readonly qmax: number;
}

export const scaleDtypes = ["float32", "float16", "bfloat16", "e8m0"] as const;

const choices = {
  scheme: ["symmetric", "affine", "absmax-signed", "codebook"],
  range: ["narrow", "full", "noClip"],
  rounding: ["half-even", "half-away", "half-up", "stochastic"],
  scaleDtype: scaleDtypes,
  onNonFinite: ["throw", "clamp"],
} as const;

export const specDefaults: SpecOptions = {
  bits: 8,
  scheme: "symmetric",
  granularity: null as unknown as Granularity,
  axis: null,
  range: "narrow",
  signed: false,
  rounding: "half-even",
  zeroPoint: null,
  includeZero: null,
  scaleDtype: "float32",
  eps: 0,
  onNonFinite: "throw",
  codebook: null,
};

/**
 * A spec with what is left out filled in: 8 bits, symmetric, one scale a tensor, narrow range, half to even, float32 scales.
 * Throws OptionError for values outside their domain or that contradict each other.
 *
 * @example
 * ```ts
 * import { spec } from "bitgrad/quant";
 *
 * const { qmin, qmax, zeroPoint } = spec({ bits: 4, scheme: "affine", granularity: { group: 32 } });
 * console.log(qmin, qmax, zeroPoint); // 0 15 int
 * ```
 */
export function spec(options: Partial<SpecOptions> = {}): QuantSpec {
  const read = readOptions("spec", options, specDefaults);
  const granularity = checkGranularity("spec", read.granularity);
  for (const [name, known] of Object.entries(choices)) {
    checkChoice("spec", name, read[name as keyof typeof choices], known);
  }
  const { bits, scheme, codebook } = read;
  if (!Number.isInteger(bits) || bits < 1 || bits > 8) {
    throw new OptionError(`spec: bits must be an integer from 1 to 8, got ${show(bits)}`);
  }
  const axis = read.axis ?? (typeof granularity === "object" ? -1 : 0);
  if (!Number.isInteger(axis)) throw new OptionError(`spec: axis must be an integer, got ${show(axis)}`);
  const zeroPoint = scheme === "affine" ? (read.zeroPoint ?? "int") : (read.zeroPoint ?? "none");
  checkChoice("spec", "zeroPoint", zeroPoint, ["int", "float", "none"]);
  if ((scheme === "affine") !== (zeroPoint === "int" || zeroPoint === "float")) {
    throw new OptionError(`spec: zeroPoint does not go with ${scheme} codes, got ${show(read.zeroPoint)}`);
  }
  if ((scheme === "codebook") !== (codebook !== null)) {
    throw new OptionError(
      `spec: a codebook goes with the scheme "codebook", got ${show(scheme)} and ${show(codebook)}`,
    );
  }
  if (codebook) checkCodebook(codebook, bits);
  const includeZero = read.includeZero ?? zeroPoint !== "float";
  checkRange(read, zeroPoint, includeZero);
  const [qmin, qmax] = codeRange({ ...read, granularity });
  // Files write −0 as 0: it is 0 from the start.
  const levels = codebook && Object.freeze(codebook.map((level) => level + 0));
  return Object.freeze({ ...read, granularity, axis, codebook: levels, zeroPoint, includeZero, qmin, qmax });
}

function checkRange(read: SpecOptions, zeroPoint: QuantSpec["zeroPoint"], includeZero: unknown): void {
  if (typeof includeZero !== "boolean" || (!includeZero && zeroPoint !== "float")) {
    const want = zeroPoint === "float" ? "true or false" : "true where zero points are not float";
    throw new OptionError(`spec: includeZero must be ${want}, got ${show(includeZero)}`);
  }
  const { scheme, scaleDtype } = read;
  if (scaleDtype === "e8m0" && (isSigns(read) || scheme === "absmax-signed")) {
    const which = isSigns(read) ? "signs, whose scale may be 0" : "absmax-signed codes";
    throw new OptionError(`spec: e8m0 scales are powers of two above 0, got ${which}; take bfloat16`);
  }
}

function checkCodebook(codebook: readonly number[], bits: number): void {
  const rises =
    Array.isArray(codebook) &&
    codebook.every((c, i) => typeof c === "number" && Math.abs(c) <= 1 && (i === 0 || c > codebook[i - 1]));
  if (!rises || codebook.length < 2 || codebook.length > 2 ** bits) {
    throw new OptionError(
      `spec: a codebook must be 2 to ${2 ** bits} rising numbers within −1 … 1, got ${show(codebook)}`,
    );
  }
}

function codeRange({ bits, scheme, range, signed, codebook }: SpecOptions): [qmin: number, qmax: number] {
  const half = 2 ** (bits - 1);
  if (scheme === "codebook") return [0, codebook!.length - 1];
  if (scheme === "affine") return signed ? [-half, half - 1] : [0, 2 * half - 1];
  if (scheme === "absmax-signed") return [-half, half - 1];
  if (bits === 1) return [-1, 1];
  return [range === "narrow" ? 1 - half : -half, half - 1];
}

/** Throws OptionError for what is no spec. */
export function checkSpec(op: string, given: QuantSpec): void {
  if (!isPlainObject(given) || typeof given.qmin !== "number") {
    throw new OptionError(`${op}: needs a spec such as spec({ bits: 8 }), got ${show(given)}`);
  }
}

/** A spec that differs from another in some options. */
export function respec(
  { qmin: _, qmax: __, ...options }: QuantSpec,
  changes: Partial<SpecOptions>,
): QuantSpec {
  return spec({ ...options, ...changes });
}

/** Whether codes of two specs stand for the same numbers under the same scales. */
export function readsAs(a: QuantSpec, b: QuantSpec): boolean {
  const read = ({ bits, scheme, granularity, axis, qmin, qmax, zeroPoint, codebook }: QuantSpec): string =>
    JSON.stringify([bits, scheme, granularity, axis, qmin, qmax, zeroPoint, codebook]);
  return read(a) === read(b);
}

/** True where codes are the signs −1 and +1. */
export const isSigns = ({ bits, scheme }: Pick<QuantSpec, "bits" | "scheme">): boolean =>
  bits === 1 && scheme === "symmetric";

/** How many codes of a row, or along `axis`, share a scale; null where there are no groups. */
export const groupOf = ({ granularity }: Pick<QuantSpec, "granularity">): number | null =>
  typeof granularity === "object" && "group" in granularity ? granularity.group : null;

/** Rows and columns of a block; null where there are no blocks. */
export const blockOf = ({ granularity }: Pick<QuantSpec, "granularity">): readonly [number, number] | null =>
  typeof granularity === "object" && "block" in granularity ? granularity.block : null;

/** A granularity as given, or one scale a tensor for null. */
export function checkGranularity(op: string, granularity: Granularity | null): Granularity {
  if (granularity === null) return "tensor";
  if (granularity === "tensor" || granularity === "channel" || granularity === "token") return granularity;
  const isCount = (n: unknown): n is number => Number.isInteger(n) && (n as number) > 0;
  const { group, block } = granularity as { group?: unknown; block?: unknown };
  const keys = typeof granularity === "object" ? Object.keys(granularity) : [];
  if (keys.length === 1 && isCount(group)) return Object.freeze({ group });
  if (keys.length === 1 && Array.isArray(block) && block.length === 2 && block.every(isCount)) {
    return Object.freeze({ block: Object.freeze([block[0], block[1]] as const) });
  }
  const got = keys.length > 1 ? `{ ${keys.join(", ")} }` : show(group ?? block ?? granularity);
  throw new OptionError(
    `${op}: granularity must be "tensor", "channel", "token", { group } or { block }, got ${got}`,
  );
}
