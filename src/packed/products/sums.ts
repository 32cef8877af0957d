/** What sums of products of integers must keep to. */

import { FormatError, show } from "../../errors.ts";
import type { PackedWeight } from "../file/weight.ts";
import { largestInteger, zeroKind } from "../file/zero.ts";
import type { PackedInput } from "./input.ts";

/** The largest magnitude of a code less its zero point. */
const codeBound = (input: PackedInput): number =>
  input.kind === "signs" ? 1 : input.kind === "dynamic" ? 127 : input.most - input.least;

/** Throws FormatError where sums could leave int32, and for a quantized input before weights that are not integers. */
export function checkSums(op: string, { bits, columns: k, coded }: PackedWeight, input: PackedInput): void {
  if (coded === null || coded.codebook !== null) {
    throw new FormatError(`${op}: a quantized input needs weights of integers, got ${show(bits)} bits`);
  }
  const { zeroPoint } = coded;
  if (zeroPoint && zeroKind(zeroPoint, coded) === "float") {
    throw new FormatError(
      `${op}: a quantized input needs weights of integers, got zero points that are none`,
    );
  }
  const largest = largestInteger(coded, zeroPoint);
  if (codeBound(input) * largest * k > 2 ** 31 - 1) {
    throw new FormatError(`${op}: sums of products must fit int32, got ${k} products of ${bits} bits`);
  }
}
