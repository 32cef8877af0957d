/** Decoding of a packed Gpt: 32 tokens behind a prompt of 64. */

import { toGpu } from "../../../src/gpu/index.ts";
import { evaluate } from "../../../src/nn/index.ts";
import type { PackedModel } from "../../../src/packed/index.ts";
import {
  binarySigns,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan as planOf,
  prepare,
  type QuantConfig,
} from "../../../src/quant/index.ts";
import { gptOf } from "../libraries/bitgrad.ts";
import type { GptProblem } from "../library.ts";
import { gptProblem } from "../models.ts";
import { type Decoder, guarded, isOut, turnOf } from "./measure.ts";
import { open, type Where } from "./ours.ts";
import type { Plan, SideTimes, Task } from "./rows.ts";

/** That are timed. */
const tokens = 32;

type Type = (Task & { kind: "decode" })["type"];

const configs: Readonly<Record<Exclude<Type, "f32">, () => QuantConfig>> = {
  i8: int8Dynamic,
  i4: int4WeightOnly,
  b1: binarySigns,
};

function packed(problem: GptProblem, type: Type): PackedModel {
  const model = gptOf(problem);
  if (type === "f32") return pack(evaluate(model));
  return pack(evaluate(freeze(prepare(model, planOf({ default: configs[type]() })))));
}

async function ours(where: Where, model: PackedModel): Promise<Decoder> {
  const gpu = where === "cpu" ? null : await open(where);
  const running = gpu ? await toGpu(model, gpu) : model;
  return {
    name: where,
    stream: (prompt, count) => running.stream(prompt, { maxTokens: count, temperature: 0 }),
    close: async () => void (await gpu?.close()),
  };
}

interface Text {
  readonly ids: readonly number[];
  /** Seconds a token, without the first, which the prompt is read for. */
  readonly seconds: number;
}

async function text(decoder: Decoder, prompt: readonly number[], count: number, most: number): Promise<Text> {
  const ids: number[] = [];
  let start = performance.now();
  for await (const id of decoder.stream(prompt, count)) {
    ids.push(id);
    if (ids.length === 1) start = performance.now();
    else if (performance.now() - start > 1e3 * most) break;
  }
  return { ids, seconds: (performance.now() - start) / 1e3 / (ids.length - 1) };
}

export async function decoding({ type }: Task & { kind: "decode" }, sides: readonly string[], plan: Plan) {
  const problem = gptProblem({
    vocabulary: 256,
    context: 128,
    dim: 512,
    heads: 8,
    layers: 6,
    feedForward: 2048,
  });
  const prompt = [...problem.ids.slice(0, 64)];
  const model = packed(problem, type);
  const makers: [string, () => Promise<Decoder>][] = [
    ["cpu", () => ours("cpu", model)],
    ["webgpu", () => ours("webgpu", model)],
    ["gpu.js", () => ours("gpu.js", model)],
    ["ort-web", async () => (await import("./ort-decoder.ts")).decoder(problem)],
  ];
  let want: readonly number[] | null = null;
  const times = new Map<string, number[]>();
  /** The text, and how long it took. */
  const timed = async (decoder: Decoder): Promise<readonly number[]> => {
    const { ids, seconds } = await text(decoder, prompt, 1 + tokens, plan.most);
    times.set(decoder.name, [...(times.get(decoder.name) ?? []), seconds]);
    return ids;
  };
  const start = performance.now();
  const made: (Decoder | SideTimes)[] = [];
  for (const [name, make] of makers)
    if (sides.includes(name))
      made.push(
        await guarded(name, async () => {
          const decoder = await make();
          // Kernels are compiled for it.
          const { seconds } = await text(decoder, prompt.slice(0, 1), 4, plan.most);
          if (seconds > plan.most) throw new Error(`${seconds.toFixed(1)} s a token`);
          const ids = await timed(decoder);
          want ??= ids;
          // Sums in another order may in time lead to another text.
          if (ids[0] !== want[0]) throw new Error(`gives token ${ids[0]} for ${want[0]}`);
          return decoder;
        }),
      );
  const running = made.filter((each): each is Decoder => !isOut(each));
  for (let round = 1; round < plan.rounds && performance.now() - start < 1e3 * plan.seconds; round++)
    for (let i = 0; i < running.length; i++) {
      const decoder = running[(i + round) % running.length];
      await turnOf(decoder.name);
      await timed(decoder);
    }
  for (const decoder of running) await decoder.close();
  return made.map((each) =>
    isOut(each) ? each : { name: each.name, times: times.get(each.name)!, out: null },
  );
}
