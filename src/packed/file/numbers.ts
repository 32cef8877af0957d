/** Weights as files describe them: checked, and made of their bytes. */

import { widenFloat16 } from "../../../kernels/formats/half.ts";
import { type ZeroKind, zeroKinds } from "../../../kernels/zeros.ts";
import { FormatError, isPlainObject, show } from "../../errors.ts";
import { packedBytes } from "./codes.ts";
import type { Fields } from "./layer.ts";
import { type CodedWeight, PackedWeight } from "./weight.ts";

/** The dtypes of numbers. */
export type Format = "F32" | "F16" | "U8";

/** Gives the bytes of a part of a weight: a copy, which is aligned. Throws FormatError where they are missing. */
export type Take = (part: "" | ".codes" | ".scale" | ".zero", format: Format, shape: number[]) => ArrayBuffer;

type WeightType = Pick<
  CodedWeight,
  "rows" | "columns" | "bits" | "signed" | "group" | "codebook" | "scaleType"
> & {
  readonly zero: ZeroKind | null;
  /** Whether there is one scale, where there are no groups; else each row has its own. */
  readonly scales: "one" | null;
};

/** All that a weight of version 4 may say, and what it is where it does not. */
export const weightDefaults: Fields = {
  rows: null,
  columns: null,
  bits: 32,
  signed: true,
  group: null,
  codebook: null,
  zero: null,
  scales: null,
  scaleType: "float16",
};

const isCount = (n: unknown): n is number =>
  Number.isInteger(n) && (n as number) > 0 && (n as number) < 2 ** 31;

const areLevels = (levels: unknown): levels is number[] | null =>
  levels === null ||
  (Array.isArray(levels) &&
    levels.length <= 256 &&
    levels.every((level) => Number.isFinite(level) && Number.isFinite(Math.fround(level))));

function oneOf(op: string, name: string, value: unknown, known: readonly unknown[]): void {
  if (known.includes(value)) return;
  throw new FormatError(`${op}: ${name} must be one of ${known.map(String).join(", ")}, got ${show(value)}`);
}

/** Throws FormatError for what is no description of a weight. */
export function checkWeight(given: Fields, op = "loadPacked"): WeightType {
  const { rows, columns, bits, signed, group, codebook, zero, scales, scaleType } = given;
  if (!isCount(rows) || !isCount(columns) || !(group === null || isCount(group)) || !areLevels(codebook)) {
    throw new FormatError(`${op}: a weight's sizes must be counts, got ${show([rows, columns, group])}`);
  }
  oneOf(op, "bits", bits, [1, 2, 3, 4, 5, 6, 7, 8, 32]);
  if (bits !== 32) oneOf(op, "signed", signed, [true, false]);
  oneOf(op, "zero", zero, [null, ...zeroKinds]);
  oneOf(op, "scales", scales, group === null ? [null, "one"] : [null]);
  oneOf(op, "scaleType", scaleType, ["float16", "float32"]);
  return given as unknown as WeightType;
}

/** The weight of such a description. Throws FormatError where its numbers are none. */
export function makeWeight({ zero, scales, ...type }: WeightType, take: Take): PackedWeight {
  const { rows, columns, bits, group, scaleType } = type;
  const floats = (part: ".scale" | ".zero" | "", shape: number[]) =>
    new Float32Array(take(part, "F32", shape));
  if (bits === 32) return PackedWeight.ofFloats(floats("", [rows, columns]), rows, columns);
  const codes = new Uint8Array(take(".codes", "U8", [rows, packedBytes(columns, bits)]));
  const shape = group !== null ? [rows, Math.ceil(columns / group)] : [scales ? 1 : rows];
  const scale =
    scaleType === "float16"
      ? widenFloat16(new Uint16Array(take(".scale", "F16", shape)))
      : floats(".scale", shape);
  let zeroPoint: Float32Array | null = null;
  if (zero === "float") zeroPoint = floats(".zero", shape);
  else if (zero) {
    zeroPoint = Float32Array.from(new Uint8Array(take(".zero", "U8", shape)));
    const odd = zeroPoint.find((z) => z >= 2 ** bits);
    if (odd !== undefined)
      throw new FormatError(`loadPacked: a zero point must be a code of ${bits} bits, got ${odd}`);
    if (zero === "half") zeroPoint = zeroPoint.map((z) => z + 0.5);
  }
  return PackedWeight.ofCodes({ ...type, codes, scale, zeroPoint });
}

export type Numbers = PackedWeight | Float32Array;

/** A description with what `put` makes of its objects. It hears whether one has a kind, and what reads its fields. */
export function replaced(
  value: unknown,
  put: (value: Fields, isLayer: boolean, below: () => Fields) => unknown,
): unknown {
  if (Array.isArray(value)) return value.map((item) => replaced(item, put));
  if (!isPlainObject(value)) return value;
  // Fields of a layer may have any name.
  return put(value, Object.hasOwn(value, "kind"), () =>
    Object.fromEntries(Object.entries(value).map(([name, field]) => [name, replaced(field, put)])),
  );
}
