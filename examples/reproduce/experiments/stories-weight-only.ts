/** Weights of a trained language model in 8 to 2 bits, by every method that needs no training. */

import { noGrad, Rng, scope, tensor } from "bitgrad";
import type { Llama } from "bitgrad/models";
import { clone, crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import { freeze, int8WeightOnly, type Plan, pack, plan, prepare, type SteOptions, ste } from "bitgrad/quant";
import { readStories, type Stories, textLoss, textOf } from "../../../bench/stories.ts";
import type { Cell, Claim, Experiment, Measures, Setting } from "../experiment.ts";

interface Method {
  readonly name: string;
  /** How its weights differ from symmetric ones. */
  readonly weight?: Partial<SteOptions>;
  /** Finds codes for a prepared model on stories; without it every weight is rounded to the nearest. */
  readonly apply?: (model: Llama, stories: number[][][]) => Promise<unknown>;
}

/** A method is a line. */
const methods: readonly Method[] = [
  { name: "nearest" },
  { name: "nearest, zero points", weight: { scheme: "affine" } },
];

const widths = [8, 6, 4, 3, 2];
const group = 32;

let read: Stories | null = null;
const stories = (): Stories => {
  read ??= readStories(process.env.BITGRAD_DATA!);
  return read;
};

/** What methods calibrate on, as batches of one paragraph: a draw of those that are not scored. */
function drawn({ seed, quick }: Setting): number[][][] {
  const { others, tokenizer } = stories();
  const order = new Rng(`calibration ${seed}`).permutation(others.length);
  return [...order.slice(0, quick ? 2 : 32)].map((i) => [textOf(tokenizer, others[i])]);
}

const measured = (loss: number, bits: number): Measures => ({ perplexity: Math.exp(loss), loss, bits });

/** The mean loss of a model over the scored texts, of which it reads all but the last token at once. */
function meanLoss({ quick }: Setting, lossOf: (text: readonly number[]) => number): number {
  const texts = stories().texts.slice(0, quick ? 2 : undefined);
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  return sum(texts.map(lossOf)) / sum(texts.map((text) => text.length - 1));
}

/** Packs a prepared model and measures what the file holds. */
function measurePacked(model: Llama, setting: Setting): Measures {
  const packed = pack(evaluate(freeze(model)));
  const lossOf = (text: readonly number[]) => {
    const ids = Int32Array.from(text.slice(0, -1));
    const { data, shape } = packed.forward({ data: ids, shape: [1, ids.length] });
    const logits = tensor(data, { shape });
    return noGrad(() => scope(() => crossEntropy(logits, [text.slice(1)], { reduction: "sum" }).item()));
  };
  return measured(meanLoss(setting, lossOf), (packed.byteLength * 8) / parameterCount(model));
}

/** All weights of products by one quantizer; the table of tokens, which is the head too, in 8 bits. */
const planOf = (bits: number, weight: Partial<SteOptions> = {}): Plan =>
  plan({
    default: { weight: ste({ bits, granularity: { group }, ...weight }) },
    rules: [["token.weight", int8WeightOnly({ group })]],
  });

const cellOf = ({ name, weight, apply }: Method, bits: number): Cell => ({
  name: `${name} ${bits}`,
  labels: { method: name, bits },
  ...(apply ? {} : { seeds: 1 as const }),
  async run(setting) {
    const model = prepare(clone(stories().model), planOf(bits, weight));
    await apply?.(model, drawn(setting));
    return measurePacked(model, setting);
  },
});

const float: Cell = {
  name: "float",
  labels: { method: "float32" },
  seeds: 1,
  run: async (setting) =>
    measured(
      meanLoss(setting, (text) => textLoss(stories().model, text)),
      32,
    ),
};

const excess = { title: "perplexity beyond that of float32", digits: 2, percent: true };
const excessOver = (cell: string, than: string): Pick<Claim, "difference"> => ({
  difference: (at) => at(cell).perplexity / at(than).perplexity - 1,
});
const calibrated = methods.filter(({ apply }) => apply);

export default {
  about:
    "Rounds the weights of a trained language model to 8, 6, 4, 3 and 2 bits by every method that needs no training.",
  text: `The model is stories260k: 5 layers of width 64, of 260,032 parameters. Every matrix has a scale for 32 weights of a row,
in float16; the table of tokens, which is the head too, keeps 8 bits. Numbers between layers are float32. Bits per weight
count the whole packed model, scales, table and norms included.

Perplexity is that of 4,102 tokens: the first 40 paragraphs of TinyStories' sample that have more than 120 characters. Methods
that calibrate see 32 paragraphs of other stories, and a seed draws these.`,
  version: 1,
  seeds: 3,
  needsData: true,
  columns: {
    bits: { title: "bits per weight", digits: 2 },
    loss: { title: "nats per token", digits: 4 },
    perplexity: { title: "perplexity", digits: 3 },
  },
  picture: { x: "bits", y: "perplexity", series: "method", log: true, to: 16 },
  cells: ({ quick }) => [
    float,
    ...methods.flatMap((method) => (quick ? [8, 3] : widths).map((bits) => cellOf(method, bits))),
  ],
  claims: [
    {
      says: "8 bits, rounded to the nearest, cost less than 0.5 % of perplexity",
      ...excessOver("nearest 8", "float"),
      below: 0.005,
      as: excess,
    },
    {
      says: "the best method of 4 bits costs less than 3 % of perplexity",
      difference: (at) => {
        const perplexities = methods.map(({ name }) => at(`${name} 4`).perplexity);
        return Math.min(...perplexities) / at("float").perplexity - 1;
      },
      below: 0.03,
      as: excess,
    },
    ...calibrated.map(
      ({ name, weight }): Claim => ({
        says: `at 3 bits ${name} is better than rounding to the nearest`,
        ...excessOver(`${name} 3`, weight ? "nearest, zero points 3" : "nearest 3"),
        below: 0,
        as: { ...excess, title: "perplexity beyond that of rounding" },
      }),
    ),
  ],
} satisfies Experiment;
