/** Whatever the config of a plan: the frozen model and its packed twin, by random specs and shapes. */

import { noGrad, Rng, scope, type Tensor, tensor } from "bitgrad";
import { Gpt, ResNet } from "bitgrad/models";
import { Conv2d, type Layer, Linear } from "bitgrad/nn";
import {
  dynamicInput,
  mixedInput,
  type QuantConfig,
  type Quantizer,
  signInput,
  staticInput,
  ste,
} from "bitgrad/quant";
import { assert, asyncProperty, constant, constantFrom, integer, oneof, record } from "fast-check";
import { describe, expect, it } from "vitest";
import { bits, random, twins, values } from "./twins.ts";

const granularity = oneof(
  constantFrom("tensor" as const, "channel" as const),
  integer({ min: 1, max: 40 }).map((group) => ({ group })),
);
const common = { granularity, scaleDtype: constantFrom("float32" as const, "float16" as const) };
const several = integer({ min: 2, max: 8 });

const weights = oneof(
  record({ ...common, bits: several, range: constantFrom("narrow" as const, "full" as const) }),
  record({
    ...common,
    bits: several,
    scheme: constant("affine" as const),
    zeroPoint: constant("int" as const),
    signed: constantFrom(true, false),
  }),
  record({ ...common, bits: several, scheme: constant("absmax-signed" as const) }),
).map((options) => ste(options));
/** Those that a packed layer multiplies by floats alone. */
const floatWeights = oneof(
  weights,
  record({
    ...common,
    bits: several,
    scheme: constant("affine" as const),
    zeroPoint: constant("float" as const),
  }).map((options) => ste(options)),
  record({
    ...common,
    bits: constant(3),
    scheme: constant("codebook" as const),
    codebook: constant([-1, -0.6, -0.3, 0, 0.2, 0.45, 0.7, 1]),
  }).map((options) => ste(options)),
);
const inputs = oneof(
  integer({ min: 2, max: 8 }).map((count) => dynamicInput({ bits: count })),
  record({
    bits: integer({ min: 2, max: 8 }),
    scheme: constantFrom("symmetric" as const, "affine" as const),
  }).map((options) => staticInput(options)),
  record({
    bits: integer({ min: 2, max: 8 }),
    threshold: constantFrom(0.3, 1, 2, 6),
  }).map((options) => mixedInput(options)),
  constant(signInput()),
);
const named = ({ weight, input }: QuantConfig): string => {
  const given: { spec?: object; threshold?: number } = input?.() ?? {};
  return JSON.stringify([(weight as Quantizer).spec, given.spec, given.threshold]);
};

const frozen = (model: Layer, x: Tensor) => noGrad(() => scope(() => model.forward(x) as Tensor));

describe("by any weights and any quantized inputs the packed twin is bitwise the frozen one", () => {
  it("of a GPT", async () => {
    const sizes = record({
      heads: constantFrom(1, 2, 4),
      size: constantFrom(4, 6, 8),
      layers: integer({ min: 1, max: 2 }),
      length: integer({ min: 1, max: 9 }),
    });
    await assert(
      asyncProperty(weights, inputs, sizes, async (weight, input, { heads, size, layers, length }) => {
        const rng = new Rng(7);
        const config = { vocabulary: 19, context: 9, dim: heads * size, layers, heads, initStd: 0.3, rng };
        const ids = tensor([Array.from({ length }, (_, i) => (i * 7) % 19)], { dtype: "int32" });
        const { model, packed } = await twins(new Gpt(config), { weight, input }, ids);
        const got = packed.forward({ data: ids.data as Int32Array, shape: ids.shape });
        expect(bits(got), named({ weight, input })).toEqual(bits(frozen(model, ids)));
      }),
      { numRuns: 60 },
    );
  });

  it("of a residual network", async () => {
    const sizes = record({
      width: integer({ min: 1, max: 9 }),
      side: integer({ min: 5, max: 9 }),
      samples: integer({ min: 1, max: 3 }),
    });
    await assert(
      asyncProperty(weights, inputs, sizes, async (weight, input, { width, side, samples }) => {
        const made = new ResNet({ blocks: 1, width, classes: 5, rng: new Rng(3) });
        const x = random([samples, 3, side, side]);
        const { model, packed } = await twins(made, { weight, input }, x);
        expect(bits(packed.forward(values(x))), named({ weight, input })).toEqual(bits(frozen(model, x)));
      }),
      { numRuns: 30 },
    );
  });
});

describe("by any weights and float32 inputs the packed twin is within the bound of its sums", () => {
  /** Each of two sums of k products lies so near to the exact one. */
  const held = (got: ArrayLike<number>, want: Tensor, magnitude: Tensor, k: number, name: string) => {
    for (let i = 0; i < want.size; i++) {
      const bound = 2 * (k + 2) * 2 ** -24 * magnitude.data[i];
      expect(Math.abs(got[i] - want.data[i]), `${name} at ${i}`).toBeLessThanOrEqual(bound);
    }
  };

  it("of a linear layer", async () => {
    const sizes = record({
      rows: integer({ min: 1, max: 9 }),
      k: integer({ min: 1, max: 70 }),
      n: integer({ min: 1, max: 20 }),
    });
    await assert(
      asyncProperty(floatWeights, sizes, async (weight, { rows, k, n }) => {
        const x = random([rows, k]);
        const { model, packed } = await twins(new Linear(k, n, { rng: new Rng(k) }), { weight }, x);
        const magnitude = noGrad(() =>
          x.abs().matmul(model.weight.effective().abs(), { transposeB: true }).add(model.bias!.value.abs()),
        );
        held(packed.forward(values(x)).data, frozen(model, x), magnitude, k, named({ weight }));
      }),
      { numRuns: 150 },
    );
  });

  it("of a convolution", async () => {
    const sizes = record({
      groups: integer({ min: 1, max: 3 }),
      ins: integer({ min: 1, max: 4 }),
      outs: integer({ min: 1, max: 4 }),
      kernel: integer({ min: 1, max: 3 }),
      stride: integer({ min: 1, max: 2 }),
    });
    await assert(
      asyncProperty(floatWeights, sizes, async (weight, { groups, ins, outs, kernel, stride }) => {
        const options = { groups, stride, padding: 1, bias: false, rng: new Rng(2) };
        const x = random([2, groups * ins, 6, 5]);
        const layer = new Conv2d(groups * ins, groups * outs, kernel, options);
        const { model, packed } = await twins(layer, { weight }, x);
        const magnitude = noGrad(() =>
          x.abs().conv2d(model.weight.effective().abs(), null, { groups, stride, padding: 1 }),
        );
        const k = ins * kernel * kernel;
        held(packed.forward(values(x)).data, frozen(model, x), magnitude, k, named({ weight }));
      }),
      { numRuns: 60 },
    );
  });
});
