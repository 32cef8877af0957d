/** Packed models of text meet what they cannot take. */

import { Gpt } from "bitgrad/models";
import { Linear, TransformerDecoderLayer } from "bitgrad/nn";
import type { PackedLanguage } from "bitgrad/packed";
import { freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bert, ids, text, transformer } from "./texts.ts";

describe("mistakes", () => {
  const packed = (model: object) => pack(freeze(prepare(model, plan({ default: int8Dynamic() }))));
  const flags = (...shape: number[]) => ({ data: Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape });
  const words = ids(text(2, 8));
  const encoder = packed(bert("classifier"));
  const both = packed(transformer());
  const block = packed(new TransformerDecoderLayer(16, 2, 16));
  const x = { data: new Float32Array(2 * 3 * 16), shape: [2, 3, 16] };

  it.each<[name: string, code: string, fn: () => unknown, message: RegExp]>([
    [
      "a mask of another length",
      "SHAPE",
      () => encoder.forward(words, { mask: flags(2, 7) }),
      /a mask must be \(2, 1, 1, 8\), got \(2, 1, 1, 7\)/,
    ],
    [
      "a mask that is none",
      "SHAPE",
      () => encoder.forward(words, { mask: 7 as never }),
      /forward: mask: needs { data, shape } of ids/,
    ],
    [
      "segments of another shape",
      "SHAPE",
      () => encoder.forward(words, { segments: flags(1, 8) }),
      /segments must have the shape of the ids, got \(1, 8\) for \(2, 8\)/,
    ],
    [
      "a segment that is not there",
      "SHAPE",
      () => encoder.forward(words, { segments: { data: Array(16).fill(3), shape: [2, 8] } }),
      /ids lie in 0 … 2, got 3/,
    ],
    [
      "segments where there are none",
      "SHAPE",
      () =>
        packed(new Gpt({ vocabulary: 30, context: 8, dim: 16, layers: 1, heads: 2 })).forward(words, {
          segments: flags(2, 8),
        }),
      /the model has no segments/,
    ],
    [
      "an option of another model",
      "BITGRAD",
      () => encoder.forward(words, { target: words }),
      /forward: unknown option, got "target"; known options are mask, segments/,
    ],
    [
      "an option of a layer without any",
      "BITGRAD",
      () => packed(new Linear(4, 4)).forward(x, { mask: words }),
      /known options are budget/,
    ],
    ["no target", "BITGRAD", () => both.forward(words), /PackedSeq2Seq: needs target ids, got none/],
    [
      "a target of another batch",
      "SHAPE",
      () => both.forward(words, { target: flags(3, 2) }),
      /the context must be \(3, S, C\), got \(2, 8, 32\)/,
    ],
    [
      "ids that are not there",
      "SHAPE",
      () => both.forward(words, { target: { data: [30], shape: [1, 1] } }),
      /ids lie in 0 … 29, got 30/,
    ],
    [
      "ids in one row",
      "SHAPE",
      () => both.forward({ data: [1], shape: [1] }, { target: words }),
      /ids must be \(B, T\), got \(1\)/,
    ],
    [
      "a source's mask of another length",
      "SHAPE",
      () => both.forward(words, { target: words, sourceMask: flags(2, 9) }),
      /a mask must be \(2, 1, 1, 8\), got \(2, 1, 1, 9\)/,
    ],
    [
      "a decoder without memory",
      "BITGRAD",
      () => block.forward(x),
      /PackedBlock: a decoder needs memory, got none/,
    ],
    [
      "memory without a shape",
      "SHAPE",
      () => block.forward(x, { memory: [1] as never }),
      /forward: memory: needs { data, shape } of float32/,
    ],
    [
      "generation by an encoder",
      "BITGRAD",
      () => encoder.generate([1], { maxTokens: 1 }),
      /needs a causal language model/,
    ],
    [
      "generation without a source",
      "BITGRAD",
      () => both.generate([1], { maxTokens: 1 }),
      /a source goes with an encoder, got none for "seq2seq"/,
    ],
    [
      "generation of two at once",
      "SHAPE",
      () => both.generate([1], { maxTokens: 1, source: words }),
      /the context must be \(1, S, C\), got \(2, 8, 32\)/,
    ],
    [
      "pooling after a masked-token head",
      "BITGRAD",
      () => (packed(bert("maskedLm")).root as PackedLanguage).pool(x),
      /has no pooler/,
    ],
  ])("%s", (_, code, fn, message) => {
    expect(fn).toThrow(message);
    expect(fn).toThrow(expect.objectContaining(code === "BITGRAD" ? {} : { code }));
  });
});
