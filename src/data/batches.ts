/** Texts as batches of ids: marked, cut, padded to one length, and brought together with others of about their length. */

import { newArray } from "../dtype.ts";
import { checkChoice, checkInteger, OptionError, readOptions, show } from "../errors.ts";
import type { Rng } from "../random/rng.ts";
import { checkShape } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

export interface EncodeBatchOptions {
  /** The id that fills up the shorter texts; default 0. */
  padId: number;
  /** Ids before and after every text, such as those of [CLS] and [SEP]. */
  bosId: number | null;
  eosId: number | null;
  /** The most ids of a text, its marks counted; longer ones are cut, and keep their marks. Refused where it is null. */
  maxLength: number | null;
  /** To the longest text of the batch, or all to `maxLength`. */
  padding: "longest" | "max";
  /** Where padding stands; "left" for texts that a model goes on with. */
  paddingSide: "right" | "left";
  /** Which end of a long text goes. */
  truncationSide: "right" | "left";
}

export interface EncodedBatch {
  /** (B, T). */
  ids: Tensor<"int32">;
  /** (B, T): true for an id of the text, false for padding. `mask.unsqueeze(1).unsqueeze(1)` masks keys of attention. */
  mask: Tensor<"bool">;
  /** (B): how many ids each text has, marks counted. */
  lengths: Tensor<"int32">;
}

/**
 * The ids of texts as one batch. Throws OptionError for options that contradict one another.
 *
 * @example
 * ```ts
 * import { byteTokenizer, encodeBatch } from "bitgrad/data";
 *
 * const { ids } = encodeBatch(byteTokenizer(), ["ab", "a"], { eosId: 10 });
 * console.log(ids.toArray()); // [[97, 98, 10], [97, 10, 0]]
 * ```
 */
export function encodeBatch(
  tokenizer: Pick<Tokenizer, "encode">,
  texts: readonly string[],
  options?: Partial<EncodeBatchOptions>,
): EncodedBatch {
  const op = "encodeBatch";
  const settings = readOptions<EncodeBatchOptions>(op, options, {
    padId: 0,
    bosId: null,
    eosId: null,
    maxLength: null,
    padding: "longest",
    paddingSide: "right",
    truncationSide: "right",
  });
  const { padId, bosId, eosId, maxLength, padding, paddingSide, truncationSide } = settings;
  checkChoice(op, "padding", padding, ["longest", "max"]);
  checkChoice(op, "paddingSide", paddingSide, ["right", "left"]);
  checkChoice(op, "truncationSide", truncationSide, ["right", "left"]);
  for (const [name, id] of Object.entries({ padId, bosId, eosId })) if (id !== null) checkId(op, name, id);
  const before = bosId === null ? [] : [bosId];
  const after = eosId === null ? [] : [eosId];
  const marks = before.length + after.length;
  if (maxLength !== null) checkInteger(op, "maxLength", maxLength, Math.max(marks, 1));
  if (padding === "max" && maxLength === null)
    throw new OptionError(`${op}: padding to the most needs maxLength, got null`);
  if (typeof tokenizer?.encode !== "function")
    throw new OptionError(`${op}: needs a tokenizer, got ${show(tokenizer)}`);
  if (!Array.isArray(texts) || texts.some((text) => typeof text !== "string"))
    throw new OptionError(`${op}: needs a list of texts, got ${show(texts)}`);
  const room = maxLength === null ? Infinity : maxLength - marks;
  const rows = texts.map((text: string) => {
    const ids = Array.from(tokenizer.encode(text));
    const over = Math.max(ids.length - room, 0);
    const kept = truncationSide === "right" ? ids.slice(0, ids.length - over) : ids.slice(over);
    return [...before, ...kept, ...after];
  });
  const width = padding === "max" ? maxLength! : rows.reduce((most, { length }) => Math.max(most, length), 0);
  const shape = checkShape(op, [rows.length, width]);
  const ids = newArray("int32", rows.length * width).fill(padId);
  const mask = newArray("bool", ids.length);
  rows.forEach((row, i) => {
    const from = i * width + (paddingSide === "left" ? width - row.length : 0);
    ids.set(row, from);
    mask.fill(1, from, from + row.length);
  });
  return {
    ids: wrap(ids, shape, "int32"),
    mask: wrap(mask, shape, "bool"),
    lengths: wrap(
      Int32Array.from(rows, (row) => row.length),
      [rows.length],
      "int32",
    ),
  };
}

function checkId(op: string, name: string, id: unknown): void {
  checkInteger(op, name, id, 0);
  if ((id as number) >= 2 ** 31) throw new OptionError(`${op}: ${name} must be below 2^31, got ${show(id)}`);
}

export interface LengthBatchesOptions {
  /** The most examples of a batch. */
  batch: number | null;
  /** The most ids of a batch, padding counted: its examples times the longest of them. */
  tokens: number | null;
  /** Draws which examples of equal length come together, and the order of the batches; sorted by length without it. */
  rng: Rng | null;
}

/**
 * Indices of examples in batches of about equal length, so that little of a batch is padding: every index once. Each batch
 * holds `batch` examples at most, or `tokens` ids, or both.
 *
 * @example
 * ```ts
 * import { lengthBatches } from "bitgrad/data";
 *
 * console.log(lengthBatches([5, 1, 4, 2], { batch: 2 }).map((rows) => Array.from(rows))); // [[1, 3], [2, 0]]
 * ```
 */
export function lengthBatches(
  lengths: readonly number[] | Int32Array,
  options: Partial<LengthBatchesOptions>,
): Int32Array[] {
  const op = "lengthBatches";
  const { batch, tokens, rng } = readOptions<LengthBatchesOptions>(op, options, {
    batch: null,
    tokens: null,
    rng: null,
  });
  if (batch === null && tokens === null)
    throw new OptionError(`${op}: needs batch or tokens, got null and null`);
  if (batch !== null) checkInteger(op, "batch", batch, 1);
  if (tokens !== null) checkInteger(op, "tokens", tokens, 1);
  if (!Array.isArray(lengths) && !(lengths instanceof Int32Array))
    throw new OptionError(`${op}: needs a list of lengths, got ${show(lengths)}`);
  for (const length of lengths) checkInteger(op, "a length", length, 0);
  const longest = tokens === null ? -1 : lengths.findIndex((length: number) => length > tokens);
  if (longest >= 0) {
    throw new OptionError(
      `${op}: an example is longer than a batch of ${tokens} tokens, got ${lengths[longest]} at index ${longest}; cut it`,
    );
  }
  const order = rng ? rng.permutation(lengths.length) : Int32Array.from(lengths.keys());
  // Stable: equal lengths stay in the order drawn.
  order.sort((a, b) => lengths[a] - lengths[b]);
  const batches: Int32Array[] = [];
  let from = 0;
  for (let i = 1; i <= order.length; i++) {
    const size = i - from;
    const isFull =
      i === order.length || size === batch || (tokens !== null && (size + 1) * lengths[order[i]] > tokens);
    if (!isFull) continue;
    batches.push(order.slice(from, i));
    from = i;
  }
  return rng ? rng.shuffle(batches) : batches;
}
