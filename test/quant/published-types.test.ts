/** Types that other programs store, as specs: the 4-bit codebooks of bitsandbytes, and the caches of KIVI. */

import { linspace, type Tensor, tensor } from "bitgrad";
import { dequantize, formats, nf4, quantize, type SpecOptions, spec } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { differing, type MethodCase, methodCases, tensorOf } from "../golden/method-cases.ts";
import { list } from "./setup.ts";

describe("codebooks of bitsandbytes", () => {
  const cases = methodCases<{ block: number; code: number[] }>("codebook-levels");
  const bytesOf = ({ outputs }: MethodCase<unknown>): Buffer =>
    Buffer.from(outputs.bytes.data as unknown as string, "hex");

  it.each(cases.map((of) => [of.name, of] as const))("%s", (_, of) => {
    const { block, code } = of.params;
    // Theirs has two codes for 0 in FP4, and no order; levels of a spec rise.
    const levels = [...new Set(code.map((level) => level + 0))].sort((a, b) => a - b);
    const how = spec({ bits: 4, scheme: "codebook", codebook: levels, granularity: { group: block } });
    const q = quantize(tensorOf(of.inputs.x), how);
    // Of a block of zeros the scale is 1.
    const absmax = list(q.scale).map((scale, k) => (of.outputs.absmax.data[k] === 0 ? scale - 1 : scale));
    expect(differing(of, "absmax", absmax)).toEqual([]);
    expect(differing(of, "values", list(dequantize(q)))).toEqual([]);
    const want = Array.from(bytesOf(of)).flatMap((byte) => [code[byte >> 4] + 0, code[byte & 15] + 0]);
    expect(list(q.codes).map((k) => levels[k])).toEqual(want.slice(0, q.codes.size));
  });

  it("the block format NF4 has the same bytes behind each absmax", () => {
    const of = cases.find(({ name }) => name === "codebook/quantize_nf4/1")!;
    const stored = formats.NF4.encode(of.inputs.x.data);
    expect(Buffer.concat([stored.subarray(4, 36), stored.subarray(40)])).toEqual(bytesOf(of));
    expect(of.params.code).toEqual(nf4().spec.codebook);
  });

  it("NF4 is made of equally spaced quantiles of the normal distribution, eight above 0 and seven below", () => {
    const end = 1 - (1 / 30 + 1 / 32) / 2;
    const quantiles = (count: number): number[] =>
      list(
        linspace(end, 0.5, count + 1, { dtype: "float64" })
          .mul(2)
          .sub(1)
          .erfinv(),
      ).slice(0, count);
    const [above, below] = [quantiles(8), quantiles(7)];
    const want = [...below.map((v) => -v), 0, ...above.reverse()].map((v) => v / below[0]);
    nf4().spec.codebook!.forEach((level, i) => {
      expect(level).toBeCloseTo(want[i], 6);
    });
  });
});

describe("KIVI", () => {
  /** The codes of 32-bit words, the first in the lowest bits. */
  const unpacked = (words: readonly number[], bits: number): number[] =>
    words.flatMap((word) => Array.from({ length: 32 / bits }, (_, j) => (word >>> (j * bits)) % 2 ** bits));

  it.each(methodCases<{ bits: number; group: number }>("codebook-cache").map((of) => [of.name, of] as const))(
    "%s: keys by groups of tokens of a channel, values by groups of channels of a token",
    (_, of) => {
      const { bits, group } = of.params;
      const quantized = (name: "K" | "V", more: Partial<SpecOptions>) => {
        const how = spec({ bits, scheme: "affine", zeroPoint: "float", granularity: { group }, ...more });
        const q = quantize(tensorOf(of.inputs[name]), how);
        const least = list(q.zeroPoint!.mul(q.scale).neg());
        expect([
          ...differing(of, `${name}_scale`, list(q.scale)),
          ...differing(of, `${name}_min`, least),
        ]).toEqual([]);
        return q;
      };
      const [keys, values] = [quantized("K", { axis: -2 }), quantized("V", {})];
      const head = dequantize(keys).slice([0, 0]);
      expect(differing(of, "K_values_head0", list(head))).toEqual([]);
      // Theirs lie along the tokens of keys.
      const { data, shape } = of.outputs.K_packed;
      const packed = tensor(data, { dtype: "int32", shape }).transpose(-1, -2);
      expect(list((keys.codes as Tensor).transpose(-1, -2))).toEqual(unpacked(list(packed), bits));
      expect(list(values.codes as Tensor)).toEqual(unpacked(of.outputs.V_packed.data, bits));
    },
  );
});
