import {
  avgPool1d,
  avgPool2d,
  conv1d,
  conv2d,
  conv2dTranspose,
  grad,
  maxPool1d,
  maxPool2d,
  ones,
  type Tensor,
  tensor,
  unfold,
} from "bitgrad";
import { describe, expect, it } from "vitest";

const image = ones([1, 1, 6, 7]);

describe("pools of images", () => {
  it("of an empty batch give an empty batch", () => {
    expect(maxPool2d(ones([0, 1, 5, 5]), 3).shape).toEqual([0, 1, 1, 1]);
    expect(maxPool2d(ones([2, 0, 5, 5]), 3).shape).toEqual([2, 0, 1, 1]);
    expect(maxPool1d(ones([0, 1, 5]), 3).shape).toEqual([0, 1, 1]);
    expect(avgPool2d(ones([0, 1, 5, 5]), 3).shape).toEqual([0, 1, 1, 1]);
  });

  it("refuse windows of padding alone, which have no largest pixel", () => {
    const options = {
      kernelSize: [3, 2],
      padding: [
        [1, 0],
        [1, 1],
      ],
      dilation: 2,
      stride: 1,
    } as const;
    expect(() => maxPool2d(ones([1, 1, 5, 1]), options)).toThrow(
      /maxPool2d: every window must meet a pixel, got/,
    );
  });
});

describe("windows take a pair wherever they take a number", () => {
  it.each([
    ["a stride", conv2d(image, ones([1, 1, 2, 2]), null, { stride: [2, 3] }), [1, 1, 3, 2]],
    ["a dilation", conv2d(image, ones([1, 1, 2, 2]), null, { dilation: [2, 1] }), [1, 1, 4, 6]],
    ["a padding", conv2d(image, ones([1, 1, 2, 2]), null, { padding: [1, 0] }), [1, 1, 7, 6]],
    [
      "a padding of each side",
      conv2d(image, ones([1, 1, 2, 2]), null, {
        padding: [
          [1, 0],
          [0, 2],
        ],
      }),
      [1, 1, 6, 8],
    ],
    [
      "an output padding",
      conv2dTranspose(image, ones([1, 1, 2, 2]), null, { stride: 2, outputPadding: [1, 0] }),
      [1, 1, 13, 14],
    ],
    ["a kernel of unfold", unfold(image, { kernelSize: [2, 3] }), [1, 6, 25]],
    ["a kernel of maxPool2d", maxPool2d(image, { kernelSize: [2, 3], dilation: [1, 2] }), [1, 1, 3, 1]],
    ["a kernel of avgPool2d", avgPool2d(image, { kernelSize: [2, 3], padding: [1, 0] }), [1, 1, 4, 2]],
    ["sides of conv1d", conv1d(ones([1, 1, 6]), ones([1, 1, 3]), null, { padding: [2, 0] }), [1, 1, 6]],
    ["a kernel of maxPool1d", maxPool1d(ones([1, 1, 6]), { kernelSize: 2, padding: 1 }), [1, 1, 4]],
    ["a kernel of avgPool1d", avgPool1d(ones([1, 1, 6]), 3), [1, 1, 2]],
  ])("%s", (_, { shape }, wanted) => {
    expect(shape).toEqual(wanted);
  });
});

describe("a transpose padded by a stride and more", () => {
  it("leaves zeros where no window of its gradient reads", () => {
    const [x, w] = [
      tensor([
        [
          [
            [1, 2],
            [3, 4],
          ],
        ],
      ]),
      tensor([[[[1]]]]),
    ];
    const options = { dilation: 2, outputPadding: 1 };
    expect(conv2dTranspose(x, w, options).toArray()).toEqual([
      [
        [
          [1, 2, 0],
          [3, 4, 0],
          [0, 0, 0],
        ],
      ],
    ]);
    const loss = (a: Tensor, b: Tensor) => conv2dTranspose(a, b, options).square().sum();
    expect(grad(loss)(x, w).map((t) => [...t.data])).toEqual([[2, 4, 6, 8], [60]]);
    const twice = (a: Tensor) => grad((b: Tensor) => loss(a, b))(w).sum();
    expect([...grad(twice)(x).data]).toEqual([4, 8, 12, 16]);
  });
});

describe("convolutions without a bias", () => {
  it("take their options in its place", () => {
    const image = ones([1, 2, 5, 5]);
    const weight = ones([2, 1, 2, 2]);
    const options = { stride: 2, padding: 1, groups: 2 };
    for (const conv of [conv2d, conv2dTranspose]) {
      expect(conv(image, weight, options).toArray()).toEqual(conv(image, weight, null, options).toArray());
    }
    const line = ones([1, 2, 5]);
    expect(conv1d(line, ones([1, 2, 3]), { padding: 1 }).shape).toEqual([1, 1, 5]);
    expect(() => conv2d(image, weight, { strides: 2 } as never)).toThrow("conv2d: unknown option");
  });
});
