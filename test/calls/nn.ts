/** A right call of everything that `bitgrad/nn` exports. */

import { ones, Rng, type Tensor, tensor } from "bitgrad";
import * as nn from "bitgrad/nn";
import {
  type Call,
  call,
  choice,
  count,
  each,
  exact,
  flag,
  fn,
  given,
  index,
  integer,
  like,
  list,
  matrix,
  model,
  optional,
  type Place,
  parameter,
  positive,
  real,
  share,
  small,
  step,
  type Table,
  text,
  vector,
} from "./call.ts";

const rng = given(() => new Rng(1), "null");
const dtype = choice("float32");
const linear = { bias: flag(true), dtype, rng };
const conv = { ...linear, stride: count(1), padding: count(0, "list"), dilation: count(1), groups: count(1) };
const resize = {
  size: count(4),
  scaleFactor: given(() => null, "null"),
  mode: choice("nearest"),
  alignCorners: flag(false),
};
const recurrent = { ...linear, layers: count(2), bidirectional: flag(true), dropout: share(0.1) };
const pool = { stride: given(() => 2, "null"), padding: count(0), ceilMode: flag(false) };
const norm = { eps: positive(1e-5), affine: flag(true), bias: flag(true), dtype };
const batch = { ...norm, momentum: share(0.1, "null") };
const attention = {
  bias: flag(true),
  outBias: given(() => true, "null flag"),
  headSize: count(2, "null"),
  kvHeads: count(1, "null"),
  dropout: share(0.1),
  rotary: given(() => ({ base: 100 }), "flag null object"),
  rng,
};
const block = {
  ...attention,
  norm: choice("pre"),
  normalization: choice("rms"),
  eps: positive(1e-5),
  activation: choice("gelu"),
};
const cache = () => new nn.KVCache();
const head = () => ones([1, 2, 3, 2]);
const selfCall = {
  causal: flag(false),
  // Both broadcast.
  mask: exact(() => ones([3, 3]).greater(0), "null dtype flag negative fraction huge"),
  headMask: exact(() => ones([2]), "null dtype flag negative fraction huge"),
  cache: given(cache, "null"),
  capture: given(() => ({ scores: [] }), "null object"),
  rng,
};
const states = () => ones([1, 3, 4]);

/** The `forward` of a layer, told by its class or by the ops named. */
const forward = (make: () => { forward(...args: never[]): unknown }, x: Place, says = ""): Call =>
  call([x], null, {
    run: (...args: never[]) => make().forward(...args),
    says: `${make().constructor.name} ${says}`.trim(),
  });
const x = (make: () => Tensor) => exact(make, "dtype");

/** A layer that is tapped. */
const tapped = small();

/** The `inputMatrix` of a layer. */
const matrixOf = (make: () => { inputMatrix(x: Tensor): Tensor }, x: () => Tensor, also = ""): Call =>
  call([exact(x, `dtype ${also}`)], null, {
    run: (given: Tensor) => make().inputMatrix(given),
    says: "inputMatrix unfold reshape",
  });

const layers: Table = {
  Linear: call([count(3), count(2)], linear),
  "Linear.forward": forward(small, exact(matrix, "dtype shape"), "linear"),
  LowRank: call([count(3), count(2), count(1)], { rng: given(() => new Rng(1), "null") }),
  "LowRank.forward": forward(() => new nn.LowRank(3, 2, 1), exact(matrix, "dtype shape"), "linear"),
  Hadamard: call([count(4)], { block: count(2, "null"), signs: flag(true), rng }),
  "Hadamard.forward": forward(() => new nn.Hadamard(3), exact(matrix, "dtype shape"), "mul"),
  CopyFeatures: call([count(4), given(() => [1, 1], "list")]),
  "CopyFeatures.forward": forward(() => new nn.CopyFeatures(3, [1]), exact(matrix, "dtype shape"), ""),
  Conv1d: call([count(2), count(4), count(2)], conv),
  ...each(
    "BatchNorm1d.normalize BatchNorm1d.track BatchNorm2d.normalize BatchNorm2d.track MultiHeadAttention.attendOpenly \
MultiHeadAttention.checkFeatures MultiHeadAttention.split".replace(/\s+/g, " "),
    "is called by forward",
  ),
  "Linear.inputMatrix": matrixOf(small, matrix, "shape"),
  "Conv1d.inputMatrix": matrixOf(
    () => new nn.Conv1d(2, 2, 2),
    () => ones([1, 2, 4]),
  ),
  "Conv2d.inputMatrix": matrixOf(
    () => new nn.Conv2d(2, 2, 2),
    () => ones([1, 2, 4, 4]),
  ),
  "Conv1d.forward": forward(
    () => new nn.Conv1d(1, 1, 2),
    x(() => ones([1, 1, 4])),
    "conv1d conv2d",
  ),
  Conv2d: call([count(2), count(4), count(2)], conv),
  "Conv2d.forward": forward(
    () => new nn.Conv2d(1, 1, 2),
    x(() => ones([1, 1, 4, 4])),
    "conv2d",
  ),
  Embedding: call([count(4), count(2)], { paddingIndex: integer(0, "null"), dtype, rng }),
  "Embedding.forward": forward(
    () => new nn.Embedding(4, 2),
    exact(() => index([0, 1]), "list"),
    "embedding",
  ),
  LayerNorm: call([count(4)], norm),
  "LayerNorm.forward": forward(() => new nn.LayerNorm(3), exact(matrix, "dtype shape"), "layerNorm"),
  RMSNorm: call([count(4)], { eps: norm.eps, affine: flag(true), dtype }),
  "RMSNorm.forward": forward(() => new nn.RMSNorm(3), exact(matrix, "dtype shape"), "rmsNorm"),
  GroupNorm: call([count(2), count(4)], norm),
  "GroupNorm.forward": forward(
    () => new nn.GroupNorm(1, 2),
    x(() => ones([2, 2])),
    "groupNorm",
  ),
  BatchNorm1d: call([count(4)], batch),
  "BatchNorm1d.forward": forward(() => new nn.BatchNorm1d(3), x(matrix), "batchNorm"),
  BatchNorm2d: call([count(4)], batch),
  "BatchNorm2d.forward": forward(
    () => new nn.BatchNorm2d(1),
    x(() => ones([1, 1, 4, 4])),
    "batchNorm",
  ),
  Dropout: call([optional(share(0.5))], { rng }),
  "Dropout.forward": forward(() => new nn.Dropout(), like(matrix, "list shape"), "dropout"),
  PReLU: call([optional(count(1))], { initial: real(0.25), dtype }),
  "PReLU.forward": forward(() => new nn.PReLU(), like(matrix, "list shape"), "prelu"),
  prelu: call([like(matrix, "list shape"), like(() => tensor([0.1]))]),
  Sequential: call([given(step, "function"), given(step, "function")]),
  "Sequential.forward": forward(
    () => new nn.Sequential(small()),
    exact(matrix, "dtype shape"),
    "linear Linear",
  ),
  Residual: call([given(step, "function")], { shortcut: given(step, "function null"), join: choice("sum") }),
  "Residual.forward": forward(
    () => new nn.Residual(new nn.Linear(3, 3)),
    exact(matrix, "dtype shape"),
    "linear Linear",
  ),
  Subsample: call([], { stride: count(1), channels: given(() => [1, 1], "") }),
  "Subsample.forward": forward(
    () => new nn.Subsample(),
    x(() => ones([1, 1, 4, 4])),
    "slice pad",
  ),
  Flatten: call([], { startDim: integer(1, "huge"), endDim: integer(2, "huge") }),
  "Flatten.forward": forward(() => new nn.Flatten(), exact(matrix, "dtype shape"), "flatten"),
  MaxPool2d: call([count(2)], { ...pool, dilation: count(1) }),
  "MaxPool2d.forward": forward(
    () => new nn.MaxPool2d(2),
    x(() => ones([1, 1, 4, 4])),
    "maxPool2d",
  ),
  AvgPool2d: call([count(2)], { ...pool, countIncludePad: flag(true) }),
  "AvgPool2d.forward": forward(
    () => new nn.AvgPool2d(2),
    x(() => ones([1, 1, 4, 4])),
    "avgPool2d",
  ),
  "GlobalAvgPool2d.forward": forward(
    () => new nn.GlobalAvgPool2d(),
    x(() => ones([1, 1, 4, 4])),
    "adaptiveAvgPool2d",
  ),
  GlobalAvgPool2d: "takes nothing",
  ConvTranspose2d: call([count(2), count(4), count(2)], { ...conv, outputPadding: count(0) }),
  "ConvTranspose2d.forward": forward(
    () => new nn.ConvTranspose2d(1, 1, 2),
    x(() => ones([1, 1, 4, 4])),
    "conv2dTranspose",
  ),
  RNN: call(
    [count(3), count(2)],
    { ...recurrent, nonlinearity: choice("relu") },
    { says: "RNNCell Dropout" },
  ),
  LSTM: call([count(3), count(2)], recurrent, { says: "LSTMCell Dropout" }),
  GRU: call([count(3), count(2)], recurrent, { says: "GRUCell Dropout" }),
  ...Object.fromEntries(
    [nn.RNN, nn.GRU].map((Kind) => [
      `${Kind.name}.forward`,
      call(
        [x(() => ones([2, 4, 3]))],
        { state: exact(() => ones([1, 2, 2]), "null dtype") },
        {
          run: (...args: never[]) => new Kind(3, 2).forward(...(args as unknown as [Tensor])),
          says: Kind.name,
        },
      ),
    ]),
  ),
  "LSTM.forward": call(
    [x(() => ones([2, 4, 3]))],
    { state: given(() => [ones([1, 2, 2]), ones([1, 2, 2])], "null") },
    { run: (...args: never[]) => new nn.LSTM(3, 2).forward(...(args as unknown as [Tensor])), says: "LSTM" },
  ),
  RNNCell: call([count(3), count(2)], { ...linear, nonlinearity: choice("relu") }),
  ...each("LSTMCell GRUCell", call([count(3), count(2)], linear)),
  ...Object.fromEntries(
    [nn.RNNCell, nn.GRUCell].map((Kind) => [
      `${Kind.name}.forward`,
      call(
        [
          x(() => ones([2, 3])),
          optional(
            exact(() => ones([2, 2]), "dtype"),
            "null",
          ),
        ],
        null,
        {
          run: (...args: never[]) => new Kind(3, 2).forward(...(args as unknown as [Tensor])),
          says: Kind.name,
        },
      ),
    ]),
  ),
  "LSTMCell.forward": call(
    [
      x(() => ones([2, 3])),
      optional(
        given(() => [ones([2, 2]), ones([2, 2])]),
        "null",
      ),
    ],
    null,
    {
      run: (...args: never[]) => new nn.LSTMCell(3, 2).forward(...(args as unknown as [Tensor])),
      says: "LSTMCell",
    },
  ),
  ...each(
    "RNN.run LSTM.run GRU.run RNNCell.project LSTMCell.project GRUCell.project RNNCell.once LSTMCell.once GRUCell.once",
    "is called by forward",
  ),
  InstanceNorm2d: call([count(4)], norm),
  "InstanceNorm2d.forward": forward(
    () => new nn.InstanceNorm2d(2),
    x(() => ones([1, 2, 4, 4])),
    "instanceNorm",
  ),
  Upsample: call([], resize, { needs: "size" }),
  "Upsample.forward": forward(
    () => new nn.Upsample({ size: 3 }),
    exact(() => ones([1, 1, 2, 2]), "dtype shape"),
    "interpolate",
  ),
  EmbeddingBag: call(
    [count(4), count(2)],
    { paddingIndex: integer(0, "null"), dtype, rng, mode: choice("sum") },
    { says: "Embedding" },
  ),
  "EmbeddingBag.forward": call(
    [exact(() => index([0, 1, 1]), "")],
    {
      offsets: exact(() => index([0, 2]), ""),
      weights: exact(() => ones([3]), "null dtype"),
    },
    {
      run: (...args: never[]) =>
        new nn.EmbeddingBag(4, 2, { mode: "sum" }).forward(...(args as unknown as [Tensor])),
      needs: "offsets",
      says: "EmbeddingBag",
    },
  ),
  SqueezeExcite: call([count(4), count(2)], {
    activation: fn((t: Tensor) => t.relu()),
    gate: fn((t: Tensor) => t.sigmoid()),
    rng,
  }),
  "SqueezeExcite.forward": forward(
    () => new nn.SqueezeExcite(2, 1),
    x(() => ones([1, 2, 4, 4])),
    "Conv2d conv2d adaptiveAvgPool2d",
  ),
  MultiHeadAttention: call([count(4), count(2)], attention),
  "MultiHeadAttention.forward": call(
    [x(states)],
    { ...selfCall, context: exact(states, "null dtype") },
    {
      run: (...args: never[]) => new nn.MultiHeadAttention(4, 2).forward(...(args as unknown as [Tensor])),
      says: "MultiHeadAttention scaledDotProductAttention",
    },
  ),
  FeedForward: call([count(4), count(8)], { activation: choice("gelu"), bias: flag(true), rng }),
  "FeedForward.forward": forward(
    () => new nn.FeedForward(3, 4),
    exact(matrix, "dtype shape"),
    "linear Linear",
  ),
  TransformerEncoderLayer: call([count(4), count(2), count(8)], block, {
    says: "MultiHeadAttention FeedForward",
  }),
  "TransformerEncoderLayer.forward": call([x(states)], selfCall, {
    run: (...args: never[]) =>
      new nn.TransformerEncoderLayer(4, 2, 8).forward(...(args as unknown as [Tensor])),
    says: "TransformerEncoderLayer MultiHeadAttention scaledDotProductAttention",
  }),
  TransformerDecoderLayer: call(
    [count(4), count(2), count(8)],
    { ...block, memoryHeads: count(1, "null") },
    {
      says: "MultiHeadAttention FeedForward",
    },
  ),
  "TransformerDecoderLayer.forward": call(
    [x(states), x(states)],
    {
      ...selfCall,
      memoryMask: selfCall.mask,
      memoryHeadMask: selfCall.headMask,
      memoryCapture: selfCall.capture,
    },
    {
      run: (...args: never[]) =>
        new nn.TransformerDecoderLayer(4, 2, 8).forward(...(args as unknown as [Tensor, Tensor])),
      says: "TransformerDecoderLayer MultiHeadAttention scaledDotProductAttention",
    },
  ),
  KVCache: "takes nothing",
  "KVCache.append": call([exact(head, "dtype"), exact(head, "dtype")], null, {
    run: (k: Tensor, v: Tensor) => cache().append(k, v),
    says: "KVCache",
  }),
  "KVCache.extend": call([exact(head, "dtype"), exact(head, "dtype")], null, {
    run: (k: never, v: never) => cache().extend(k, v),
    says: "KVCache",
  }),
  "KVCache.truncate": call([count(0)], null, { run: (n: number) => cache().truncate(n), says: "KVCache" }),
  ...each("KVCache.check KVCache.add", "is private: called by methods that check"),
};

const reduction = choice("sum");
const pair = [exact(vector, "dtype"), exact(vector, "dtype")];
const weight = exact(vector, "null dtype nan negative fraction huge flag");
const logits = [exact(matrix, "dtype"), exact(() => index([0, 1]))];
const classes = exact(vector, "null dtype");

const losses: Table = {
  ...each("mseLoss l1Loss", call(pair, { reduction })),
  huberLoss: call(pair, { reduction, delta: positive(1) }),
  smoothL1Loss: call(pair, { reduction, beta: positive(1) }),
  bceLoss: call([exact(() => vector().div(4), "dtype"), exact(vector, "dtype")], { reduction, weight }),
  bceWithLogits: call(pair, { reduction, weight, posWeight: weight }),
  klDiv: call([exact(matrix, "dtype"), exact(matrix, "dtype")], {
    from: choice("logits"),
    logTarget: flag(false),
    axis: integer(0),
    reduction: choice("batchmean"),
  }),
  cosineEmbedding: call([exact(matrix, "dtype"), exact(matrix, "dtype"), exact(() => tensor([1, -1]))], {
    reduction,
    margin: real(0),
  }),
  gaussianNllLoss: call([...pair, exact(vector, "dtype flag fraction huge")], {
    reduction,
    full: flag(true),
    eps: positive(1e-6),
  }),
  tripletMarginLoss: call([exact(matrix, "dtype"), exact(matrix, "dtype"), exact(matrix, "dtype")], {
    reduction,
    margin: positive(1),
    p: real(2),
    eps: positive(1e-6),
    swap: flag(true),
  }),
  marginRankingLoss: call([...pair, exact(() => tensor([1, -1, 1]))], { reduction, margin: real(0.5) }),
  hingeEmbeddingLoss: call([exact(vector, "dtype"), exact(() => tensor([1, -1, 1]))], {
    reduction,
    margin: real(1),
  }),
  softMarginLoss: call([exact(vector, "dtype"), exact(() => tensor([1, -1, 1]))], { reduction }),
  crossEntropy: call(logits, {
    axis: integer(1),
    ignoreIndex: integer(-100, "huge"),
    weight: classes,
    reduction,
    labelSmoothing: share(0.1),
  }),
  nllLoss: call(
    logits,
    { axis: integer(1), ignoreIndex: integer(-100), weight: classes, reduction },
    { says: "notEqual" },
  ),
  multiMarginLoss: call(logits, { margin: real(1), p: count(1), weight: classes, reduction }),
};

const functions: Table = {
  multinomial: call([exact(vector, "dtype"), count(2)], {
    replacement: flag(true),
    rng: given(() => new Rng(1), "null"),
  }),
  interpolate: call([exact(() => ones([1, 1, 2, 2]), "dtype shape")], resize, { needs: "size" }),
  glu: call([exact(() => ones([2, 4]), "dtype")], { axis: integer(1) }),
  normalize: call([exact(matrix, "dtype shape")], { p: real(2), axis: integer(1), eps: positive(1e-12) }),
  cosineSimilarity: call([like(matrix), like(matrix)], { axis: integer(1), eps: positive(1e-8) }),
};

const onParameter = (options: Call["options"], more: Place[] = []): Call =>
  call([given(parameter), ...more], options);
const init = (name: string, row: Call): Table => ({
  [`init.${name}`]: call(row.args, row.options, {
    run: (...args: never[]) =>
      (nn.init as unknown as Record<string, (...all: never[]) => unknown>)[name](...args),
    says: `init init.${name} init.uniform init.normal init.constant init.gain`,
  }),
});
const kaiming = { a: real(0), mode: choice("fanOut"), nonlinearity: choice("relu"), rng };

const inits: Table = {
  init: "its functions are below",
  ...init("zeros", onParameter(null)),
  ...init("ones", onParameter(null)),
  ...init("constant", onParameter(null, [real(1)])),
  ...init("uniform", onParameter({ low: real(0, ""), high: positive(2), rng })),
  ...init("normal", onParameter({ mean: real(0), std: positive(1), rng })),
  ...init("truncNormal", onParameter({ mean: real(0), std: positive(1), low: real(-2), high: real(2), rng })),
  ...init("kaimingUniform", onParameter(kaiming)),
  ...init("kaimingNormal", onParameter(kaiming)),
  ...init("xavierUniform", onParameter({ gain: positive(1), rng })),
  ...init("xavierNormal", onParameter({ gain: positive(1), rng })),
  ...init("orthogonal", onParameter({ gain: real(1), rng })),
  ...init("gain", call([choice("relu"), optional(real(0))])),
  ...init("fans", call([list(() => [2, 3])])),
};

const identity = () => ({ apply: (w: Tensor) => w });
const transformed = () => {
  const m = small();
  nn.parametrize(m, "weight", identity());
  return m;
};
const path = text("weight");
const state = () => nn.stateDict(small());

/** Of bits that hold 1 to 6. */
const store = given(() => ({ bits: 4, signed: false }), "null");

const trees: Table = {
  Parameter: call([exact(matrix, "shape")], { store }),
  "Parameter.grad": call([exact(matrix, "null")], null, {
    run: (grad: never) => {
      parameter().grad = grad;
    },
  }),
  "Parameter.trainable": call([flag(true)], null, {
    says: "requiresGrad",
    run: (on: never) => {
      parameter().trainable = on;
    },
  }),
  "Parameter.assign": call([exact(matrix, "dtype")], null, {
    run: (source: Tensor) => parameter().assign(source),
  }),
  "Parameter.update": call([fn(() => {})], null, { run: (write: never) => parameter().update(write) }),
  "Parameter.replace": call(
    [exact(matrix, "shape")],
    { store },
    {
      run: (source: Tensor, options: never) => parameter().replace(source, options),
    },
  ),
  ...each("isParameter isLayer", "takes anything"),
  signs: "a store",
  blank: call([list(() => [2, 3], "list"), optional(dtype)]),
  hasData: call([exact(matrix, "shape dtype")]),
  ...each("withoutData withoutDraws", call([fn(() => 1)])),
  clone: call([model()]),
  ...each("train evaluate", call([model()], null, { says: "model" })),
  setTrainable: call([model(), path, flag(true)], null, { says: "model matchPath" }),
  ...each("whileEvaluating whileFloat", call([model(), fn(() => 1)], null, { says: "model" })),
  parametrize: call([model(), path, given(identity, "function")], null, { says: "model matchPath" }),
  removeParametrization: call([model(transformed), path], { bake: flag(true) }, { says: "model matchPath" }),
  matchPath: call([text("*"), text("weight")]),
  loadStateDict: call(
    [model(small), given(state)],
    {
      strict: flag(true),
      rename: fn((name: string) => name, "null"),
    },
    { says: "model" },
  ),
  parameterCount: call([model(small, "function")], null, { says: "model withoutData" }),
  ...each(
    "parameters namedParameters namedBuffers namedLayers findParameters stateDict",
    call([model()], null, { says: "model" }),
  ),
  placeIndices: call([given(() => ({ name: "out.weight", axis: 1, repeat: 2, size: 4 })), count(5, "huge")]),
  taps: call([model(), text("")], null, {
    run: (m: object, p: string) => nn.taps(m, p === "" ? "**" : p).dispose(),
    says: "model matchPath",
  }),
  "taps().collect": call(
    [fn(() => tapped.forward(matrix()))],
    { until: given(() => "", "null") },
    {
      run: (f: () => unknown, options: never) => {
        using taps = nn.taps(tapped, "**");
        return taps.collect(f, options);
      },
    },
  ),
  statistics: call(
    [model(() => tapped), given(() => [matrix()], "text list")],
    {
      layers: given(() => "**", "null"),
      keep: list(() => ["mean", "hessian"]),
      forward: fn(() => tapped.forward(matrix()), "null"),
      float: flag(true),
    },
    { says: "model matchPath Linear" },
  ),
};

export const table: Table = { ...layers, ...losses, ...functions, ...inits, ...trees };
