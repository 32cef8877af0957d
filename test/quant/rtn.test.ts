/** Rounding to nearest against IST-DASLab/gptq@2d65066, quant.py: what `spec` and `chooseParams` give in its place. */

import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "bitgrad";
import { dequantize, type Granularity, quantize, spec } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

interface Case {
  readonly name: string;
  readonly params: {
    readonly bits: number;
    readonly symmetric: boolean;
    readonly granularity: "channel" | "group" | "tensor";
    readonly group: number | null;
  };
  readonly inputs: { readonly W: Numbers };
  readonly outputs: Readonly<Record<"codes" | "scale" | "zero" | "error" | "error_p", Numbers>>;
  readonly tolerance: { readonly rtol: number; readonly atol: number };
}

const file = new URL("../golden/methods/rtn-nearest.json", import.meta.url);
const { cases }: { cases: Case[] } = JSON.parse(readFileSync(file, "utf8"));

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);

describe.each(cases)("$name", ({ params, inputs: { W }, outputs, tolerance }) => {
  const { bits, symmetric, group } = params;
  const granularity: Granularity = group === null ? (params.granularity as "channel") : { group };
  const how = spec({ bits, granularity, ...(symmetric ? { range: "full" } : { scheme: "affine" }) });
  const q = quantize(tensor(Float32Array.from(W.data), { shape: W.shape }), how);
  // Its symmetric codes count from 0, with a zero point in their middle.
  const middle = symmetric ? 2 ** (bits - 1) : 0;
  const near = (got: number[], want: Numbers) => {
    expect(got.length).toBe(want.data.length);
    const { rtol, atol } = tolerance;
    const off = got.filter((v, i) => Math.abs(v - want.data[i]) > atol + rtol * Math.abs(want.data[i]));
    expect(off).toEqual([]);
  };

  it("gives its codes and zero points", () => {
    expect(list(q.codes as Tensor).map((code) => code + middle)).toEqual(outputs.codes.data);
    const zeros = q.zeroPoint ? list(q.zeroPoint) : outputs.zero.data.map(() => middle);
    expect(zeros).toEqual(outputs.zero.data);
  });

  it("gives its scales and errors", () => {
    near(list(q.scale), outputs.scale);
    const apart = list(dequantize(q)).map((v, i) => Math.abs(v - Math.fround(W.data[i])));
    near([apart.reduce((sum, d) => sum + d ** 2, 0)], outputs.error);
    near([apart.reduce((sum, d) => sum + d ** 2.4, 0)], outputs.error_p);
  });
});
