/** Transformers that tell what sentences are, rounded after training by four methods. Hu et al., 2022, arXiv:2210.16621. */

import { eye, Rng, type Tensor, tensor } from "bitgrad";
import type { Bert } from "bitgrad/models";
import { clone, type Linear, namedLayers, type Parameter } from "bitgrad/nn";
import {
  aciq,
  aciqObserver,
  calibrate,
  clipSearch,
  freeze,
  minMax,
  mse,
  type Observer,
  plan,
  prepare,
  type QuantSpec,
  quantizedTransform,
  splitOutlierChannels,
  staticInput,
  ste,
} from "bitgrad/quant";
import type { Cell, Claim, Experiment, Setting } from "../experiment.ts";
import {
  accuracyOf,
  dataOf,
  logitsOf,
  type Sentences,
  type SourceName,
  trainedOn,
  trainOn,
} from "../sentences.ts";

interface Method {
  readonly name: string;
  /** Finds the codes of weights; without it every weight is rounded to the nearest code of the whole range. */
  readonly apply?: (model: Bert) => Promise<unknown>;
  /** Finds the ranges of inputs. */
  readonly observer: (spec: QuantSpec) => Observer;
}

/** Always clipped, by the constants of the code of OCS, which the paper's authors are likely to have run. */
const published = { constants: "ocs", keepWhole: false } as const;

/** A method is a line. */
const methods: readonly Method[] = [
  { name: "LQ", observer: minMax },
  {
    name: "ACIQ",
    apply: (model) => aciq(model, published),
    observer: (spec) => aciqObserver(spec, published),
  },
  { name: "OCS", apply: (model) => splitOutlierChannels(model), observer: minMax },
  {
    name: "OCS and clip",
    apply: async (model) => clipSearch(await splitOutlierChannels(model)),
    observer: mse,
  },
];

const widths = [8, 6, 4, 3];
const names: readonly SourceName[] = ["trec", "sst2"];

/** A copy of a model whose matrices have codes with one scale each, and their inputs too where there are sentences. */
async function rounded(
  model: Bert,
  { apply, observer }: Method,
  bits: number,
  sentences: readonly Sentences[] | null,
): Promise<Bert> {
  const weight = ste({ bits, granularity: "tensor", scaleDtype: "float32" });
  const input = sentences ? { input: staticInput({ bits, observer }) } : {};
  const rules = ["token", "position", "segment"].map((table) => [`${table}.weight`, null] as const);
  const copy = prepare(clone(model), plan({ default: { weight, ...input }, rules }));
  await apply?.(copy);
  if (sentences) await calibrate(copy, sentences, { forward: (batch) => logitsOf(copy, batch) });
  return copy;
}

/** A weight (out, in) as it is used: columns that multiply the same input are one. */
function used(layer: Linear): Tensor {
  const { weight, inFeatures } = layer;
  const columns = tensor(layer.inputMatrix(eye(inFeatures)).squeeze(0), { dtype: "float64" });
  return tensor(weight.effective(), { dtype: "float64" }).matmul(columns, { transposeB: true });
}

/** Σ(w − ŵ)² / Σw² of all matrices that have codes. */
function errorOf(model: Bert, float: Bert): number {
  const given = new Map(namedLayers(float));
  let off = 0;
  let all = 0;
  for (const [path, layer] of namedLayers(model)) {
    const { weight } = layer as { weight?: Parameter };
    if (!weight || !quantizedTransform(weight)) continue;
    const [now, before] = [used(layer as Linear).data, used(given.get(path) as Linear).data];
    for (let i = 0; i < now.length; i++) {
      off += (Number(before[i]) - Number(now[i])) ** 2;
      all += Number(before[i]) ** 2;
    }
  }
  return off / all;
}

const meanOf = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length;

const scoreOf = async (name: SourceName, setting: Setting): Promise<number> =>
  accuracyOf(await trainOn(name, setting), name, setting);

/** Trains the models that the other cells read. */
const float: Cell = {
  name: "float",
  labels: { method: "float32" },
  async run(setting) {
    const [trec, sst2] = [await scoreOf("trec", setting), await scoreOf("sst2", setting)];
    return { trec, sst2, score: meanOf([trec, sst2]) };
  },
};

const cellOf = (method: Method, bits: number): Cell => ({
  name: `${method.name} ${bits}`,
  labels: { method: method.name, bits },
  reads: float,
  async run(setting) {
    const of: Partial<Record<SourceName | `${SourceName}Inputs`, number>> = {};
    const errors: number[] = [];
    for (const name of names) {
      const float = await trainedOn(name, setting);
      const alone = await rounded(float, method, bits, null);
      errors.push(errorOf(alone, float));
      of[name] = await accuracyOf(freeze(alone), name, setting);
      const { train } = await dataOf(name, setting);
      const sentences = train(new Rng(`calibration ${setting.seed}`)).slice(0, setting.quick ? 2 : 8);
      of[`${name}Inputs`] = await accuracyOf(
        freeze(await rounded(float, method, bits, sentences)),
        name,
        setting,
      );
    }
    return {
      ...of,
      score: meanOf([of.trec!, of.sst2!]),
      scoreInputs: meanOf([of.trecInputs!, of.sst2Inputs!]),
      error: meanOf(errors),
    };
  },
});

type Score = "score" | "scoreInputs";

const points = { title: "accuracy", digits: 2, percent: true };
const gain = (cell: string, than: string, of: Score = "score"): Pick<Claim, "difference" | "as"> => ({
  difference: (at) => at(cell)[of] - at(than)[than === "float" ? "score" : of],
  as: { ...points, title: "gain of accuracy" },
});
const kept = (cell: string): Pick<Claim, "difference" | "as"> => ({
  difference: (at) => at(cell).score / at("float").score,
  as: { title: "share of the score", digits: 2, percent: true },
});
const excess = (cell: string, than: string): Pick<Claim, "difference" | "as"> => ({
  difference: (at) => at(cell).error / at(than).error - 1,
  as: { title: "error beyond it", digits: 1, percent: true },
});

export default {
  about:
    "Rounds Transformers that know kinds of questions and film reviews to 8, 6, 4 and 3 bits, by four methods.",
  text: `After Hu, Meinel and Yang, *Empirical Evaluation of Post-Training Quantization Methods for Language Tasks*, 2022,
[arXiv:2210.16621](https://arxiv.org/abs/2210.16621), who round BERT-Base and -Large and find OCS best; their abstract says that
it keeps 98 % of BERT-Base's GLUE score at 3 bits. Here the score is the mean of two accuracies: of the 500 test questions of
TREC, of six kinds, and of the 872 reviews of SST-2's dev set, of two.

For each a BERT of 6 layers of width 128 is trained from nothing on all training sentences, for 8 and 4 epochs, by learning
rates that [sentence-settings](sentence-settings.md) finds best on some held out of them: none was chosen by the sentences
that are scored here. A seed draws the first weights, again where training leaves them at guessing, dropout, the order of the
sentences, and those that find the ranges of inputs.

The matrices of layers, pooler and classifier have symmetric codes with one scale each; tables of tokens and positions stay
float32. Where it says "inputs too", the inputs of these matrices have codes of as many bits, with one scale and zero point
each, by 8 batches of training sentences.

LQ takes the whole range. ACIQ always clips it, by how numbers are spread and the constants of the code of OCS, which the authors
are likely to have run. OCS adds 5 % of columns, halves of those with the largest weights, and takes the whole range; with a
clip it takes the range of least squared error that a search finds. The error of weights is Σ(w − ŵ)² / Σw², the mean of both
networks.`,
  version: 2,
  seeds: 3,
  needsData: true,
  columns: {
    trec: { ...points, title: "TREC" },
    sst2: { ...points, title: "SST-2" },
    score: { ...points, title: "mean accuracy" },
    trecInputs: { ...points, title: "TREC, inputs too" },
    sst2Inputs: { ...points, title: "SST-2, inputs too" },
    scoreInputs: { ...points, title: "mean, inputs too" },
    error: { title: "error of weights", digits: 5 },
  },
  picture: { x: "bits", y: "score", series: "method" },
  cells: ({ quick }) => [
    float,
    ...methods.flatMap((method) => (quick ? [8, 3] : widths).map((bits) => cellOf(method, bits))),
  ],
  claims: [
    {
      says: "OCS of 8 bits loses less than half a point of accuracy",
      ...gain("OCS 8", "float"),
      above: -0.005,
    },
    {
      says: "OCS of 8 bits loses less than half a point, inputs rounded too",
      ...gain("OCS 8", "float", "scoreInputs"),
      above: -0.005,
    },
    {
      says: "OCS of 4 bits is at most a point behind LQ",
      ...gain("OCS 4", "LQ 4"),
      above: -0.01,
    },
    { says: "at 4 bits a clip after OCS gains accuracy", ...gain("OCS and clip 4", "OCS 4"), above: 0 },
    {
      says: "OCS of 3 bits keeps 98 % of the float32 score, as the paper has it of BERT-Base",
      ...kept("OCS 3"),
      above: 0.98,
    },
    {
      says: "LQ of 3 bits keeps 98 % of the float32 score too",
      ...kept("LQ 3"),
      above: 0.98,
    },
    {
      says: "OCS and a clip of 3 bits keep 98 % of the float32 score",
      ...kept("OCS and clip 3"),
      above: 0.98,
    },
    ...[4, 3].flatMap((bits): Claim[] => [
      {
        says: `at ${bits} bits OCS is better than LQ, as the paper has it`,
        ...gain(`OCS ${bits}`, `LQ ${bits}`),
        above: 0,
      },
      {
        says: `at ${bits} bits OCS is better than ACIQ, as the paper has it`,
        ...gain(`OCS ${bits}`, `ACIQ ${bits}`),
        above: 0,
      },
    ]),
    {
      says: "OCS of 4 bits is better than float32, as the paper has it of some small tasks",
      ...gain("OCS 4", "float"),
      above: 0,
    },
    ...widths.map((bits) => ({
      says: `at ${bits} bits weights of OCS have less error than those of ACIQ, as the paper has it`,
      ...excess(`OCS ${bits}`, `ACIQ ${bits}`),
      below: 0,
    })),
  ],
} satisfies Experiment;
