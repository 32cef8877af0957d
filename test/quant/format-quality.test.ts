/** How many decibels of signal to noise every format keeps of 65,536 numbers, against what was measured elsewhere. */

import { Rng, rand, randn, type Tensor, tensor } from "bitgrad";
import { bitnet158, fakeQuantize, formats, type SpecOptions, spec } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const count = 65_536;
const rng = new Rng("quality");
const normal = () => randn([count], { rng });
const chiSquare = Array.from({ length: 5 }, () => normal().square()).reduce((sum, x) => sum.add(x));
const numbers = {
  normal: normal(),
  laplace: rand([count], { rng })
    .log()
    .sub(rand([count], { rng }).log()),
  student: normal().div(chiSquare.div(5).sqrt()),
};

type Codec = (x: Tensor) => Tensor;
const stored =
  (name: keyof typeof formats): Codec =>
  (x) =>
    tensor(formats[name].decode(formats[name].encode(x.data as Float32Array)));
const by =
  (options: Partial<SpecOptions>): Codec =>
  (x) =>
    fakeQuantize(x, spec(options));
const grouped = (bits: number, group: number, more: Partial<SpecOptions> = {}): Codec =>
  by({ bits, granularity: { group }, ...more });
const affine = { scheme: "affine" } as const;
/** bitsandbytes' FP4: twelfths. */
const fp4 = [-12, -8, -6, -4, -3, -2, -0.0625, 0, 0.0625, 2, 3, 4, 6, 8, 12].map((level) => level / 12);
const e2m1 = [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6].map((level) => level / 6);

/** Best first; each with its decibels for normal numbers, those of Laplace, and of Student's t with 5 degrees of freedom. */
const table: [name: string, codec: Codec, normal: number, laplace: number, student: number][] = [
  ["Q8_0", stored("Q8_0"), 45.37, 43.4, 43.53],
  ["Q4_K", stored("Q4_K"), 22.82, 21.43, 21.61],
  ["4 bits, affine, by 32", grouped(4, 32, affine), 21.82, 20.49, 20.67],
  ["Q4_0", stored("Q4_0"), 21.26, 19.44, 19.4],
  ["NF4", stored("NF4"), 20.69, 19.63, 19.61],
  ["4 bits, by 32", grouped(4, 32), 20.21, 18.32, 18.34],
  ["4 bits, affine, by 128", grouped(4, 128, affine), 19.89, 17.67, 17.5],
  ["E2M1, by 64", grouped(4, 64, { scheme: "codebook", codebook: e2m1 }), 19.49, 18.95, 18.96],
  ["4 bits, by 64", grouped(4, 64), 19.29, 16.98, 16.79],
  ["MXFP4", stored("MXFP4"), 18.7, 17.92, 18.03],
  ["FP4, by 64", grouped(4, 64, { scheme: "codebook", codebook: fp4 }), 18.22, 16.4, 16.27],
  ["3 bits, affine, by 32", grouped(3, 32, affine), 15.21, 14.02, 14.06],
  ["2 bits, affine, by 32", grouped(2, 32, affine), 7.79, 7.24, 7.07],
  ["ternary by mean magnitudes, by 256", ternary, 5.79, 4.06, 4.46],
  ["Q1_0", stored("Q1_0"), 4.42, 3.04, 3.45],
  ["TQ2_0, which is for ternary numbers", stored("TQ2_0"), 1.82, 1.64, 1.4],
];

function ternary(x: Tensor): Tensor {
  const quantizer = bitnet158({ granularity: { group: 256 }, scaleDtype: "float32" });
  return fakeQuantize(x, quantizer.spec, quantizer.params(x));
}

const decibels = (codec: Codec, x: Tensor): number =>
  10 * Math.log10(x.square().sum().item() / codec(x).sub(x).square().sum().item());

describe.each(Object.entries(numbers))("%s numbers", (name, x) => {
  const at = Object.keys(numbers).indexOf(name);
  const found = table.map(([, codec]) => decibels(codec, x));

  it.each(table.map((row, i) => [row[0], row[2 + at] as number, i] as const))("%s: %d dB", (_, want, i) => {
    expect(Math.abs(found[i] - want)).toBeLessThan(0.3);
  });
});

it("normal numbers lose more from each to the next", () => {
  const found = table.map(([, codec]) => decibels(codec, numbers.normal));
  expect(found).toEqual(found.toSorted((a, b) => b - a));
});
