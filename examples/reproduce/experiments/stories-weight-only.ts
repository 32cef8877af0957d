/** Weights of a trained language model in 8 to 2 bits, by every method that needs no training. */

import { noGrad, Rng, scope, tensor } from "bitgrad";
import type { Llama } from "bitgrad/models";
import { clone, crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import { freeze, pack } from "bitgrad/quant";
import { readStories, type Stories, textLoss, textOf } from "../../../bench/stories.ts";
import type { Cell, Claim, Experiment, Measures, Setting } from "../experiment.ts";
import { chosen, combinations } from "../stories-combinations.ts";
import { best, type Calibration, type Method, methods as single } from "../stories-methods.ts";

const methods: readonly Method[] = [...single, ...combinations];
/** What the picture shows, since all would hide one another. */
const pictured = [
  "nearest",
  "nearest, zero points",
  "HQQ",
  "ACIQ",
  "OMSE",
  "clip search",
  "GPTQ",
  "AWQ",
  "AdaRound",
].concat(["SignRound, zero points", best, chosen]);
/** The width at which a method is held to its baseline. */
const claimed = (widths: readonly number[]): number => (widths.includes(3) ? 3 : widths[0]);

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
    seed,
    stories: [...order.slice(0, count)].map((i) => [textOf(tokenizer, others[i]).slice(0, length)]),
    learning: quick ? { iterations: 20 } : {},
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
  return measured(meanLoss(setting, lossOf), (packed.byteLength * 8) / parameterCount(stories().model));
}

const cellOf = ({ name, drawn: isDrawn, version, quantize }: Method, bits: number): Cell => ({
  name: `${name} ${bits}`,
  labels: { method: name, bits },
  ...(version === undefined ? {} : { version }),
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
in float16, unless the line says that a row has one, and a zero point where it says so, an integer or, of HQQ, a float; the
table of tokens, which is the head too, keeps 8 bits, and where a rotation parts them both do. Numbers between layers are
float32. Bits per weight are those of the whole packed model, with scales, table, norms, corrections and a head of its own,
by the parameters of the float one. Allocated bits give each layer one of 2, 3, 4, 6 and 8, within the bytes of as many for
all. GPTQ behind another method, or in front of one, clips scales, has zero points, and takes the columns of large inputs
first.

Perplexity is that of 4,102 tokens: the first 40 paragraphs of TinyStories' sample that have more than 120 characters.
Methods that calibrate see 32 paragraphs of other stories, and a seed draws these. Of the combinations at 4 bits the one
that a claim names was chosen before, on 120 paragraphs of yet other stories, by one draw. The model has no biases, which bias
correction needs.`,
  version: 1,
  seeds: 3,
  needsData: true,
  columns: {
    bits: { title: "bits per weight", digits: 2 },
    loss: { title: "nats per token", digits: 4 },
    perplexity: { title: "perplexity", digits: 3 },
  },
  picture: { x: "bits", y: "perplexity", series: "method", only: pictured, log: true, to: 16 },
  cells: ({ quick }) => [
    float,
    ...methods.flatMap((method) =>
      (quick ? [claimed(method.widths)] : method.widths).map((bits) => cellOf(method, bits)),
    ),
  ],
  claims: [
    {
      says: "8 bits, rounded to the nearest, cost less than 0.5 % of perplexity",
      ...excessOver("nearest 8", "float"),
      below: 0.005,
      as: excess,
    },
    {
      says: `at 4 bits ${chosen} costs less than 3 % of perplexity`,
      ...excessOver(`${chosen} 4`, "float"),
      below: 0.03,
      as: excess,
    },
    ...methods.flatMap(({ name, widths, baseline }): Claim[] => {
      if (baseline === undefined) return [];
      const bits = claimed(widths);
      return [
        {
          says: `at ${bits} ${bits === 1 ? "bit" : "bits"} ${name} does better than ${baseline}`,
          ...excessOver(`${name} ${bits}`, `${baseline} ${bits}`),
          below: 0,
          as: { ...excess, title: `perplexity beyond that of ${baseline}` },
        },
      ];
    }),
  ],
} satisfies Experiment;
