/** A right call of everything that `bitgrad/quant` exports. */

import { Rng, type Tensor, tensor } from "bitgrad";
import { evaluate, Parameter } from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import {
  any,
  type Call,
  call,
  choice,
  count,
  each,
  exact,
  flag,
  fn,
  given,
  integer,
  list,
  matrix,
  model,
  positive,
  real,
  share,
  small,
  type Table,
  times,
} from "./call.ts";
import { dataFree } from "./data-free.ts";
import { oneBit } from "./one-bit.ts";
import { scaling } from "./scaling.ts";

const spec = () => quant.spec();
const affine = () => quant.spec({ scheme: "affine" });
const specOptions = {
  bits: count(4),
  scheme: choice("symmetric"),
  granularity: given(() => "channel", "null"),
  axis: integer(0, "huge null"),
  range: choice("full"),
  signed: flag(true),
  rounding: choice("half-up"),
  zeroPoint: given(() => "none", "null"),
  includeZero: given(() => true, "flag null"),
  scaleDtype: choice("float16"),
  eps: positive(1e-5),
  onNonFinite: choice("clamp"),
  codebook: given(() => null, "null"),
};
const scales = { granularity: given(() => "tensor", "null"), scaleDtype: choice("float32") };
const means = { group: count(32, "huge null"), scaleDtype: choice("float32") };
const uniform = { ...means, scheme: choice("affine") };
const params = () => ({ scale: tensor([0.1]), zeroPoint: null });
const rng = given(() => new Rng(1), "null");
const source = any(matrix, "");
const plan = () => quant.plan({ default: quant.int8WeightOnly() });
const prepared = () => quant.prepare(small(), plan());
const frozen = () => evaluate(quant.freeze(prepared()));
const bytes = () => quant.formats.Q8_0.encode(new Float32Array(32));

const parameters = (op: "quantize" | "fakeQuantize"): Table => ({
  [`${op}(params)`]: call(
    [exact(() => tensor([0.1]), ""), exact(() => tensor([3]), "null undefined dtype")],
    null,
    {
      run: (scale: Tensor, zeroPoint: Tensor) =>
        ({ quantize: quant.quantize, fakeQuantize: quant.fakeQuantize })[op](matrix(), affine(), {
          scale,
          zeroPoint,
        }),
      says: op,
    },
  ),
});
const code = (): quant.QTensor => quant.quantize(matrix(), spec());
const part = (name: keyof quant.QTensor, takes = ""): Table => ({
  [`dequantize(${name})`]: call([exact(() => code()[name], takes)], null, {
    run: (value: never) => quant.dequantize({ ...code(), [name]: value }),
    says: "dequantize",
  }),
});

const contract: Table = {
  spec: call([], specOptions),
  "spec(codebook)": call([list(() => [-1, 0, 1], "", "fraction negative")], null, {
    run: (codebook: number[]) => quant.spec({ bits: 2, scheme: "codebook", codebook }),
    says: "spec",
  }),
  quantize: call([source, given(spec), given(params, "null undefined")], { rng }),
  fakeQuantize: call([source, given(spec), given(params, "null undefined")], {
    rng,
    mask: flag(true),
    boundary: choice("outside"),
  }),
  ...parameters("quantize"),
  ...parameters("fakeQuantize"),
  dequantize: call([given(code)]),
  ...part("codes"),
  ...part("scale"),
  ...part("zeroPoint", "null undefined"),
  ...part("spec"),
  ...part("shape"),
  chooseParams: call([source, given(spec)]),
  quantizeScalar: call([real(0.5), given(spec), real(0.1)], null, {
    run: (x: number, how: quant.QuantSpec, scale: number) => quant.quantizeScalar(x, how, scale),
  }),
  dequantizeScalar: call([integer(3), given(spec), real(0.1)], null, {
    run: (code: number, how: quant.QuantSpec, scale: number) => quant.dequantizeScalar(code, how, scale),
  }),
};

const observers: Table = {
  minMax: call([given(spec)], null, { says: "observer" }),
  movingAverage: call([given(spec)], { momentum: positive(0.1) }, { says: "observer" }),
  percentile: call(
    [given(spec)],
    { percent: positive(99), bins: count(64) },
    { says: "percentile observer" },
  ),
  mse: call([given(spec)], { norm: positive(2), steps: count(4), bins: count(64) }, { says: "mse observer" }),
  histogram: call([given(spec)], { bins: count(64) }, { says: "histogram observer" }),
  entropy: call([given(spec)], { bins: count(512) }, { says: "entropy observer" }),
  "minMax().observe": call([any(matrix)], null, {
    run: (x: Tensor) => quant.minMax(spec()).observe(x),
    says: "observer",
  }),
};

const presets: Table = {
  ...each("int8WeightOnly int8Dynamic int4WeightOnly int4Dynamic", call([], uniform)),
  ...each("nf4WeightOnly ternaryWeightOnly ternaryDynamic binaryDynamic", call([], means)),
  binaryWeightOnly: call([], { ...means, center: flag(true) }, { says: "bwn" }),
  binarySigns: call([], scales),
  int8Mixed: call([], { ...uniform, threshold: positive(6) }),
  int8Static: call([], { ...uniform, inputScheme: choice("symmetric"), observer: fn(quant.minMax) }),
  dynamicInput: call([], { bits: count(8) }, { says: "spec" }),
  mixedInput: call([], { bits: count(8), threshold: positive(6) }, { says: "spec" }),
  staticInput: call(
    [],
    {
      bits: count(8),
      scheme: choice("symmetric"),
      granularity: choice("channel"),
      observer: fn(quant.minMax),
    },
    { says: "spec" },
  ),
  signInput: "takes nothing",
  ste: call([], specOptions, { says: "spec" }),
  ...each("bitnet158 nf4", call([], scales)),
  bwn: call([], { ...scales, center: flag(true) }),
};

const live = prepared();
const visits = {
  layers: given(() => "**", "null"),
  forward: fn(() => live.forward(matrix()), "null"),
  onLayer: fn(() => {}, "null"),
};
const visited = [model(() => live), given(() => [matrix()], "text list")];
const chosen: Table = {
  gptq: call(
    visited,
    {
      ...visits,
      blockSize: count(4, "huge"),
      damping: positive(0.01),
      order: choice("activation"),
      staticGroups: flag(true),
      scales: choice("mse"),
    },
    { says: "model matchPath" },
  ),
  adaRound: call(
    visited,
    {
      ...visits,
      blocks: given(() => null, "null"),
      loss: given(() => null, "null function class"),
      iterations: times(2),
      lr: positive(0.1, "null"),
      lambda: positive(0.1),
      beta: list(() => [20, 2], "", "fraction huge"),
      warmup: share(0.2),
    },
    { says: "model matchPath" },
  ),
  signRound: call(
    visited,
    {
      ...visits,
      blocks: given(() => null, "null"),
      loss: given(() => null, "null function class"),
      iterations: times(2),
      lr: positive(0.1, "null"),
      ranges: flag(true),
    },
    { says: "model matchPath" },
  ),
  biasCorrection: call(visited, visits, { says: "model matchPath" }),
  clipSearch: call(
    [visited[0], given(() => [matrix()], "text list")],
    { ...visits, norm: positive(2), least: count(0.2, "fraction") },
    { says: "model matchPath" },
  ),
};

const stages: Table = {
  plan: call([], {
    default: given(quant.int8WeightOnly, "null"),
    rules: list(() => [["weight", quant.int8WeightOnly()]], "list"),
  }),
  "plan().explain": call([model()], null, { run: (m: object) => plan().explain(m), says: "plan model" }),
  prepare: call([model(), given(plan)], { replace: flag(true) }, { says: "model" }),
  heldCodes: call([model(prepared)], null, { says: "model" }),
  holdCodes: call([model(prepared), given(() => quant.heldCodes(frozen()), "object list")], null, {
    says: "model hold dequantize",
  }),
  unprepare: call([model(prepared)], { bake: flag(true) }, { says: "model" }),
  calibrate: call(
    [
      model(prepared),
      list(
        () => [matrix()],
        "text list",
        "undefined null nan negative fraction huge flag text object list function class shape dtype",
      ),
    ],
    {
      forward: fn(() => 1, "null"),
    },
    { says: "model" },
  ),
  freeze: call([model(prepared)], null, { says: "model" }),
  pack: call(
    [model(frozen)],
    { weights: choice("auto"), kinds: given(() => [], "list") },
    { says: "PackedModel" },
  ),
  quantized: call([given(quant.bwn)]),
  quantizedTransform: call([given(() => new Parameter(matrix()))]),
  QuantizedTransform: call([given(quant.bwn)], null, { says: "quantized" }),
  "QuantizedTransform.apply": call([exact(matrix, "dtype shape list")], null, {
    run: (x: Tensor) => new quant.QuantizedTransform(quant.bwn()).apply(x),
    says: "fakeQuantize quantize chooseParams observer",
  }),
  ...each(
    "QuantizedTransform.attach QuantizedTransform.maskOf QuantizedTransform.sources QuantizedTransform.before QuantizedTransform.find QuantizedTransform.set QuantizedTransform.fix",
    "is called by others of its methods",
  ),
  "QuantizedTransform.freeze": call([given(() => new Parameter(matrix()))], null, {
    run: (parameter: Parameter) => {
      const transform = new quant.QuantizedTransform(quant.bwn());
      if (parameter instanceof Parameter) parameter.transforms.push(transform);
      transform.freeze(parameter);
    },
    says: "freeze",
  }),
  SpecInputQuantizer: "made by its configs",
  "SpecInputQuantizer.run": "called by layers",
  "SpecInputQuantizer.check": "called by freeze",
  "SpecInputQuantizer.checkPackable": "called by pack",
  ...each(
    "SpecInputQuantizer.refuses SpecInputQuantizer.follow SpecInputQuantizer.write SpecInputQuantizer.specAlong " +
      "SpecInputQuantizer.observable SpecInputQuantizer.rangeSoFar SpecInputQuantizer.refusal " +
      "SpecInputQuantizer.observe SpecInputQuantizer.reach",
    "private",
  ),
  "QuantizedTransform.hold": call([given(() => quant.quantize(matrix(), quant.ste().spec))], null, {
    run: (codes: quant.QTensor) => {
      const weight = new Parameter(matrix());
      new quant.QuantizedTransform(quant.ste(), weight).hold(codes);
    },
    says: "hold dequantize",
  }),
};

const measured = prepared();
const batches = list(
  () => [matrix()],
  "text list",
  "undefined null nan negative fraction huge flag text object list function class shape dtype",
);
/** What a batch runs. */
let studied = small();
const float = model(() => {
  studied = small();
  return studied;
});
const study = {
  choices: given(() => ({ int8: quant.int8WeightOnly() })),
  measure: choice("mse"),
  loss: fn(() => tensor(1), "null"),
  layers: given(() => "**", "null"),
  forward: fn((x: Tensor) => studied.forward(x), "null"),
  onLayer: fn(() => {}, "null"),
};
const allocation: Table = {
  sensitivity: call([float, batches], study, {
    says: "model plan matchPath Linear linear",
    needs: "choices",
  }),
  allocateBits: call(
    [float, batches],
    {
      ...study,
      bytes: count(1000, "huge"),
      bits: given(() => null, "null"),
      share: fn(String, "null"),
    },
    { says: "model plan matchPath Linear linear", needs: "choices bytes" },
  ),
  chooseUnderBudget: call([list(() => [[{ bytes: 2, cost: 1 }]], "list"), count(2, "huge")]),
  quantReport: call(
    [model(prepared), batches],
    {
      targets: fn(() => [0, 1], "null"),
      layers: given(() => "**", "null"),
      onLayer: fn(() => {}, "null"),
    },
    { says: "model matchPath Linear linear" },
  ),
  "quantReport(forward)": call([fn((x: Tensor) => measured.forward(x), "null undefined")], null, {
    run: (forward: never) => quant.quantReport(measured, [matrix()], { forward }),
    says: "quantReport",
  }),
};

const format = (name: "encode" | "decode" | "dot", args: Call["args"]): Table => ({
  [`formats.Q8_0.${name}`]: call(args, null, {
    run: (...all: never[]) => (quant.formats.Q8_0[name] as (...rest: never[]) => unknown)(...all),
    says: `Q8_0.${name}`,
  }),
});
const numbers = given(() => new Float32Array(32), "list");

const blocks: Table = {
  ...each("formats Q8_0 Q5_0 Q5_1 Q4_0 Q4_1 Q6_K Q5_K Q4_K Q3_K Q2_K", "its functions are below"),
  ...each("IQ4_NL IQ4_XS Q2_0 Q1_0 TQ1_0 TQ2_0 NF4 MXFP4", "its functions are below"),
  ...format("encode", [numbers]),
  ...format("decode", [given(bytes)]),
  ...format("dot", [given(bytes), given(() => new Float32Array(32), "list")]),
};

export const table: Table = {
  ...contract,
  ...observers,
  ...presets,
  ...chosen,
  ...stages,
  ...allocation,
  ...dataFree,
  ...oneBit,
  ...scaling,
  ...blocks,
};
