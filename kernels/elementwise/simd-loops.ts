/** Which elementwise functions have a SIMD loop, by the very function that the reference takes. */

import * as activation from "./activation.ts";
import type { Binary, Tuned, Unary } from "./arithmetic.ts";
import * as plain from "./arithmetic.ts";
import { erf, logSigmoid, roundEven, sigmoid } from "./special.ts";

type Map1 = (out: number, x: number, n: number) => void;
type MapTuned = (out: number, x: number, n: number, ...numbers: number[]) => void;
type MapGrad = (out: number, grad: number, x: number, y: number, n: number) => void;
/** Strides and steps in bytes; a step is 4, or 0 for an operand that every row repeats. */
type Zip = (
  out: number,
  a: number,
  b: number,
  rows: number,
  n: number,
  aRow: number,
  bRow: number,
  aStep: number,
  bStep: number,
) => void;
type Select = (
  out: number,
  c: number,
  a: number,
  b: number,
  rows: number,
  n: number,
  cRow: number,
  aRow: number,
  bRow: number,
  cStep: number,
  aStep: number,
  bStep: number,
) => void;

type Named<Names extends string, F> = { readonly [name in Names]: F };
type Roundings = "floor" | "ceil" | "truncate" | "roundEven";
type Powers = "square" | "sqrt" | "reciprocal" | "reciprocalSqrt" | "exp" | "expm1" | "log" | "log1p";
type Gates = "tanh" | "sigmoid" | "logSigmoid" | "erf" | "hardSigmoid";
type Activations = "gelu" | "geluTanh" | "silu" | "hardSwish" | "rectify";
type Maps = "absolute" | "negate" | "sign" | Roundings | Powers | Gates | Activations;
type Grads = "tanhGrad" | "sigmoidGrad" | "geluGrad" | "geluTanhGrad" | "siluGrad";
type Zips = "add" | "subtract" | "multiply" | "divide" | "maximum" | "minimum" | "gate";
type Tests = Comparisons | "sizeLess" | "sizeEqual";
type Comparisons = "equal" | "notEqual" | "less" | "lessEqual" | "greater" | "greaterEqual";

/** What simd.as.ts exports. */
export interface ElementwiseExports
  extends Named<Maps, Map1>,
    Named<Tuned["loop"], MapTuned>,
    Named<Grads, MapGrad>,
    Named<Zips | Tests, Zip> {
  readonly select: Select;
  readonly selectBytes: Select;
  readonly selectDoubles: Select;
}

export const simdUnary: ReadonlyMap<Unary, Maps> = /* @__PURE__ */ new Map<Unary, Maps>([
  [Math.abs, "absolute"],
  [plain.negative, "negate"],
  [plain.signOf, "sign"],
  [plain.square, "square"],
  [plain.rectified, "rectify"],
  [plain.reciprocal, "reciprocal"],
  [plain.reciprocalSqrt, "reciprocalSqrt"],
  [Math.sqrt, "sqrt"],
  [Math.exp, "exp"],
  [Math.expm1, "expm1"],
  [Math.log, "log"],
  [Math.log1p, "log1p"],
  [Math.tanh, "tanh"],
  [Math.floor, "floor"],
  [Math.ceil, "ceil"],
  [Math.trunc, "truncate"],
  [roundEven, "roundEven"],
  [sigmoid, "sigmoid"],
  [logSigmoid, "logSigmoid"],
  [erf, "erf"],
  [activation.gelu, "gelu"],
  [activation.geluTanh, "geluTanh"],
  [activation.silu, "silu"],
  [activation.hardSigmoid, "hardSigmoid"],
  [activation.hardSwish, "hardSwish"],
]);

/** The loop of a function and the numbers it takes; undefined where it has none. */
export function loopOf(
  f: Unary & Partial<Tuned>,
): { name: Maps | Tuned["loop"]; numbers: readonly number[] } | undefined {
  const name = simdUnary.get(f) ?? f.loop;
  return name && { name, numbers: f.numbers ?? [] };
}

export const simdSlopes: ReadonlyMap<Binary, Grads> = /* @__PURE__ */ new Map<Binary, Grads>([
  [activation.tanhSlope, "tanhGrad"],
  [activation.sigmoidSlope, "sigmoidGrad"],
  [activation.geluSlope, "geluGrad"],
  [activation.geluTanhSlope, "geluTanhGrad"],
  [activation.siluSlope, "siluGrad"],
]);

export const simdBinary: ReadonlyMap<Binary, Zips> = /* @__PURE__ */ new Map<Binary, Zips>([
  [plain.plus, "add"],
  [plain.minus, "subtract"],
  [plain.times, "multiply"],
  [plain.over, "divide"],
  [Math.max, "maximum"],
  [Math.min, "minimum"],
  [activation.gated, "gate"],
]);

/** Into bytes. */
export const simdTests: ReadonlyMap<Binary, Tests> = /* @__PURE__ */ new Map<Binary, Tests>([
  [plain.equals, "equal"],
  [plain.differs, "notEqual"],
  [plain.below, "less"],
  [plain.atMost, "lessEqual"],
  [plain.above, "greater"],
  [plain.atLeast, "greaterEqual"],
  [plain.sizeBelow, "sizeLess"],
  [plain.sizeEquals, "sizeEqual"],
]);
