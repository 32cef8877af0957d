/** The types of numbers that kernels take as doubles. */

import { dtypeOfArray, type TypedArray } from "../../src/dtype.ts";

const types = ["float32", "float64", "int32", "uint32", "int8", "uint8"];

/** Its number in doubles.as.ts. */
export const kindOf = (x: TypedArray): number => types.indexOf(dtypeOfArray(x)!);
