/**
 * Draws docs/histograms.svg: how the weights of a layer, and the numbers that it is given, are distributed, which range each
 * observer chooses for codes of 4 bits, which numbers these codes stand for, and what is lost.
 *
 *   BITGRAD_DATA=… npm run histograms
 */

import { writeFileSync } from "node:fs";
import { concat, noGrad, type Tensor } from "bitgrad";
import { taps } from "bitgrad/nn";
import {
  aciqObserver,
  dequantize,
  entropy,
  histogram,
  minMax,
  mse,
  type Observer,
  percentile,
  type QuantSpec,
  quantize,
  spec,
} from "bitgrad/quant";
import { readStories, textOf } from "../bench/stories.ts";
import { accents, draw } from "./drawing.ts";

const observers: Readonly<Record<string, (given: QuantSpec) => Observer>> = {
  minMax,
  "percentile, 99.9 %": (given) => percentile(given, { percent: 99.9 }),
  mse,
  histogram,
  entropy,
  aciqObserver,
};

/** What an observer chose for some numbers. */
export interface Choice {
  readonly name: string;
  /** What the codes stand for. */
  readonly levels: readonly number[];
  /** How many of them stand for any of the numbers. */
  readonly used: number;
  /** Signal to noise in dB. */
  readonly sqnr: number;
}

export function choices(x: Tensor, given: QuantSpec): Choice[] {
  return Object.entries(observers).map(([name, make]) => {
    const observer = make(given);
    observer.observe(x);
    const params = observer.params();
    const codes = quantize(x, given, params);
    const noise = dequantize(codes).sub(x).square().sum().item();
    const zero = params.zeroPoint?.item() ?? 0;
    const all = Array.from({ length: given.qmax - given.qmin + 1 }, (_, i) => given.qmin + i);
    return {
      name,
      levels: all.map((code) => (code - zero) * params.scale.item()),
      used: new Set(codes.codes.data).size,
      sqnr: 10 * Math.log10(x.square().sum().item() / noise),
    };
  });
}

/** How many of the numbers lie in each of even bins. */
function bars(x: Tensor, bins = 120): { from: number; to: number; count: number }[] {
  const [low, high] = [x.min().item(), x.max().item()];
  const width = (high - low) / bins;
  const counts = new Array<number>(bins).fill(0);
  for (const value of x.data) counts[Math.min(bins - 1, Math.floor((Number(value) - low) / width))]++;
  return counts.map((count, i) => ({ from: low + i * width, to: low + (i + 1) * width, count }));
}

/** A histogram, its counts on a logarithmic axis, above the levels of each choice. */
function panel(title: string, x: Tensor): object {
  const found = choices(x, spec({ bits: 4, scheme: "affine" }));
  const labels = found.map(
    ({ name, levels, used, sqnr }) => `${name}: ${sqnr.toFixed(1)} dB, ${used} of ${levels.length} codes`,
  );
  const names = Object.keys(observers);
  const scale = { domain: names, range: accents.slice(0, names.length) };
  const color = { field: "name", type: "nominal", scale, legend: null };
  const y = { field: "choice", type: "nominal", sort: null, title: null, axis: { labelLimit: 500 } };
  const counts = { values: [1, 10, 100, 1_000, 10_000, 100_000] };
  const along = { type: "quantitative", title: null, axis: { grid: false } };
  return {
    title: { text: title, anchor: "start", fontSize: 13, fontWeight: "normal" },
    spacing: 6,
    resolve: { scale: { x: "shared" } },
    vconcat: [
      {
        width: 480,
        height: 120,
        data: { values: bars(x).filter(({ count }) => count > 0) },
        mark: { type: "bar", color: accents[8], binSpacing: 0 },
        encoding: {
          x: { field: "from", bin: { binned: true }, ...along },
          x2: { field: "to" },
          y: { field: "count", type: "quantitative", scale: { type: "symlog" }, title: null, axis: counts },
        },
      },
      {
        width: 480,
        height: 132,
        data: {
          values: found.flatMap(({ name, levels }, i) =>
            levels.map((level) => ({ level, name, choice: labels[i] })),
          ),
        },
        encoding: { y, color, x: { field: "level", ...along } },
        layer: [
          { mark: { type: "line", strokeWidth: 1 } },
          { mark: { type: "tick", thickness: 2, size: 14 } },
        ],
      },
    ],
  };
}

/** The picture of some numbers by their titles. */
export const histograms = (numbers: Readonly<Record<string, Tensor>>): Promise<string> =>
  draw(
    { vconcat: Object.entries(numbers).map(([title, x]) => panel(title, x)), spacing: 24 },
    { alone: true },
  );

/** The weights and the inputs of a layer of stories260k. */
function ofStories(data: string, layer: string): Record<string, Tensor> {
  const { model, tokenizer, others } = readStories(data);
  const tapped = taps(model, layer);
  const inputs = others.slice(0, 16).map((line) => {
    const { calls } = noGrad(() => tapped.collect(() => model.forward([textOf(tokenizer, line)])));
    return (calls.get(layer)![0].inputs[0] as Tensor).reshape([-1]);
  });
  tapped.dispose();
  const { down } = model.blocks[2].mlp;
  return {
    [`weights of ${layer} of stories260k`]: down.weight.value.reshape([-1]),
    [`inputs of ${layer}, 16 paragraphs`]: concat(inputs),
  };
}

if (process.argv[1] === import.meta.filename) {
  const data = process.env.BITGRAD_DATA;
  if (!data) throw new Error("histograms: needs the folder of BITGRAD_DATA, got none");
  const file = new URL("../docs/histograms.svg", import.meta.url);
  writeFileSync(file, `${await histograms(ofStories(data, "blocks.2.mlp.down"))}\n`);
}
