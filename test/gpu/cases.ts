/**
 * What packed models make on a GPU beside what they make on the CPU: one judge for every executor and mode, in Node and in
 * pages. Cases are plain JSON, so that a page takes them from a server.
 */

import { type GpuModel, type GpuOptions, openGpu, toGpu } from "bitgrad/gpu";
import { loadPacked, type PackedModel, type Values } from "bitgrad/packed";

interface Numbers {
  readonly data: readonly number[];
  readonly shape: readonly number[];
}

/** A packed model, and what it is asked. */
export interface PackedCase {
  readonly name: string;
  /** Its file in base64. */
  readonly file: string;
  readonly x: Numbers & { readonly ids: boolean };
  /** Options of `forward`. */
  readonly call: object;
  /** Texts to go on with, greedily, each with its options. */
  readonly prompts: readonly { readonly ids: readonly number[]; readonly options: Asked }[];
  /** How far results may be off, beside the largest number. */
  readonly far: number;
}

type Asked = Parameters<PackedModel["generate"]>[1];

/** What one case gave, on the CPU and on the GPU. */
export interface Outcome {
  readonly name: string;
  readonly error?: string;
  /** The largest difference of results beside the largest number. */
  readonly off: number;
  /** How far the first choice is before the second, beside the largest number: the least of all rows. */
  readonly margin: number;
  readonly choices: Pair;
  readonly tokens: Pair;
}

type Pair = { readonly cpu: readonly number[]; readonly gpu: readonly number[] };

/** How a GPU is opened, and what its cases gave; an error where it does not open. */
export interface Ran {
  readonly options: Partial<GpuOptions>;
  readonly error?: string;
  readonly report?: object;
  readonly outcomes: readonly Outcome[];
}

/** A case of a model that reads ids or numbers. */
export function caseOf(
  name: string,
  packed: PackedModel,
  x: { readonly data: ArrayLike<number>; readonly shape: readonly number[] },
  more: Partial<Pick<PackedCase, "call" | "prompts" | "far">> = {},
): PackedCase {
  const file = btoa(Array.from(packed.toBytes(), (byte) => String.fromCharCode(byte)).join(""));
  const ids = !(x.data instanceof Float32Array);
  return {
    name,
    file,
    x: { data: Array.from(x.data), shape: x.shape, ids },
    call: {},
    prompts: [],
    far: 1e-4,
    ...more,
  };
}

const bytesOf = (text: string): Uint8Array => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** The best of every row, and how far it is before the next. */
function firstChoices({ data, shape }: Values): { choices: number[]; least: number } {
  const n = shape.at(-1)!;
  const choices: number[] = [];
  let least = Infinity;
  for (let from = 0; from < data.length; from += n) {
    const row = Array.from(data.subarray(from, from + n));
    const order = row.map((_, i) => i).sort((a, b) => row[b] - row[a]);
    choices.push(order[0]);
    if (n > 1) least = Math.min(least, row[order[0]] - row[order[1]]);
  }
  return { choices, least };
}

async function outcomeOf(given: PackedCase, packed: PackedModel, model: GpuModel): Promise<Outcome> {
  const { name, call, prompts, x } = given;
  const input = { data: x.ids ? x.data : Float32Array.from(x.data), shape: x.shape } as Values;
  const want = packed.forward(input, call);
  const got = await model.forward(input, call);
  const most = want.data.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
  const off = got.data.reduce((a, v, i) => Math.max(a, Math.abs(v - want.data[i])), 0) / most;
  const { choices, least } = firstChoices(want);
  const tokens: { cpu: number[]; gpu: number[] } = { cpu: [], gpu: [] };
  for (const { ids, options } of prompts) {
    tokens.cpu.push(...packed.generate(ids, options));
    tokens.gpu.push(...(await model.generate(ids, options)));
  }
  return {
    ...{ name, off, margin: least / most, tokens },
    choices: { cpu: choices, gpu: firstChoices(got).choices },
  };
}

const told = (error: unknown): string => `${(error as Error).message}\n${(error as Error).stack}`;

/** Opens a GPU, has it run all cases, and closes it. Nothing throws: failures are told. */
export async function runCases(options: Partial<GpuOptions>, cases: readonly PackedCase[]): Promise<Ran> {
  const outcomes: Outcome[] = [];
  try {
    const gpu = await openGpu(options);
    for (const given of cases) {
      const packed = loadPacked(bytesOf(given.file));
      try {
        outcomes.push(await outcomeOf(given, packed, await toGpu(packed, gpu)));
      } catch (error) {
        const none = { cpu: [], gpu: [] };
        outcomes.push({
          ...{ name: given.name, error: told(error), off: Infinity, margin: 0, choices: none, tokens: none },
        });
      }
      packed.dispose();
    }
    const report = gpu.explain();
    await gpu.close();
    return { options, report, outcomes };
  } catch (error) {
    return { options, error: told(error), outcomes };
  }
}

/** What is wrong with a run, in words: nothing where every number is near, and every choice and token the CPU's. */
export function problemsOf({ error, outcomes }: Ran, cases: readonly PackedCase[]): string[] {
  const problems = error === undefined ? [] : [error];
  if (outcomes.length !== cases.length) problems.push(`${outcomes.length} of ${cases.length} cases ran`);
  for (const { name, error, off, choices, tokens } of outcomes) {
    const { far } = cases.find((given) => given.name === name)!;
    if (error !== undefined) problems.push(`${name}: ${error}`);
    else if (!(off < far)) problems.push(`${name}: off by ${off}`);
    for (const [what, { cpu, gpu }] of Object.entries({ choices, tokens }))
      if (`${cpu}` !== `${gpu}`) problems.push(`${name}: ${what} ${gpu}, the CPU's ${cpu}`);
  }
  return problems;
}
