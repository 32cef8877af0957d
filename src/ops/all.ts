/** Every op: the table that tests and documents iterate, and the methods of Tensor. Importing it installs them. */

import { backward } from "../tape.ts";
import { Tensor } from "../tensor.ts";
import type { TensorMethods } from "../tensor-methods.ts";
import * as activation from "./activation.ts";
import * as attention from "./attention.ts";
import * as binary from "./binary.ts";
import * as conv from "./conv.ts";
import { dropout } from "./create.ts";
import * as indexing from "./index-ops.ts";
import * as join from "./join.ts";
import * as matmul from "./matmul.ts";
import * as movement from "./movement.ts";
import * as norm from "./norm.ts";
import type { Op, OpRow } from "./op.ts";
import * as pool from "./pool.ts";
import * as reduce from "./reduce.ts";
import * as repeat from "./repeat.ts";
import * as scan from "./scan.ts";
import * as softmax from "./softmax.ts";
import * as sort from "./sort.ts";
import * as unary from "./unary.ts";

const modules = {
  ...unary,
  ...activation,
  ...binary,
  ...reduce,
  ...scan,
  ...movement,
  ...join,
  ...repeat,
  ...indexing,
  ...sort,
  ...matmul,
  ...softmax,
  ...norm,
  ...attention,
  ...conv,
  ...pool,
};

type Modules = typeof modules;

/** The exported names of rows. */
export type OpName = {
  [K in keyof Modules]: Modules[K] extends { readonly row: OpRow } ? K : never;
}[keyof Modules];

/** Every row by its exported name. */
export const table = Object.fromEntries(
  Object.entries(modules).filter(([, value]) => typeof value === "function" && "row" in value),
) as unknown as { readonly [K in OpName]: Op<readonly Tensor[], object, Tensor | readonly Tensor[]> };

/** Which of them are methods, grouped as in `TensorMethods`. */
const methodNames = {
  gradient: "backward",
  unary: "neg abs exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos",
  unary2: "atan sinh cosh tanh erf erfinv sinc sign round floor ceil trunc frac clip nanToNum isNaN",
  unary3: "isFinite isInf logicalNot bitwiseNot to",
  activations:
    "sigmoid logSigmoid relu relu6 silu mish softsign tanhShrink hardSigmoid hardSwish selu leakyRelu",
  activations2: "elu celu softplus hardTanh softShrink hardShrink threshold gelu",
  binary: "add sub mul div pow maximum minimum atan2 hypot logAddExp remainder fmod floorDivide truncDivide",
  binary2: "equal notEqual less lessEqual greater greaterEqual logicalAnd logicalOr logicalXor bitwiseAnd",
  binary3: "bitwiseOr bitwiseXor leftShift rightShift where lerp",
  reductions: "sum mean variance std max min prod any all argmax argmin logSumExp norm cumsum cumprod sumTo",
  shape: "reshape flatten squeeze unsqueeze transpose permute broadcastTo slice select split chunk flip",
  shape2: "diagonal unfoldDim pad roll tile repeatInterleave",
  index: "gather indexSelect indexAdd scatter scatterAdd maskedFill maskedSelect oneHot embedding tril",
  index2: "triu argsort sort topK kthValue median",
  algebra: "matmul linear dot outer",
  networks: "softmax logSoftmax softmin layerNorm rmsNorm batchNorm groupNorm instanceNorm conv1d conv2d",
  networks2: "conv2dTranspose unfold maxPool2d avgPool2d maxPool1d avgPool1d adaptiveAvgPool2d dropout",
  networks3: "scaledDotProductAttention groupedQuery rotary",
} as const;

type Words<S extends string, Found = never> = S extends `${infer Word} ${infer Rest}`
  ? Words<Rest, Found | Word>
  : Found | S;
type Listed = Words<(typeof methodNames)[keyof typeof methodNames]>;
type Method<K extends keyof TensorMethods> = (
  self: Tensor,
  ...args: Parameters<TensorMethods[K]>
) => AnyDType<ReturnType<TensorMethods[K]>>;
/** The functions are declared for any dtype alone. */
type AnyDType<R> = R extends Tensor ? Tensor : R;

/** Fails to compile when a declared method has no function, or is missing from the list above. */
const methods: { readonly [K in keyof TensorMethods]: Method<K> } & {
  readonly [K in Listed]: unknown;
} & Record<Exclude<keyof TensorMethods, Listed>, never> = {
  ...modules,
  backward: backward as Method<"backward">,
  dropout,
  sumTo: (x, shape) => reduce.sumTo(x, { shape }),
};

for (const names of Object.values(methodNames)) {
  for (const name of names.split(" ") as (keyof TensorMethods)[]) {
    const run = methods[name] as (self: Tensor, ...args: unknown[]) => unknown;
    Object.defineProperty(Tensor.prototype, name, {
      value(this: Tensor, ...args: unknown[]) {
        return run(this, ...args);
      },
      configurable: true,
      writable: true,
    });
  }
}
