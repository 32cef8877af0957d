/** Text generation with a KV cache, token by token, for every causal model. */

import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import type { KVCache } from "../nn/cache.ts";
import { whileEvaluating } from "../nn/modes.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { type Tensor, wrap } from "../tensor.ts";
import type { CausalCall } from "./language.ts";
import { checkSampling, type SampleOptions, sampleDefaults, sampleToken } from "./sample.ts";

export interface StreamOptions extends SampleOptions {
  /** The most tokens to make. */
  maxTokens: number;
  /** Ids that end the text; the ending id is part of the result. */
  stop: number | readonly number[] | null;
}

export interface GenerateOptions extends StreamOptions {
  /** Called with each token as it is made. */
  onToken: ((id: number) => void) | null;
}

/** What generation needs of a model. */
export interface CausalModel {
  /** Positions that the model can read at once. */
  readonly context: number;
  /** Logits (B, T, V) of ids (B, T). */
  forward(ids: Tensor, options?: Partial<CausalCall>): Tensor;
  newCache(): KVCache[];
}

const streamDefaults: StreamOptions = {
  maxTokens: undefined as never,
  ...sampleDefaults,
  stop: null,
};

/**
 * The tokens that follow `prompt`, one at a time: `for (const id of stream(model, prompt, { maxTokens: 100 }))`. Dropout is
 * off, nothing is recorded, and each step frees its memory. When the context is full, the newest half of the text is read
 * again and the rest forgotten. Throws ShapeError for a prompt longer than the context, OptionError for an empty one.
 */
export function stream(
  model: CausalModel,
  prompt: ArrayLike<number>,
  options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
): Generator<number, void, undefined> {
  const settings = readOptions("generate", options, streamDefaults);
  const { maxTokens, stop } = settings;
  if (!Number.isInteger(maxTokens) || maxTokens < 0) {
    throw new OptionError(`generate: maxTokens must be a non-negative integer, got ${show(maxTokens)}`);
  }
  checkSampling("generate", settings);
  const text = Array.from(typeof prompt === "object" && prompt !== null ? prompt : []);
  if (text.length === 0) {
    throw new OptionError(`generate: the prompt must be a list of at least one token, got ${show(prompt)}`);
  }
  const stops = stop === null ? [] : [stop].flat();
  for (const [name, ids] of [
    ["the prompt", text],
    ["stop", stops],
  ] as const) {
    const odd = ids.find((id) => !Number.isInteger(id) || id < 0);
    if (odd !== undefined) throw new OptionError(`generate: ${name} must hold token ids, got ${show(odd)}`);
  }
  if (text.length > model.context) {
    throw new ShapeError(
      `generate: the prompt must fit the context of ${model.context}, got ${text.length} tokens; cut it`,
    );
  }
  // Checked here and not at the first token, which may be asked for much later.
  return tokens(model, text, settings, new Set(stops));
}

function* tokens(
  model: CausalModel,
  text: number[],
  settings: StreamOptions,
  stops: ReadonlySet<number>,
): Generator<number, void, undefined> {
  const { temperature, topK, topP, rng } = settings;
  const sampling = { temperature, topK, topP, rng };
  const caches = model.newCache();
  let unread = text;
  try {
    for (let made = 0; made < settings.maxTokens; made++) {
      if (caches[0].length + unread.length > model.context) {
        for (const cache of caches) cache.clear();
        unread = text.slice(-Math.max(1, model.context >> 1));
      }
      const id = sampleToken(lastLogits(model, unread, caches), sampling);
      text.push(id);
      unread = [id];
      yield id;
      if (stops.has(id)) return;
    }
  } finally {
    for (const cache of caches) cache.clear();
  }
}

/** All tokens that `stream` yields, without the prompt. */
export function generate(
  model: CausalModel,
  prompt: ArrayLike<number>,
  options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens">,
): number[] {
  const { onToken, ...rest } = readOptions<GenerateOptions>("generate", options, {
    ...streamDefaults,
    onToken: null,
  });
  const made: number[] = [];
  for (const id of stream(model, prompt, rest)) {
    made.push(id);
    onToken?.(id);
  }
  return made;
}

/** The logits after the last of `ids`, as plain numbers. */
function lastLogits(
  model: CausalModel,
  ids: readonly number[],
  cache: readonly KVCache[],
): ArrayLike<number> {
  return whileEvaluating(model, () =>
    noGrad(() =>
      scope(
        () => {
          const logits = model.forward(wrap(Int32Array.from(ids), [1, ids.length], "int32"), { cache });
          return logits
            .select(0)
            .select(ids.length - 1)
            .data.slice();
        },
        { name: "generate" },
      ),
    ),
  );
}
