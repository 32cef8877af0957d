/** What sums of products of integers must keep to. */

import { largestInteger, zeroKind } from "../../../kernels/zeros.ts";
import { FormatError, show } from "../../errors.ts";
import type { PackedWeight } from "../file/weight.ts";
import type { PackedInput } from "./input.ts";

/** The largest magnitude of a code less its zero point. */
const codeBound = (input: PackedInput): number =>
  input.kind === "signs" ? 1 : input.kind === "static" ? input.most - input.least : 127;

/** Throws FormatError where sums could leave int32, and for a quantized input before weights that are not integers. */
export function checkSums(op: string, { bits, columns: k, coded }: PackedWeight, input: PackedInput): void {
  const zeros = coded?.zeroPoint;
  if (!coded || coded.codebook !== null || (zeros && zeroKind(zeros, bits) === "float")) {
    throw new FormatError(`${op}: a quantized input needs weights of integers, got ${show(bits)} bits`);
  }
  const largest = zeros ? largestInteger(zeros, bits) : coded.signed ? 2 ** (bits - 1) : 2 ** bits - 1;
  if (codeBound(input) * largest * k > 2 ** 31 - 1) {
    throw new FormatError(`${op}: sums of products must fit int32, got ${k} products of ${bits} bits`);
  }
}
