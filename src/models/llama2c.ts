/** llama2.c's checkpoint files. */

import { isBytes } from "../dtype.ts";
import { FormatError, OptionError, show } from "../errors.ts";
import { withoutDraws } from "../nn/blank.ts";
import { loadStateDict } from "../nn/state.ts";
import { type Tensor, wrap } from "../tensor.ts";
import { Llama } from "./llama.ts";

const fields = ["dim", "feedForward", "layers", "heads", "kvHeads", "vocabulary", "context"] as const;
/** More than any model of this format has, and products of these stay exact. */
const LIMIT = 2 ** 24;

/**
 * The model in a checkpoint of llama2.c (version 0): seven int32 (dim, hidden size, layers, heads, key and value heads,
 * vocabulary, negative where the head is not tied, and context), then float32, little-endian. Throws FormatError for a
 * header out of range or a length that does not follow from it.
 *
 * @example
 * ```ts
 * import { readLlama2c } from "bitgrad/models";
 *
 * const bytes = new Uint8Array(4 * (7 + 44)); // of a file, here of zeros
 * new Int32Array(bytes.buffer, 0, 7).set([2, 2, 1, 1, 1, 3, 2]);
 * console.log(readLlama2c(bytes).forward([[0, 1]]).shape); // [1, 2, 3]
 * ```
 */
export function readLlama2c(bytes: Uint8Array): Llama {
  if (!isBytes(bytes)) throw new OptionError(`readLlama2c: expected a Uint8Array, got ${show(bytes)}`);
  const start = 4 * fields.length;
  if (bytes.length < start) {
    throw new FormatError(`readLlama2c: the file ends within its header, got ${bytes.length} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = fields.map((_, i) => view.getInt32(4 * i, true));
  const tied = header[5] > 0;
  header[5] = Math.abs(header[5]);
  const config = Object.fromEntries(fields.map((name, i) => [name, header[i]])) as Record<
    (typeof fields)[number],
    number
  >;
  const { dim, feedForward, layers, heads, kvHeads, vocabulary, context } = config;
  const groups = dim / heads;
  if (
    header.some((n) => n < 1 || n > LIMIT) ||
    !Number.isInteger(groups / 2) ||
    !Number.isInteger(heads / kvHeads)
  ) {
    throw new FormatError(`readLlama2c: the header makes no sense, got ${show(header)}`);
  }
  const kvDim = groups * kvHeads;
  const tables = context * groups;
  const floats =
    vocabulary * dim * (tied ? 1 : 2) +
    layers * (2 * dim + 2 * dim * dim + 2 * kvDim * dim + 3 * dim * feedForward) +
    dim +
    tables;
  if (bytes.length !== start + 4 * floats) {
    throw new FormatError(
      `readLlama2c: the header asks for ${start + 4 * floats} bytes, got ${bytes.length}`,
    );
  }
  let at = start;
  const take = (...shape: number[]): Tensor => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) data[i] = view.getFloat32(at + 4 * i, true);
    at += 4 * data.length;
    return wrap(data, shape, "float32");
  };
  const state: Record<string, Tensor> = { "token.weight": take(vocabulary, dim) };
  const perBlock = (name: string, ...shape: number[]) => {
    for (let i = 0; i < layers; i++) state[`blocks.${i}.${name}.weight`] = take(...shape);
  };
  perBlock("norm1", dim);
  perBlock("attention.query", dim, dim);
  perBlock("attention.key", kvDim, dim);
  perBlock("attention.value", kvDim, dim);
  perBlock("attention.out", dim, dim);
  perBlock("norm2", dim);
  perBlock("mlp.gate", feedForward, dim);
  perBlock("mlp.down", dim, feedForward);
  perBlock("mlp.up", feedForward, dim);
  state["norm.weight"] = take(dim);
  at += 4 * tables;
  if (!tied) state["head.weight"] = take(vocabulary, dim);
  const model = withoutDraws(() => new Llama({ ...config, tied }));
  loadStateDict(model, state);
  return model;
}
