/** Text generation with a KV cache, token by token, for every causal model. */

import { OptionError, show } from "../errors.ts";
import {
  type GenerateOptions,
  generateFrom,
  type Reader,
  type StreamOptions,
  streamFrom,
} from "../generation/loop.ts";
import type { KVCache } from "../nn/cache.ts";
import { whileEvaluating } from "../nn/modes.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { type Tensor, wrap } from "../tensor.ts";
import type { CausalCall } from "./language.ts";

export type { GenerateOptions, StreamOptions } from "../generation/loop.ts";

/** What generation needs of a model. */
export interface CausalModel {
  /** Positions that the model can read at once. */
  readonly context: number;
  /** Logits (B, T, V) of ids (B, T). */
  forward(ids: Tensor, options?: Partial<CausalCall>): Tensor;
  newCache(): KVCache[];
}

function readerOf(model: CausalModel): Reader {
  if (typeof model?.newCache !== "function" || typeof model.forward !== "function") {
    throw new OptionError(`generate: needs a model with forward and newCache, got ${show(model)}`);
  }
  const caches = model.newCache();
  return {
    context: model.context,
    get length() {
      return caches[0].length;
    },
    read: (ids) => lastLogits(model, ids, caches),
    clear() {
      for (const cache of caches) cache.clear();
    },
  };
}

/**
 * The tokens that follow `prompt`, one at a time: `for (const id of stream(model, prompt, { maxTokens: 100 }))`. Dropout is
 * off, nothing is recorded, and each step frees its memory. When the context is full, the newest half of the text is read
 * again and the rest forgotten. Throws ShapeError for a prompt longer than the context, OptionError for an empty one.
 *
 * @example
 * ```ts
 * import { Gpt, stream } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 *
 * const model = evaluate(new Gpt({ vocabulary: 20, context: 16, dim: 16, layers: 1, heads: 2 }));
 * let made = 0;
 * for (const id of stream(model, [3, 1], { maxTokens: 5, temperature: 0 })) if (id >= 0) made++;
 * console.log(made); // 5
 * ```
 */
export const stream = (
  model: CausalModel,
  prompt: ArrayLike<number>,
  options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens">,
): Generator<number, void, undefined> => streamFrom(readerOf(model), prompt, options);

/**
 * All tokens that `stream` yields, without the prompt.
 *
 * @example
 * ```ts
 * import { generate, Gpt } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 *
 * const model = evaluate(new Gpt({ vocabulary: 20, context: 16, dim: 16, layers: 1, heads: 2 }));
 * console.log(generate(model, [3, 1], { maxTokens: 5, temperature: 0 }).length); // 5
 * ```
 */
export const generate = (
  model: CausalModel,
  prompt: ArrayLike<number>,
  options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens">,
): number[] => generateFrom(readerOf(model), prompt, options);

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
