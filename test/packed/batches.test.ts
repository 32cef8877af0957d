import { concat, noGrad, scope, type Tensor, useBackend } from "bitgrad";
import { Conv1d, Conv2d, train } from "bitgrad/nn";
import { binaryDynamic, int8Dynamic, ternaryDynamic } from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { bits, random, twins, values } from "./twins.ts";

afterEach(() => useBackend("simd"));

const configs = { int8Dynamic, ternaryDynamic, binaryDynamic };

describe.each(["simd", "reference"] as const)("on %s kernels", (backend) => {
  describe.each(Object.entries(configs))("a convolution by %s", (_, config) => {
    it.each([
      ["of images", () => new Conv2d(6, 9, 3, { padding: 1 }), [1, 6, 7, 5]],
      ["of large images in groups", () => new Conv2d(8, 8, 3, { groups: 2, stride: 2 }), [1, 8, 31, 40]],
      ["channel by channel", () => new Conv2d(5, 10, 3, { groups: 5, padding: 1 }), [1, 5, 9, 8]],
      ["of sequences", () => new Conv1d(4, 5, 3, { dilation: 2 }), [1, 4, 17]],
    ] as [string, () => Conv2d | Conv1d, number[]][])(
      "%s gives each sample what it gets alone, beside any other",
      async (_, make, shape) => {
        useBackend(backend);
        const images = [0, 1, 2].map((i) => random(shape, i).mul([1, 100, 0][i]));
        const batch = concat(images);
        const { model, packed } = await twins(make(), config(), batch);
        const run = (x: Tensor) => noGrad(() => scope(() => model.forward(x)));
        const together = run(batch);
        expect(bits(concat(images.map(run)))).toEqual(bits(together));
        expect(bits(packed.forward(values(batch)))).toEqual(bits(together));
        for (const [i, x] of images.entries())
          expect(bits(packed.forward(values(x)))).toEqual(bits(run(images[i])));
        train(model);
        expect(bits(concat(images.map(run)))).toEqual(bits(run(batch)));
        const empty = batch.slice([[0, 0]]);
        expect(packed.forward(values(empty)).shape).toEqual(run(empty).shape);
      },
    );
  });
});
