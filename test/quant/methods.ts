/** Every method that quantizes a trained model, called alike, and a small model that all of them serve. */

import { Rng, randn, relu, type Tensor } from "bitgrad";
import { Linear, namedParameters, type ScalePair, stateDict } from "bitgrad/nn";
import {
  aciq,
  adaRound,
  allocateBits,
  awq,
  biasCorrection,
  binarize,
  bwn,
  calibrate,
  clipSearch,
  equalize,
  equalizeColumns,
  gptq,
  hqq,
  int4WeightOnly,
  int8Static,
  int8WeightOnly,
  lapq,
  lowRankCorrection,
  plan,
  prepare,
  type QuantConfig,
  quantizedTransform,
  quantReport,
  sensitivity,
  signRound,
  smoothQuant,
  splitOutlierChannels,
  ste,
} from "bitgrad/quant";

/** Two layers with a ReLU between, (…, 6) -> (…, 5), whose channels may be scaled. */
export class Small {
  first = new Linear(6, 8, { rng: new Rng("first") });
  last = new Linear(8, 5, { rng: new Rng("last") });

  forward(x: Tensor): Tensor {
    return this.last.forward(relu(this.first.forward(x)));
  }

  scalePairs(): ScalePair[] {
    const place = { repeat: 1, size: 1 };
    const producer = ["weight", "bias"].map((name) => ({ name: `first.${name}`, axis: 0, ...place }));
    return [
      {
        channels: this.first.outFeatures,
        producer,
        consumers: [{ name: "last.weight", axis: 1, ...place }],
        between: "relu",
      },
    ];
  }
}

/** Rows that a Small is given, whose columns are correlated. */
export function rowsOf(rows: number, seed = "rows"): Tensor {
  const rng = new Rng(seed);
  return randn([rows, 6], { rng }).matmul(randn([6, 6], { rng }));
}

export type Batches = Iterable<Tensor> | AsyncIterable<Tensor>;
export interface RunOptions {
  forward?: (batch: Tensor) => unknown;
  layers?: string;
}

export interface Method {
  readonly name: string;
  /** What the weights of its model are made; null for one that takes a float model. */
  readonly config: QuantConfig | null;
  /** Whether it reads batches. */
  readonly reads: boolean;
  run(model: Small, batches: Batches, options?: RunOptions): unknown;
}

const four = { weight: ste({ bits: 4 }) };
const signs = { weight: bwn() };
const floatZeros = { weight: ste({ bits: 4, scheme: "affine", zeroPoint: "float" }) };
const quick = { iterations: 20 } as const;
const choices = { int8: int8WeightOnly(), int4: int4WeightOnly({ group: 4 }) };
const lossOf = (model: Small, forward?: RunOptions["forward"]) => (x: Tensor) =>
  ((forward ?? ((y: Tensor) => model.forward(y)))(x) as Tensor).square().mean();
/** Options of methods that read no batches. */
const free = ({ layers }: RunOptions = {}) => ({ layers: layers ?? null });

const reading: Omit<Method, "reads">[] = [
  { name: "gptq", config: four, run: (model, batches, options) => gptq(model, batches, options) },
  { name: "clipSearch", config: four, run: (model, batches, options) => clipSearch(model, batches, options) },
  { name: "awq", config: four, run: (model, batches, options) => awq(model, batches, options) },
  {
    name: "smoothQuant",
    config: four,
    run: (model, batches, options) => smoothQuant(model, batches, options),
  },
  {
    name: "biasCorrection",
    config: four,
    run: (model, batches, options) => biasCorrection(model, batches, options),
  },
  {
    name: "adaRound",
    config: four,
    run: (model, batches, options) => adaRound(model, batches, { ...quick, ...options }),
  },
  {
    name: "signRound",
    config: four,
    run: (model, batches, options) => signRound(model, batches, { ...quick, ...options }),
  },
  {
    name: "lowRankCorrection",
    config: four,
    run: (model, batches, options) => lowRankCorrection(model, batches, { rank: 2, ...options }),
  },
  { name: "binarize", config: signs, run: (model, batches, options) => binarize(model, batches, options) },
  {
    name: "lapq",
    config: four,
    run: (model, batches, { forward, ...options } = {}) =>
      lapq(model, batches, { loss: lossOf(model, forward), rounds: 1, ...options }),
  },
  {
    name: "calibrate",
    config: int8Static(),
    run: (model, batches, { forward } = {}) => calibrate(model, batches, { forward }),
  },
  {
    name: "quantReport",
    config: four,
    run: (model, batches, options) => quantReport(model, batches, options),
  },
  {
    name: "sensitivity",
    config: null,
    run: (model, batches, options) => sensitivity(model, batches, { choices, ...options }),
  },
  {
    name: "allocateBits",
    config: null,
    run: (model, batches, options) => allocateBits(model, batches, { choices, bytes: 1000, ...options }),
  },
];
const dataFree: Omit<Method, "reads">[] = [
  { name: "equalize", config: four, run: (model, _, options) => equalize(model, free(options)) },
  { name: "hqq", config: floatZeros, run: (model, _, options) => hqq(model, free(options)) },
  { name: "aciq", config: four, run: (model, _, options) => aciq(model, free(options)) },
  {
    name: "splitOutlierChannels",
    config: four,
    run: (model, _, options) => splitOutlierChannels(model, { ratio: 0.2, ...free(options) }),
  },
  {
    name: "equalizeColumns",
    config: signs,
    run: (model, _, options) => equalizeColumns(model, free(options)),
  },
];

export const methods: readonly Method[] = [
  ...reading.map((method) => ({ ...method, reads: true })),
  ...dataFree.map((method) => ({ ...method, reads: false })),
];

/** A model as the method takes it, or as `change` makes it before it is prepared. */
export function modelFor({ config }: Method, change: (model: Small) => void = () => {}): Small {
  const model = new Small();
  change(model);
  return config ? prepare(model, plan({ default: config })) : model;
}

/** All numbers of a model, and the codes that its weights hold. */
export const stateOf = (model: object) => ({
  ...Object.fromEntries(Object.entries(stateDict(model)).map(([name, t]) => [name, [...t.data]])),
  held: namedParameters(model).map(([name, parameter]) => [
    name,
    quantizedTransform(parameter)?.codes?.codes.toArray(),
  ]),
});
