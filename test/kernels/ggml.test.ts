/** Block formats against the bytes and the numbers of ggml-org's own encoders and decoders. */

import { expect, it } from "vitest";
import { toBfloat16, toFloat16, widenBfloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import { type BlockFormat, formats } from "../../kernels/formats/index.ts";
import { differing, type MethodCase, methodCases } from "../golden/method-cases.ts";

type Given = MethodCase<{ readonly type: string }>;
type Coding = Pick<BlockFormat, "decode"> & { encode(x: ArrayLike<number>): Uint8Array };

const bytesOf = (words: Uint16Array): Uint8Array => new Uint8Array(words.buffer);
const wordsOf = (bytes: Uint8Array): Uint16Array => new Uint16Array(bytes.slice().buffer);
const halves: Record<string, Coding> = {
  F16: { encode: (x) => bytesOf(toFloat16(x)), decode: (bytes) => widenFloat16(wordsOf(bytes)) },
  BF16: { encode: (x) => bytesOf(toBfloat16(x)), decode: (bytes) => widenBfloat16(wordsOf(bytes)) },
};
const known: Readonly<Record<string, Coding>> = { ...formats, ...halves };

const all = methodCases<{ readonly type: string }>("ggml-bytes").filter(({ params }) => params.type in known);
const named = (wanted: (given: Given) => boolean) => all.filter(wanted).map((of) => [of.name, of] as const);
const hexOf = ({ data }: { readonly data: unknown }): Buffer => Buffer.from(data as string, "hex");

it("has a case for every format that is ggml's", () => {
  const types = new Set(all.map(({ params }) => params.type));
  expect(Object.keys(known).filter((type) => !types.has(type))).toEqual(["NF4"]);
});

it.each(named(({ inputs }) => "x" in inputs))(
  "%s: the bytes are ggml's",
  (_, { params, inputs, outputs }) => {
    const { encode } = known[params.type];
    expect(Buffer.from(encode(inputs.x.data)).toString("hex")).toBe(hexOf(outputs.bytes).toString("hex"));
  },
);

it.each(named(({ outputs }) => "values" in outputs))("%s: the numbers are ggml's", (_, of) => {
  const { decode } = known[of.params.type];
  const values = decode(new Uint8Array(hexOf(of.inputs.bytes ?? of.outputs.bytes)));
  // Some cases give the first row alone.
  expect(differing(of, "values", Array.from(values.subarray(0, of.outputs.values.data.length)))).toEqual([]);
});
