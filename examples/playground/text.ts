/** Text: a small GPT that reads and writes bytes. */

import { noGrad, Rng, scope, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import { Gpt } from "bitgrad/models";
import { crossEntropy } from "bitgrad/nn";
import type { PackedModel } from "bitgrad/packed";
import {
  binaryDynamic,
  int4Dynamic,
  int8Dynamic,
  plan,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import type { Subject } from "./subject.ts";
import type { RoundedWidth } from "./widths.ts";

const sizes = {
  small: { dim: 64, layers: 2, heads: 4, context: 64, batch: 8 },
  large: { dim: 128, layers: 3, heads: 4, context: 64, batch: 8 },
} as const;

const roundings: Record<RoundedWidth, QuantConfig> = {
  "8": int8Dynamic(),
  "4": int4Dynamic({ group: 32 }),
  "1.58": ternaryDynamic(),
  "1": binaryDynamic(),
};

/** The shortest text that leaves a window to train on and one to test with, for either size. */
export const leastText = 10 * (sizes.large.context + 2);

/** How many bytes a sample has behind its prompt. */
const sampleLength = 240;

/** How many it writes to be timed. */
const timedLength = 60;

/** The bytes of a prompt that leave a small model room to go on; a line break where there is none. */
export function promptBytes(prompt: string): Uint8Array {
  const bytes = new TextEncoder().encode(prompt).slice(-32);
  return bytes.length > 0 ? bytes : Uint8Array.of(10);
}

/** How a sample of so many bytes behind a prompt is written, always the same. */
export const written = (prompt: string, maxTokens: number) => ({
  begin: promptBytes(prompt),
  options: { maxTokens, temperature: 0.7, topK: 40, rng: new Rng("sample") },
});

/** What a model writes behind a prompt. */
function sampleOf(model: PackedModel, prompt: string): string {
  const { begin, options } = written(prompt, sampleLength);
  const made = model.generate(begin, options);
  return new TextDecoder().decode(Uint8Array.from([...begin, ...made]));
}

/** Of a model that nothing is known of but that it writes. */
export const writer = (prompt: () => string): Pick<Subject, "show" | "run"> => ({
  show: (model, bytes) => ({
    bytes,
    loss: null,
    accuracy: null,
    sample: sampleOf(model, prompt()),
    guesses: null,
    drawing: null,
  }),
  run: (model) => model.generate([32], { maxTokens: timedLength, temperature: 0 }).length,
});

/** The entropy of single bytes in nats. */
function entropy(text: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of text) counts[byte]++;
  return counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / text.length) * Math.log(n / text.length)), 0);
}

/** The last tenth of the text is kept to test with. `prompt` is asked anew for every sample. */
export function textSubject(text: Uint8Array, size: keyof typeof sizes, prompt: () => string): Subject {
  const { batch, ...shape } = sizes[size];
  const { context, dim } = shape;
  if (text.length < leastText)
    throw new RangeError(`The text needs at least ${leastText} bytes, and has ${text.length}.`);
  const cut = Math.floor(text.length * 0.9);
  const [known, held] = [text.subarray(0, cut), text.subarray(cut)];
  const windowOf = (from: Uint8Array, i: number) => ({
    x: Int32Array.from(from.subarray(i, i + context)),
    y: Int32Array.from(from.subarray(i + 1, i + 1 + context)),
  });

  function lossOf(model: PackedModel): number {
    const count = Math.min(24, Math.floor((held.length - 1) / context));
    const stride = Math.floor((held.length - context - 1) / Math.max(1, count - 1));
    const windows = Array.from({ length: count }, (_, i) => windowOf(held, i * stride));
    const ids = Int32Array.from(windows.flatMap(({ x }) => [...x]));
    const next = Int32Array.from(windows.flatMap(({ y }) => [...y]));
    const { data, shape } = model.forward({ data: ids, shape: [count, context] });
    return noGrad(() =>
      scope(() => crossEntropy(tensor(data, { shape }), tensor(next, { shape: [count, context] })).item()),
    );
  }

  return {
    model: (rng) => new Gpt({ vocabulary: 256, ...shape, initStd: dim ** -0.5, rng }),
    batches: (rng) =>
      loader(
        { length: known.length - context, get: (i: number) => windowOf(known, i) },
        { batch, shuffle: true, rng },
      ),
    // The tables of tokens and positions keep 8 bits: rounding them further costs much and saves little.
    plan: (width) => plan({ default: roundings[width], rules: [["{token,position}.weight", int8Dynamic()]] }),
    rates: { train: 3e-3, tune: 2e-3 },
    perBatch: batch * context,
    baseline: entropy(text),
    gallery: null,
    ...writer(prompt),
    show: (model, bytes) => ({ ...writer(prompt).show(model, bytes), loss: lossOf(model) }),
  };
}
