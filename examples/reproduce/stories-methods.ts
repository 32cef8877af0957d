/** The ways by which the experiment on stories260k finds the codes of its weights. */

import { Rng } from "bitgrad";
import type { Llama } from "bitgrad/models";
import { crossEntropy, statistics } from "bitgrad/nn";
import {
  aciq,
  adaRound,
  allocateBits,
  awq,
  binarize,
  binaryWeightOnly,
  clipSearch,
  equalize,
  equalizeColumns,
  type GptqOptions,
  gptq,
  hqq,
  int8WeightOnly,
  type LowRankCorrectionOptions,
  lapq,
  lowRankCorrection,
  type PlanRule,
  plan,
  prepare,
  type QuantConfig,
  rotate,
  type SteOptions,
  signRound,
  splitOutlierChannels,
  ste,
} from "bitgrad/quant";

export interface Method {
  readonly name: string;
  readonly widths: readonly number[];
  /** What claims hold it to. */
  readonly baseline?: string;
  /** Whether it draws anything by a seed: stories to calibrate on, or a rotation. */
  readonly drawn: boolean;
  /** Of its cells; default that of the experiment. */
  readonly version?: number;
  /** Prepares the model, and finds codes where they are not those of rounding to the nearest. */
  quantize(model: Llama, bits: number, calibration: Calibration): Promise<Llama>;
}

export interface Calibration {
  readonly seed: number;
  /** Batches of one paragraph. */
  readonly stories: readonly number[][][];
  /** What methods that learn are told: in a quick run, to take few steps. */
  readonly learning: { readonly iterations?: number };
  /** What methods work on: all but the table of tokens, which is the head too and rounded to the nearest; or a few. */
  readonly layers: string;
}

const group = 32;

export const weightOf = (bits: number, more: Partial<SteOptions> = {}): QuantConfig => ({
  weight: ste({ bits, granularity: { group }, ...more }),
});
const table: PlanRule = ["token.weight", int8WeightOnly({ group })];

const preparedBy = (model: Llama, config: QuantConfig, ...rules: PlanRule[]): Llama =>
  prepare(model, plan({ default: config, rules: [table, ...rules] }));
const prepared = (model: Llama, bits: number, more?: Partial<SteOptions>): Llama =>
  preparedBy(model, weightOf(bits, more));

export const zeroPoint = { scheme: "affine" } as const;
const floatZero = { scheme: "affine", zeroPoint: "float" } as const;
export const affine = (model: Llama, bits: number): Llama => prepared(model, bits, zeroPoint);

/** Of GPTQ: scales that clip, and columns of large inputs first. */
const clipped = { scales: "mse", order: "activation", staticGroups: true } as const;
export const clippedGptq = (
  model: Llama,
  { stories, layers }: Calibration,
  more?: Partial<GptqOptions<number[][]>>,
) => gptq(model, stories, { layers, ...clipped, ...more });

/** Each layer by the width that its place in the model asks for, in the bytes that all layers would take in `bits`. */
async function allocated(model: Llama, bits: number, { stories, layers }: Calibration): Promise<Llama> {
  const even = { layers, choices: { even: weightOf(bits) }, measure: "proxy", bits: 32 } as const;
  const { bytes } = await allocateBits(model, stories, even);
  const choices = Object.fromEntries([2, 3, 4, 6, 8].map((width) => [`int${width}`, weightOf(width)]));
  const { plan: uneven } = await allocateBits(model, stories, { layers, choices, bytes });
  return prepare(prepare(model, uneven), plan({ rules: [table] }));
}

/** Rotated, so that the head has a table of its own. */
export async function rotated(model: Llama, config: QuantConfig, seed: number): Promise<Llama> {
  await rotate(model, { rng: new Rng(`rotation ${seed}`) });
  return preparedBy(model, config, ["head.weight", int8WeightOnly({ group })]);
}

/** With corrections of rank 2 and 8 bits, one scale a factor. */
export async function corrected(
  model: Llama,
  { stories, layers }: Calibration,
  method: LowRankCorrectionOptions<never>["method"],
): Promise<Llama> {
  await lowRankCorrection(model, stories, { layers, rank: 2, method });
  const thin: PlanRule = ["**.correction.*", int8WeightOnly({ granularity: "tensor" })];
  return prepare(model, plan({ rules: [thin] }));
}

const signs = (model: Llama): Llama => preparedBy(model, binaryWeightOnly({ group }));
const row = { granularity: "channel" } as const;
export const equalized = (model: Llama, bits: number, { layers }: Calibration): Promise<Llama> =>
  equalize(affine(model, bits), { layers });

const all = [8, 6, 4, 3, 2];
export const few = [4, 3, 2];
/** What combinations are held to. */
export const best = "GPTQ, zero points, clipped scales";

/** A method is an entry. */
export const methods: readonly Method[] = [
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
    quantize: async (model, bits) => affine(model, bits),
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
    quantize: (model, bits, calibration) => clippedGptq(prepared(model, bits), calibration),
  },
  {
    name: "GPTQ, zero points",
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, { stories, layers }) => gptq(affine(model, bits), stories, { layers }),
  },
  {
    name: best,
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, calibration) => clippedGptq(affine(model, bits), calibration),
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
    quantize: (model, bits, { stories, layers }) => awq(affine(model, bits), stories, { layers }),
  },
  {
    name: "AdaRound",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers, learning }) =>
      adaRound(prepared(model, bits), stories, { layers, ...learning }),
  },
  {
    name: "SignRound",
    widths: few,
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers, learning }) =>
      signRound(prepared(model, bits), stories, { layers, ...learning }),
  },
  {
    name: "SignRound, zero points",
    widths: few,
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, { stories, layers, learning }) =>
      signRound(affine(model, bits), stories, { layers, ...learning }),
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
  {
    name: "OMSE",
    widths: few,
    drawn: false,
    baseline: "nearest",
    quantize: (model, bits, { layers }) => clipSearch(prepared(model, bits), null, { layers, least: 0 }),
  },
  {
    name: "clip search, importance of the float model",
    widths: [3],
    drawn: true,
    baseline: "nearest",
    quantize: async (model, bits, { stories, layers }) => {
      const importance = await statistics(model, stories, { layers, keep: ["sumOfSquares"] });
      return clipSearch(prepared(model, bits), null, { layers, importance });
    },
  },
  {
    name: "LAPQ of 4 paragraphs",
    widths: [3],
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { stories, layers }) => {
      const loss = ([text]: number[][]) => crossEntropy(model.forward([text.slice(0, -1)]), [text.slice(1)]);
      return lapq(prepared(model, bits), stories.slice(0, 4), { layers, loss, rounds: 1 });
    },
  },
  {
    name: "equalize",
    widths: [3],
    drawn: false,
    baseline: "nearest",
    quantize: async (model, bits, { layers }) => equalize(prepared(model, bits), { layers }),
  },
  {
    name: "rotate",
    widths: [3],
    drawn: true,
    baseline: "nearest",
    quantize: (model, bits, { seed }) => rotated(model, weightOf(bits), seed),
  },
  {
    name: "nearest, a scale a row",
    widths: [3],
    drawn: false,
    quantize: async (model, bits) => prepared(model, bits, row),
  },
  {
    name: "split channels, a scale a row",
    widths: [3],
    drawn: false,
    baseline: "nearest, a scale a row",
    quantize: (model, bits, { layers }) => splitOutlierChannels(prepared(model, bits, row), { layers }),
  },
  {
    name: "LQER, zero points",
    widths: [3],
    drawn: true,
    baseline: "nearest, zero points",
    quantize: (model, bits, calibration) => corrected(affine(model, bits), calibration, "activation"),
  },
  {
    name: "signs",
    widths: [1],
    drawn: false,
    quantize: async (model) => signs(model),
  },
  ...(["arb", "arbX", "feedback"] as const).map(
    (method): Method => ({
      name: `signs, ${{ arb: "ARB", arbX: "ARB-X", feedback: "error feedback" }[method]}`,
      widths: [1],
      drawn: method !== "arb",
      ...(method === "arbX" ? { version: 2 } : {}),
      baseline: "signs",
      quantize: (model, _, { stories, layers }) => binarize(signs(model), stories, { layers, method }),
    }),
  ),
  {
    name: "signs, ARB-RC, then error feedback",
    widths: [1],
    drawn: true,
    baseline: "signs",
    quantize: async (model, _, { stories, layers }) =>
      binarize(await equalizeColumns(signs(model), { layers }), stories, { layers }),
  },
];
