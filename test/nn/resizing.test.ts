/** Interpolation, bags of embeddings and instance norm against values made with PyTorch 1.13 in double. */

import { arange, ones, randn, Rng, shapesOnly, tensor, type Tensor, zeros } from "bitgrad";
import {
  EmbeddingBag,
  evaluate,
  type InterpolateOptions,
  InstanceNorm2d,
  interpolate,
  Upsample,
} from "bitgrad/nn";
import { pack } from "bitgrad/quant";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const dtype = "float64";
const waves = (shape: readonly number[], phase: number): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.7 + phase) * 0.5),
    { shape, dtype },
  );
const near = (got: Tensor, want: readonly number[]) =>
  expectClose(got.flatten(), tensor([...want], { dtype }), { rtol: 1e-7, atol: 1e-8 });

const resized: { options: Partial<InterpolateOptions>; shape: number[]; value: number[]; grad: number[] }[] =
  [
    {
      options: { size: [5, 7] },
      shape: [1, 1, 5, 7],
      value: [
        0.420735492, 0.420735492, 0.495832405, 0.495832405, 0.33773159, 0.33773159, 0.0207903312, 0.420735492,
        0.420735492, 0.495832405, 0.495832405, 0.33773159, 0.33773159, 0.0207903312, -0.305928945,
        -0.305928945, -0.488765059, -0.488765059, -0.441727328, -0.441727328, -0.186938332, -0.305928945,
        -0.305928945, -0.488765059, -0.488765059, -0.441727328, -0.441727328, -0.186938332, 0.155770682,
        0.155770682, 0.42521831, 0.42521831, 0.494679123, 0.494679123, 0.331484615,
      ],
      grad: [
        1.44151837, 0.120236053, -1.40064601, -0.538820996, -1.29482407, 0.416615805, 1.43644607, 0.299627106,
        0.0386429414, -0.918352963, -0.3508226, 0.309417511,
      ],
    },
    {
      options: { size: [2, 3] },
      shape: [1, 1, 2, 3],
      value: [0.420735492, 0.495832405, 0.33773159, -0.305928945, -0.488765059, -0.441727328],
      grad: [
        0.454648713, 0.21368994, -0.127770551, 0.0, -0.409138556, -0.498082304, -0.352770163, 0.0, 0.0, 0.0,
        0.0, 0.0,
      ],
    },
    {
      options: { scaleFactor: 1.7 },
      shape: [1, 1, 5, 6],
      value: [
        0.420735492, 0.420735492, 0.495832405, 0.495832405, 0.33773159, 0.33773159, 0.420735492, 0.420735492,
        0.495832405, 0.495832405, 0.33773159, 0.33773159, -0.305928945, -0.305928945, -0.488765059,
        -0.488765059, -0.441727328, -0.441727328, -0.305928945, -0.305928945, -0.488765059, -0.488765059,
        -0.441727328, -0.441727328, 0.155770682, 0.155770682, 0.42521831, 0.42521831, 0.494679123,
        0.494679123,
      ],
      grad: [
        0.916013834, 0.398136646, -0.780673538, 0.0, -0.265423656, -0.942446038, -0.054946065, 0.0,
        0.278002114, 0.931489023, 0.0386429414, 0.0,
      ],
    },
    {
      options: { size: [5, 7], mode: "bilinear" },
      shape: [1, 1, 5, 7],
      value: [
        0.420735492, 0.447555818, 0.49046834, 0.416781998, 0.315092929, 0.133983638, 0.0207903312,
        0.130069717, 0.120042468, 0.103998869, 0.0639707213, 0.0196445118, -0.0307835781, -0.0623011342,
        -0.305928945, -0.371227557, -0.475705336, -0.465246193, -0.423528114, -0.277934402, -0.186938332,
        -0.0289091691, 0.00271016365, 0.0533010961, 0.0898707527, 0.120402178, 0.12268726, 0.124115436,
        0.155770682, 0.252001978, 0.405972051, 0.459948717, 0.483022373, 0.389768368, 0.331484615,
      ],
      grad: [
        0.962428755, 0.169947223, -0.895646285, -0.767744294, -0.39870092, 0.581557615, 0.838104026,
        0.0178459942, -0.394483387, -0.998370077, -0.298224299, 0.742322858,
      ],
    },
    {
      options: { size: [2, 3], mode: "bilinear" },
      shape: [1, 1, 2, 3],
      value: [0.240838326, 0.19627495, -0.00214038545, 0.0664085571, 0.228649989, 0.211661984],
      grad: [
        0.284155446, 0.136964817, 0.0641624087, -0.0798565944, 0.00948128289, -0.033652789, -0.0555715753,
        -0.100112649, -0.255711597, -0.237923184, -0.230877135, -0.220481352,
      ],
    },
    {
      options: { size: [5, 7], mode: "bilinear", alignCorners: true },
      shape: [1, 1, 5, 7],
      value: [
        0.420735492, 0.458283949, 0.495832405, 0.416781998, 0.33773159, 0.179260961, 0.0207903312,
        0.0574032735, 0.0304684733, 0.0035336732, -0.0242320978, -0.0519978688, -0.0675359347, -0.0830740006,
        -0.305928945, -0.397347002, -0.488765059, -0.465246193, -0.441727328, -0.31433283, -0.186938332,
        -0.0750791319, -0.0534262531, -0.0317733743, -0.00264873827, 0.0264758977, 0.0493745195, 0.0722731413,
        0.155770682, 0.290494496, 0.42521831, 0.459948717, 0.494679123, 0.413081869, 0.331484615,
      ],
      grad: [
        0.827093584, 0.172552869, -0.998940318, -0.570046238, -0.431110984, 0.619903067, 0.936849527,
        -0.0531160238, -0.218733773, -1.04732555, -0.323089558, 0.645000613,
      ],
    },
    {
      options: { scaleFactor: [1.5, 0.6], mode: "bilinear" },
      shape: [1, 1, 4, 2],
      value: [
        0.445767797, 0.33773159, 0.03944674, -0.0519978688, -0.264797504, -0.285659586, 0.143509746,
        0.338611381,
      ],
      grad: [
        0.260508959, 0.130254479, 0.00912066235, 0.0, -0.323918653, -0.161959326, -0.4503411, 0.0,
        -0.0784228679, -0.039211434, 0.182221541, 0.0,
      ],
    },
    {
      options: { size: 1, mode: "bilinear", alignCorners: true },
      shape: [1, 1, 1, 1],
      value: [0.420735492],
      grad: [0.454648713, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    },
  ];
const bags: {
  mode: "sum" | "mean" | "max";
  paddingIndex: number | null;
  value: number[];
  grad: number[];
  rows: number[];
}[] = [
  {
    mode: "sum",
    paddingIndex: null,
    value: [-0.340903578, -0.293120135, 0.0, 0.0, -0.272010555, -0.478317508, 0.764032481, 0.561697883],
    grad: [
      0.0, 0.0, -0.378401248, -0.499961629, -0.378401248, -0.499961629, 0.470365278, 0.250510428,
      0.0919640307, -0.249451201, 0.247056676, 0.468999988,
    ],
    rows: [-0.108602488, -0.400680129, 0.734397098, 0.124454424, -0.201450551, -0.743235579],
  },
  {
    mode: "sum",
    paddingIndex: 4,
    value: [-0.708102127, -0.355347347, 0.0, 0.0, -0.272010555, -0.478317508, 0.396833932, 0.499470671],
    grad: [
      0.0, 0.0, -0.378401248, -0.499961629, -0.378401248, -0.499961629, 0.470365278, 0.250510428, 0.0, 0.0,
      0.247056676, 0.468999988,
    ],
    rows: [-0.475801037, -0.462907341, 0.0, 0.0, -0.201450551, -0.743235579],
  },
  {
    mode: "mean",
    paddingIndex: null,
    value: [-0.113634526, -0.0977067118, 0.0, 0.0, -0.272010555, -0.478317508, 0.38201624, 0.280848941],
    grad: [
      0.0, 0.0, -0.126133749, -0.166653876, -0.126133749, -0.166653876, 0.235182639, 0.125255214, 0.10904889,
      -0.0413986621, 0.247056676, 0.468999988,
    ],
    rows: [-0.054301244, -0.200340065, 0.367198549, 0.0622272118, -0.100725276, -0.371617789],
  },
  {
    mode: "mean",
    paddingIndex: 4,
    value: [-0.354051063, -0.177673674, 0.0, 0.0, -0.272010555, -0.478317508, 0.396833932, 0.499470671],
    grad: [
      0.0, 0.0, -0.189200624, -0.249980814, -0.189200624, -0.249980814, 0.470365278, 0.250510428, 0.0, 0.0,
      0.247056676, 0.468999988,
    ],
    rows: [-0.475801037, -0.462907341, 0.0, 0.0, -0.100725276, -0.371617789],
  },
  {
    mode: "max",
    paddingIndex: null,
    value: [0.367198549, 0.107559994, 0.0, 0.0, -0.272010555, -0.478317508, 0.396833932, 0.499470671],
    grad: [
      0.0, 0.0, 0.0, 0.0, 0.0, -0.499961629, 0.470365278, 0.250510428, -0.378401248, 0.0, 0.247056676,
      0.468999988,
    ],
    rows: [0.367198549, 0.0622272118, 0.367198549, 0.0622272118, 0.070560004, -0.26491807],
  },
  {
    mode: "max",
    paddingIndex: 4,
    value: [-0.23230109, 0.107559994, 0.0, 0.0, -0.272010555, -0.478317508, 0.396833932, 0.499470671],
    grad: [
      0.0, 0.0, 0.0, 0.0, -0.378401248, -0.499961629, 0.470365278, 0.250510428, 0.0, 0.0, 0.247056676,
      0.468999988,
    ],
    rows: [-0.475801037, -0.462907341, 0.0, 0.0, 0.070560004, -0.26491807],
  },
];

describe("interpolate", () => {
  it.each(resized)("$options gives PyTorch's values and gradients", ({ options, shape, value, grad }) => {
    const x = waves([1, 1, 3, 4], 1);
    x.requiresGrad = true;
    const y = new Upsample(options).forward(x);
    expect(y.shape).toEqual(shape);
    near(y, value);
    y.mul(waves(shape, 2)).sum().backward();
    near(x.grad!, grad);
    const linear = (t: Tensor) => interpolate(t, options);
    gradcheck(linear, [x.detach()]);
    gradgradcheck((t) => linear(t).square(), [x.detach()]);
  });

  it("works along one axis and along three", () => {
    near(
      interpolate(waves([1, 1, 4], 1), { size: 6, mode: "linear" }),
      [0.420735492, 0.458283949, 0.469482269, 0.364081726, 0.179260961, 0.0207903312],
    );
    near(
      interpolate(waves([1, 1, 2, 2, 2], 1), { size: 3, mode: "trilinear" }),
      [
        0.420735492, 0.458283949, 0.495832405, 0.379233541, 0.318772455, 0.258311368, 0.33773159, 0.179260961,
        0.0207903312, 0.0574032735, 0.0304684733, 0.0035336732, 0.00270270234, -0.0185337307, -0.0397701637,
        -0.0519978688, -0.0675359347, -0.0830740006, -0.305928945, -0.397347002, -0.488765059, -0.373828137,
        -0.355839916, -0.337851696, -0.441727328, -0.31433283, -0.186938332,
      ],
    );
  });

  it.each([
    [49, 7, [0, 7, 14, 21, 28, 35, 42]],
    [3, 10, [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]],
    [10, 3, [0, 3, 6]],
    [5, 10, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]],
    [13, 4, [0, 3, 6, 9]],
  ])("takes PyTorch's nearest elements of %i for %i", (n, size, want) => {
    expect(
      interpolate(arange(n).reshape([1, 1, n]), { size })
        .flatten()
        .toArray(),
    ).toEqual(want);
  });

  it("keeps float32, takes integers, batches of none, shapes alone and thousands of rows", () => {
    expect(interpolate(ones([2, 1, 2, 2], { dtype: "uint8" }), { size: 3 }).dtype).toBe("float32");
    expect(interpolate(zeros([0, 3, 2, 2]), { scaleFactor: 2 }).shape).toEqual([0, 3, 4, 4]);
    expect(
      shapesOnly(() => interpolate(zeros([1, 3, 5, 4]), { scaleFactor: [2, 0.5], mode: "bilinear" })).shape,
    ).toEqual([1, 3, 10, 2]);
    const x = randn([2, 3, 4, 4], { rng: new Rng(1) });
    expect(interpolate(x, { size: 4, mode: "bilinear" }).toArray()).toEqual(x.toArray());
  });

  it.each([
    [
      () => interpolate(zeros([1, 1, 2]), {}),
      "interpolate: needs one of size and scaleFactor, got null and null",
    ],
    [
      () => interpolate(zeros([1, 1, 2]), { size: 2, scaleFactor: 2 }),
      "interpolate: needs one of size and scaleFactor",
    ],
    [
      () => interpolate(zeros([1, 1, 2]), { size: 2, mode: "bilinear" }),
      'interpolate: needs (N, C, …) with 2 of them for "bilinear", got (1, 1, 2)',
    ],
    [
      () => interpolate(zeros([1, 1, 2, 2]), { size: [2] }),
      "interpolate: needs one number for each of 2 spatial axes, got (2)",
    ],
    [() => interpolate(zeros([1, 1, 2, 2]), { scaleFactor: 0.1 }), "interpolate: an axis would be empty"],
    [
      () => new Upsample({ size: 2, alignCorners: true }),
      'Upsample: alignCorners is of linear modes, got "nearest"',
    ],
    [() => new Upsample({ scaleFactor: -1 }), "Upsample: scaleFactor must be finite and above 0, got -1"],
    [() => pack(new Upsample({ size: 2 })), "pack: the layer has no packed form, got Upsample"],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});

describe("EmbeddingBag", () => {
  const bag = (mode: "sum" | "mean" | "max", paddingIndex: number | null = null) => {
    const made = new EmbeddingBag(6, 2, { mode, paddingIndex, dtype });
    made.weight.assign(waves([6, 2], 3));
    return made;
  };
  const ids = tensor([1, 2, 4, 5, 4, 3], { dtype: "int32" });
  const offsets = [0, 3, 3, 4];

  it.each(bags)(
    "$mode without $paddingIndex is PyTorch's, and so is its gradient",
    ({ mode, paddingIndex, value, grad, rows }) => {
      const made = bag(mode, paddingIndex);
      const y = made.forward(ids, { offsets });
      near(y, value);
      y.mul(waves([4, 2], 4))
        .sum()
        .backward();
      near(made.weight.grad!, grad);
      near(
        made.forward([
          [1, 4],
          [4, 4],
          [0, 5],
        ]),
        rows,
      );
      expect(shapesOnly(() => made.forward(zeros([3, 5], { dtype: "int32" }))).shape).toEqual([3, 2]);
      expect(made.forward(zeros([2, 0], { dtype: "int32" })).toArray()).toEqual([
        [0, 0],
        [0, 0],
      ]);
    },
  );

  it("weighs the rows of sums, with a gradient for the weights", () => {
    const made = bag("sum");
    const weights = waves([6], 5);
    weights.requiresGrad = true;
    const y = made.forward(ids, { offsets, weights });
    near(y, [0.313489357, 0.195956942, 0.0, 0.0, -0.0991436368, -0.174339327, 0.341765224, 0.230478731]);
    y.mul(waves([4, 2], 4))
      .sum()
      .backward();
    near(
      made.weight.grad!,
      [
        0.0, 0.0, 0.181429071, 0.239712671, 0.104190048, 0.13766082, 0.187790306, 0.100014674, 0.212788877,
        0.0959376954, 0.0900483338, 0.170943236,
      ],
    );
    near(weights.grad!, [0.411479614, 0.0341271524, -0.170059607, -0.291532929, 0.188306013, 0.311779515]);
    gradcheck((w) => made.forward(ids, { offsets, weights: w }), [weights.detach()]);
  });

  it.each([
    [() => bag("mean").forward(ids), "EmbeddingBag: needs ids (B, L), or (n) with offsets, got (6) and none"],
    [
      () => bag("mean").forward([[1]], { offsets }),
      "EmbeddingBag: rows are bags already, got offsets for (1, 1)",
    ],
    [
      () => bag("mean").forward(ids, { offsets: [1, 2] }),
      "EmbeddingBag: offsets must ascend from 0, got 1 at index 0",
    ],
    [
      () => bag("mean").forward(ids, { offsets: [0, 3, 2] }),
      "EmbeddingBag: offsets must ascend from 0, got 2 at index 2",
    ],
    [
      () => bag("max").forward([[1]], { weights: [[1]] }),
      'EmbeddingBag: weights are of sums, got mode "max"',
    ],
    [() => bag("sum").forward([[6]]), "EmbeddingBag: index out of range, got 6"],
    [() => pack(bag("sum")), "pack: the layer has no packed form, got EmbeddingBag"],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});

describe("InstanceNorm2d", () => {
  it("is PyTorch's, with weights and without", () => {
    const norm = new InstanceNorm2d(2, { affine: true, dtype });
    norm.weight!.assign(waves([2], 1));
    norm.bias!.assign(waves([2], 2));
    near(
      norm.forward(waves([1, 2, 2, 2], 3)),
      [
        1.12904057, 0.489620945, 0.0876790091, 0.112254332, -0.527420546, 0.0649580331, 0.569163111,
        0.748059162,
      ],
    );
    near(
      new InstanceNorm2d(2).forward(waves([1, 2, 2, 2], 3)),
      [
        1.60288796, 0.083121658, -0.872210001, -0.813799614, -1.49467941, -0.299964071, 0.716922024,
        1.07772146,
      ],
    );
    expect(() => norm.forward(zeros([1, 3, 2, 2]))).toThrow(
      "InstanceNorm2d: needs (N, 2, H, W), got (1, 3, 2, 2)",
    );
  });

  it.each([false, true])("gives packed the same bits (affine: %s)", (affine) => {
    const norm = new InstanceNorm2d(3, { affine });
    norm.weight?.assign([0.5, -2, 1]);
    norm.bias?.assign([1, 0, 3]);
    const x = randn([2, 3, 4, 5], { rng: new Rng(1) });
    const got = pack(evaluate(norm)).forward({ data: x.data as Float32Array, shape: x.shape });
    expect(Array.from(got.data)).toEqual(Array.from(norm.forward(x).data));
  });
});
