/** A right call of every op that `bitgrad` exports. */

import { ones, type Tensor } from "bitgrad";
import {
  any,
  call,
  choice,
  count,
  each,
  exact,
  flag,
  given,
  index,
  integer,
  like,
  list,
  matrix,
  maybe,
  optional,
  type Place,
  positive,
  real,
  share,
  type Table,
  vector,
} from "./call.ts";

/** One axis, several, or null for all. */
const axes = given(() => 0, "negative null list");
const axis = integer(0);
const reduce = { axis: axes, keepDims: flag(false) };
const whole = () =>
  index([
    [1, 2, 3],
    [4, 5, 6],
  ]);
/** An operand of integers, by which plain numbers may stand. */
const integers = (also = "") => given(whole, `negative huge flag dtype ${also}`);
const anyInteger: Place = { ...integers(), tensor: true };

const elementwise: Table = {
  ...each(
    "abs acos asin atan ceil cos cosh erf erfinv exp exp2 expm1 floor frac isFinite isInf isNaN log log10 log1p log2 \
logicalNot reciprocal relu relu6 round rsqrt sigmoid logSigmoid silu mish softsign tanhShrink hardSigmoid hardSwish selu \
sign sin sinc sinh sqrt square tan tanh trunc".replace(/\s+/g, " "),
    call([any(matrix)], {}),
  ),
  neg: call(
    [{ ...any(matrix), takes: new Set(["nan", "negative", "fraction", "huge", "list", "shape"]) }],
    {},
  ),
  bitwiseNot: call([{ ...anyInteger, takes: new Set(["flag", "dtype"]) }], {}),
  clip: call([any(matrix)], { min: real(0), max: real(2) }),
  nanToNum: call([any(matrix)], { nan: real(0), posinf: real(1, "null"), neginf: real(-1, "null") }),
  leakyRelu: call([any(matrix)], { slope: real(0.1) }),
  elu: call([any(matrix)], { alpha: real(1) }),
  celu: call([any(matrix)], { alpha: real(1) }),
  softplus: call([any(matrix)], { beta: real(1), threshold: real(20) }),
  hardTanh: call([any(matrix)], { min: count(-1, "negative fraction"), max: real(2) }),
  softShrink: call([any(matrix)], { lambda: positive(0.5) }),
  hardShrink: call([any(matrix)], { lambda: positive(0.5) }),
  threshold: call([any(matrix)], { threshold: real(0), value: real(1) }),
  gelu: call([any(matrix)], { approximate: choice("tanh") }),
  to: call([any(matrix), choice("float64")]),
  ...each(
    "add sub mul div pow maximum minimum atan2 hypot logAddExp remainder fmod floorDivide truncDivide equal notEqual less \
lessEqual greater greaterEqual logicalAnd logicalOr logicalXor".replace(/\s+/g, " "),
    call([like(matrix), like(matrix)], {}),
  ),
  ...each("bitwiseAnd bitwiseOr bitwiseXor", call([anyInteger, anyInteger], {})),
  ...each("leftShift rightShift", call([anyInteger, anyInteger], {})),
  where: call([like(() => matrix().greater(2)), like(matrix), like(matrix)], {}),
  straightThrough: call([like(matrix), like(matrix)], {}),
  lerp: call([like(matrix), like(matrix), like(() => 0.5)]),
};

const reductions: Table = {
  ...each("sum mean prod max min any all logSumExp", call([any(matrix)], reduce)),
  ...each("argmax argmin", call([any(matrix)], { axis: integer(0, "null list"), keepDims: flag(false) })),
  variance: call([any(matrix)], { ...reduce, correction: real(1) }),
  std: call([any(matrix)], { ...reduce, correction: real(1) }, { says: "variance" }),
  norm: call([any(matrix)], { ...reduce, p: real(2) }),
  ...each("cumsum cumprod", call([any(matrix)], { axis })),
  ...each("cummax cummin", call([any(matrix)], { axis })),
  diff: call(
    [any(matrix)],
    {
      axis,
      n: count(1, "huge"),
      prepend: exact(() => ones([1, 3]), "null dtype"),
      append: exact(() => ones([1, 3]), "null dtype"),
    },
    { says: "concat" },
  ),
  ...each("softmax logSoftmax softmin", call([any(matrix), optional(axis)])),
};

const pairs = () => [
  [1, 0],
  [0, 1],
];

const movement: Table = {
  reshape: call([any(matrix), list(() => [3, 2], "", "negative")]),
  flatten: call([any(matrix)], { start: axis, end: integer(1) }),
  squeeze: call([any(() => ones([1, 3])), optional(integer(0, "list null"))]),
  unsqueeze: call([any(matrix), axis]),
  permute: call([any(matrix), list(() => [1, 0], "", "negative")]),
  transpose: call([any(matrix), optional(integer(0)), optional(integer(1))]),
  broadcastTo: call([any(() => 1), list(() => [2, 3], "list")]),
  slice: call([any(matrix), list(() => [[0, 1], 1], "list", "null negative list undefined")]),
  select: call([any(matrix), integer(0)], { axis: integer(1) }),
  flip: call([any(matrix), integer(0, "list null undefined")]),
  diagonal: call([any(matrix)], { offset: integer(0, "huge") }),
  unfoldDim: call([any(vector)], { axis, size: count(2), step: count(1, "huge") }, { says: "unfoldDim" }),
  concat: call([list(() => [matrix(), matrix()], "", "dtype")], { axis }),
  stack: call([list(() => [matrix(), matrix()], "", "dtype")], { axis }),
  split: call([any(vector), given(() => 2, "huge list")], { axis }),
  chunk: call([any(vector), count(2, "huge")], { axis }),
  pad: call([any(matrix), list(pairs, "list")], { mode: choice("constant"), value: real(0) }),
  roll: call([any(matrix), integer(1, "huge")], { axis: integer(0) }),
  tile: call([any(matrix), list(() => [2, 1], "list")], null, { says: "broadcastTo" }),
  repeatInterleave: call([any(matrix), count(2)], { axis }, { says: "broadcastTo" }),
  meshgrid: call([list(() => [vector(), vector()], "", "dtype flag nan negative fraction huge list")], {
    indexing: choice("xy"),
  }),
  einsum: call([given(() => "ij,jk->ik"), exact(matrix, "dtype"), exact(() => ones([3, 2]), "dtype")]),
};

const ids = (values: number[] | number[][]) => exact(() => index(values), "list");
const indexing: Table = {
  gather: call([exact(matrix, "dtype"), ids([[0, 1]])], { axis }),
  scatter: call([like(matrix), ids([[0, 1]]), like(() => ones([1, 2]))], { axis }),
  scatterAdd: call([like(matrix), ids([[0, 1]]), like(() => ones([1, 2]))], { axis }),
  indexSelect: call([any(matrix), ids([1, 0])], { axis }),
  indexAdd: call([like(matrix), ids([1, 0]), like(matrix)], { axis, alpha: real(1) }),
  embedding: call([exact(() => ones([4, 2]), "dtype"), ids([0, 1])], { paddingIndex: integer(0) }),
  maskedFill: call([like(matrix), like(() => matrix().greater(2)), like(() => 0)]),
  maskedSelect: call([like(matrix), like(() => matrix().greater(2))]),
  oneHot: call([ids([0, 1])], { classes: count(3) }),
  unique: call([any(matrix)], { axis: integer(0, "null") }),
  nonzero: call([any(matrix)]),
  bincount: call([ids([0, 1])], { weights: exact(() => ones([2]), "null dtype"), minLength: count(3) }),
  searchsorted: call([exact(vector, "dtype list shape"), any(matrix)], { right: flag(false) }),
  ...each("tril triu", call([exact(matrix, "shape dtype")], { offset: integer(0, "huge") })),
  argsort: call([any(matrix)], { axis, descending: flag(false) }),
  sort: call([any(matrix)], { axis, descending: flag(false) }),
  topK: call([any(matrix), count(1)], { axis, largest: flag(true) }),
  kthValue: call([any(matrix), count(1)], { axis, keepDims: flag(false) }),
  median: call([any(matrix)], { axis, keepDims: flag(false) }),
  quantile: call([any(matrix), share(0.5, "flag list")], {
    axis: integer(0, "null"),
    keepDims: flag(false),
    interpolation: choice("lower"),
  }),
};

const algebra: Table = {
  tensordot: call([exact(() => ones([2, 3, 2]), "dtype"), exact(() => ones([3, 2, 2]), "dtype")], {
    axes: given(() => 2),
  }),
  matmul: call([exact(matrix, "dtype shape"), exact(() => ones([3, 2]), "dtype")], {
    transposeA: flag(false),
    transposeB: flag(false),
  }),
  linear: call([
    exact(matrix, "dtype shape"),
    exact(() => ones([2, 3]), "dtype"),
    maybe(exact(() => ones([2]), "dtype")),
  ]),
  addmm: call([like(() => ones([2, 2])), exact(matrix, "dtype"), exact(() => ones([3, 2]), "dtype")], {
    beta: real(1),
    alpha: real(1),
  }),
  dot: call([exact(vector, "dtype"), exact(vector, "dtype")]),
  outer: call([exact(vector, "dtype list"), exact(vector, "dtype list")]),
};

const image = () => ones([1, 2, 4, 4]);
const line = () => ones([1, 2, 4]);
const pair = count(1, "");
const windows = { stride: pair, padding: count(0), dilation: pair };
const tensors = (make: () => Tensor) => exact(make, "dtype");
const bias = (size: number) => maybe(tensors(() => ones([size])));
const pooling = {
  kernelSize: count(2),
  stride: count(1, "null huge"),
  padding: count(0),
  ceilMode: flag(false),
};
const eps = { eps: positive(1e-5) };
const rows = () => ones([1, 2, 3]);
const attention = {
  causal: flag(false),
  mask: exact(() => ones([2, 2]).greater(0), "null flag fraction huge negative dtype"),
  scale: real(1, "null"),
  heads: count(1, "null"),
};

const networks: Table = {
  conv1d: call(
    [tensors(line), tensors(() => ones([3, 2, 2])), bias(3)],
    { ...windows, groups: count(1) },
    { says: "conv2d" },
  ),
  conv2d: call([tensors(image), tensors(() => ones([3, 2, 2, 2])), bias(3)], {
    ...windows,
    groups: count(1),
  }),
  conv2dTranspose: call([tensors(image), tensors(() => ones([2, 3, 2, 2])), bias(3)], {
    ...windows,
    groups: count(1),
    outputPadding: count(0),
  }),
  unfold: call([tensors(image)], { kernelSize: count(2), ...windows }, { needs: "kernelSize" }),
  ...each(
    "maxPool2d maxPool2dWithIndices",
    call([tensors(image)], { ...pooling, dilation: pair }, { needs: "kernelSize", says: "maxPool2d" }),
  ),
  avgPool2d: call([tensors(image)], { ...pooling, countIncludePad: flag(true) }, { needs: "kernelSize" }),
  maxPool1d: call(
    [exact(line, "dtype shape")],
    { ...pooling, dilation: pair },
    { needs: "kernelSize", says: "maxPool2d" },
  ),
  avgPool1d: call(
    [exact(line, "dtype shape")],
    { ...pooling, countIncludePad: flag(true) },
    { needs: "kernelSize", says: "avgPool2d" },
  ),
  adaptiveAvgPool2d: call([exact(image, "dtype shape"), given(() => 2)]),
  layerNorm: call([exact(matrix, "dtype shape"), bias(3), bias(3)], {
    ...eps,
    normalizedShape: given(() => [3], "null"),
  }),
  rmsNorm: call([exact(matrix, "dtype shape"), bias(3)], {
    ...eps,
    normalizedShape: given(() => [3], "null"),
  }),
  batchNorm: call([tensors(matrix), tensors(vector), tensors(vector), bias(3), bias(3)], eps),
  groupNorm: call([tensors(image), bias(2), bias(2)], { ...eps, groups: count(1) }),
  instanceNorm: call([exact(image, "dtype"), bias(2), bias(2)], eps),
  scaledDotProductAttention: call([tensors(rows), tensors(rows), tensors(rows)], attention),
  groupedQuery: call([tensors(rows), tensors(rows), tensors(rows)], attention, {
    says: "scaledDotProductAttention",
  }),
  rotary: call([exact(() => ones([3, 4]), "dtype")], {
    offset: integer(0, "fraction huge"),
    base: positive(100),
    style: choice("half"),
  }),
};

export const ops: Table = {
  ...elementwise,
  ...reductions,
  ...movement,
  ...indexing,
  ...algebra,
  ...networks,
};
