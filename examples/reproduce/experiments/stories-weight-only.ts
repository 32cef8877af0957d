/** Weights of a trained language model in 8 to 2 bits, by every method that needs no training. */

import { noGrad, Rng, scope, tensor } from "bitgrad";
import type { Llama } from "bitgrad/models";
import { clone, crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import {
  aciq,
  adaRound,
  allocateBits,
  awq,
  clipSearch,
  freeze,
  gptq,
  hqq,
  int8WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type SteOptions,
  signRound,
  ste,
} from "bitgrad/quant";
import { readStories, type Stories, textLoss, textOf } from "../../../bench/stories.ts";
import type { Cell, Claim, Experiment, Measures, Setting } from "../experiment.ts";

interface Method {
  readonly name: string;
  readonly widths: readonly number[];
  /** What claims hold it to. */
  readonly baseline?: string;
  /** Whether it calibrates on stories, which a seed draws. */
  readonly drawn: boolean;
  /** Prepares the model, and finds codes where they are not those of rounding to the nearest. */
  quantize(model: Llama, bits: number, calibration: Calibration): Promise<Llama>;
}

interface Calibration {
  /** Batches of one paragraph. */
  readonly stories: number[][][];
  /** What methods work on: all but the table of tokens, which is the head too and rounded to the nearest; or a few. */
  readonly layers: string;
}

const group = 32;

const weightOf = (bits: number, more: Partial<SteOptions> = {}): QuantConfig => ({
  weight: ste({ bits, granularity: { group }, ...more }),
});
const table = ["token.weight", int8WeightOnly({ group })] as const;

const prepared = (model: Llama, bits: number, more?: Partial<SteOptions>): Llama =>
  prepare(model, plan({ default: weightOf(bits, more), rules: [table] }));

/** Each layer by the width that its place in the model asks for, in the bytes that all layers would take in `bits`. */
async function allocated(model: Llama, bits: number, { stories, layers }: Calibration): Promise<Llama> {
  const even = { layers, choices: { even: weightOf(bits) }, measure: "proxy", bits: 32 } as const;
  const { bytes } = await allocateBits(model, stories, even);
  const choices = Object.fromEntries([2, 3, 4, 6, 8].map((width) => [`int${width}`, weightOf(width)]));
  const { plan: uneven } = await allocateBits(model, stories, { layers, choices, bytes });
  return prepare(prepare(model, uneven), plan({ rules: [table] }));
}

const all = [8, 6, 4, 3, 2];
const few = [4, 3, 2];
const zeroPoint = { scheme: "affine" } as const;
/** Of GPTQ: scales that clip, and columns of large inputs first. */
const clipped = { scales: "mse", order: "activation", staticGroups: true } as const;
const floatZero = { scheme: "affine", zeroPoint: "float" } as const;

/** A method is an entry. */
const methods: readonly Method[] = [
  {
    name: "nearest",
    widths: all,
    drawn: false,
    quantize: async (model, bits) => prepared(model, bits),
  },
  {
    name: "nearest, zero points",
    widths: all,
    drawn: false,
    quantize: async (model, bits) => prepared(model, bits, zeroPoint),
  },
  {
    name: "nearest, float zero points",
    widths: few,
    drawn: false,
    quantize: async (model, bits) => prepared(model, bits, floatZero),
  },
  {
    name: "HQQ",
    widths: few,
    drawn: false,
    baseline: "nearest, float zero points",
    quantize: (model, bits, { layers }) => hqq(prepared(model, bits, floatZero), { layers }),
  },
  {
    name: "ACIQ",
    widths: few,
    drawn: false,
    baseline: "nearest",
    quantize: (model, bits, { layers }) => aciq(prepared(model, bits), { layers }),
  },
  {
    name: "clip search",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) => clipSearch(prepared(model, bits), stories, { layers }),
  },
  {
    name: "GPTQ",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) => gptq(prepared(model, bits), stories, { layers }),
  },
  {
    name: "GPTQ, clipped scales",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) =>
      gptq(prepared(model, bits), stories, { layers, ...clipped }),
  },
  {
    name: "GPTQ, zero points",
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, { stories, layers }) =>
      gptq(prepared(model, bits, zeroPoint), stories, { layers }),
  },
  {
    name: "GPTQ, zero points, clipped scales",
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, { stories, layers }) =>
      gptq(prepared(model, bits, zeroPoint), stories, { layers, ...clipped }),
  },
  {
    name: "AWQ",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) => awq(prepared(model, bits), stories, { layers }),
  },
  {
    name: "AWQ, zero points",
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, { stories, layers }) =>
      awq(prepared(model, bits, zeroPoint), stories, { layers }),
  },
  {
    name: "AdaRound",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) => adaRound(prepared(model, bits), stories, { layers }),
  },
  {
    name: "SignRound",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) => signRound(prepared(model, bits), stories, { layers }),
  },
  {
    name: "SignRound, zero points",
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, { stories, layers }) =>
      signRound(prepared(model, bits, zeroPoint), stories, { layers }),
  },
  {
    name: "allocated bits",
    widths: [3],
    drawn: true,
    baseline: "nearest",
    quantize: allocated,
  },
  {
    name: "allocated bits, GPTQ",
    widths: [3],
    drawn: true,
    baseline: "nearest",
    quantize: async (model, bits, calibration) => {
      const { stories, layers } = calibration;
      return gptq(await allocated(model, bits, calibration), stories, { layers });
    },
  },
];

let read: Stories | null = null;
const stories = (): Stories => {
  read ??= readStories(process.env.BITGRAD_DATA!);
  return read;
};

/** A draw of paragraphs that are not scored. */
function drawn({ seed, quick }: Setting): Calibration {
  const { others, tokenizer } = stories();
  const order = new Rng(`calibration ${seed}`).permutation(others.length);
  const [count, length] = quick ? [1, 16] : [32, undefined];
  return {
    stories: [...order.slice(0, count)].map((i) => [textOf(tokenizer, others[i]).slice(0, length)]),
    layers: quick ? "blocks.0.attention.**" : "blocks.**",
  };
}

const measured = (loss: number, bits: number): Measures => ({ perplexity: Math.exp(loss), loss, bits });

/** The mean loss of a model over the scored texts, of which it reads all but the last token at once. */
function meanLoss({ quick }: Setting, lossOf: (text: readonly number[]) => number): number {
  const texts = stories().texts.slice(0, quick ? 1 : undefined);
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

const cellOf = ({ name, drawn: isDrawn, quantize }: Method, bits: number): Cell => ({
  name: `${name} ${bits}`,
  labels: { method: name, bits },
  ...(isDrawn ? {} : { seeds: 1 as const }),
  run: async (setting) =>
    measurePacked(await quantize(clone(stories().model), bits, drawn(setting)), setting),
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

export default {
  about:
    "Rounds the weights of a trained language model to 8, 6, 4, 3 and 2 bits by every method that needs no training.",
  text: `The model is stories260k: 5 layers of width 64, of 260,032 parameters. Every matrix has a scale for 32 weights of a row,
in float16, and a zero point where it says so, an integer or, of HQQ, a float; the table of tokens, which is the head too, keeps 8 bits. Numbers between
layers are float32. Bits per weight count the whole packed model, scales, table and norms included. Allocated bits give each
layer one of 2, 3, 4, 6 and 8, within the bytes of as many for all.

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
    ...methods.flatMap((method) => (quick ? [3] : method.widths).map((bits) => cellOf(method, bits))),
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
        const four = methods.filter(({ widths }) => widths.includes(4));
        const perplexities = four.map(({ name }) => at(`${name} 4`).perplexity);
        return Math.min(...perplexities) / at("float").perplexity - 1;
      },
      below: 0.03,
      as: excess,
    },
    ...methods.flatMap(({ name, baseline }): Claim[] =>
      baseline === undefined
        ? []
        : [
            {
              says: `at 3 bits ${name} does better than ${baseline}`,
              ...excessOver(`${name} 3`, `${baseline} 3`),
              below: 0,
              as: { ...excess, title: `perplexity beyond that of ${baseline}` },
            },
          ],
    ),
  ],
} satisfies Experiment;
