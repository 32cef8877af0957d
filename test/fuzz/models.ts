/** Small packed models with every kind of layer, and inputs for them. */

import { gelu, Rng, randn, relu } from "bitgrad";
import { Bert, Gpt, Llama, ResNet, ResNetBlock, Transformer } from "bitgrad/models";
import {
  AvgPool2d,
  BatchNorm2d,
  Conv1d,
  Conv2d,
  ConvTranspose2d,
  evaluate,
  Flatten,
  GroupNorm,
  LayerNorm,
  Linear,
  MaxPool2d,
  PReLU,
  Residual,
  Sequential,
  SqueezeExcite,
  Subsample,
} from "bitgrad/nn";
import type { Ids, PackedModel, Values } from "bitgrad/packed";
import {
  binaryDynamic,
  binarySigns,
  binaryWeightOnly,
  dynamicInput,
  freeze,
  int4Dynamic,
  int8Dynamic,
  int8WeightOnly,
  nf4WeightOnly,
  pack,
  plan,
  prepare,
  type QuantConfig,
  type SpecOptions,
  signInput,
  ste,
  ternaryDynamic,
} from "bitgrad/quant";

export interface Sample {
  readonly name: string;
  readonly model: PackedModel;
  readonly input: Values | Ids;
  readonly told?: object;
}

const rng = (seed: number) => ({ rng: new Rng(seed) });

function sample(name: string, model: object, config: QuantConfig, shape: number[] | Ids): Sample {
  const packed = pack(evaluate(freeze(prepare(model, plan({ default: config })))));
  if (!Array.isArray(shape)) return { name, model: packed, input: shape };
  const { data } = randn(shape, rng(3));
  return { name, model: packed, input: { data: data.slice() as Float32Array, shape } };
}

/** Codes with zero points; two bits at ±1/4 and ±3/4. */
const affine = (options: Partial<SpecOptions>) => ste({ bits: 4, scheme: "affine", ...options });
const between = (granularity: SpecOptions["granularity"]) =>
  ste({ bits: 2, scheme: "codebook", codebook: [-0.75, -0.25, 0.25, 0.75], granularity });

const rows = () => new Sequential(new Linear(9, 17, rng(1)), relu, new Linear(17, 5, rng(2)));
const signs = () =>
  new Sequential(
    new Conv2d(3, 8, 3, { padding: 1, ...rng(1) }),
    new BatchNorm2d(8),
    new Conv2d(8, 8, 3, { stride: 2, ...rng(2) }),
    new Conv2d(8, 2, 1, rng(3)),
  );
const images = () =>
  new Sequential(
    new Conv2d(2, 4, 3, { padding: 1, ...rng(1) }),
    new GroupNorm(2, 4),
    new PReLU(4),
    new Conv2d(4, 4, 3, { groups: 4, dilation: 2, ...rng(2) }),
    gelu,
    new LayerNorm(2),
  );
const pools = () =>
  new Sequential(
    new MaxPool2d(3, { stride: 1, padding: 1, dilation: 2 }),
    new AvgPool2d(2, { padding: [1, 0], ceilMode: true, countIncludePad: false }),
    new Flatten({ startDim: -2 }),
    new Linear(4, 5, rng(1)),
    new Flatten(),
  );
const branches = () =>
  new Sequential(
    new Residual(new Conv2d(2, 4, 3, { stride: 2, padding: 1, ...rng(1) }), {
      shortcut: new Subsample({ stride: 2, channels: [1, 1] }),
    }),
    new Residual(new Conv2d(4, 4, 1, { groups: 2, ...rng(2) }), { join: "product" }),
  );
const transposed = () =>
  new Sequential(
    new ConvTranspose2d(4, 6, 3, { stride: 2, padding: [1, 0], outputPadding: 1, groups: 2, ...rng(1) }),
    relu,
    new ConvTranspose2d(6, 2, [1, 2], { dilation: [1, 3], bias: false, ...rng(2) }),
  );
const ids = (...data: number[]): Ids => ({ data, shape: [1, data.length] });

export const samples = (): Sample[] => [
  sample("int8", rows(), int8Dynamic(), [2, 9]),
  sample("int4 in groups", rows(), int4Dynamic({ group: 4 }), [2, 9]),
  sample("ternary", rows(), ternaryDynamic(), [2, 9]),
  sample("1 bit", rows(), binaryDynamic(), [2, 9]),
  sample(
    "signs",
    new Sequential(new Linear(9, 17, rng(1)), new Linear(17, 5, rng(2))),
    binarySigns(),
    [2, 9],
  ),
  sample("uint8 with zero points", rows(), { weight: affine({ bits: 8 }), input: dynamicInput() }, [2, 9]),
  sample(
    "uint4 with zero points in groups",
    rows(),
    { weight: affine({ granularity: { group: 4 } }), input: dynamicInput() },
    [2, 9],
  ),
  sample("2 bits without 0, of one scale", rows(), { weight: between("tensor"), input: signInput() }, [2, 9]),
  sample(
    "float zero points",
    rows(),
    { weight: affine({ zeroPoint: "float", granularity: { group: 4 } }) },
    [2, 9],
  ),
  sample("convolutions of groups", images(), int4Dynamic({ group: 5 }), [1, 2, 6, 6]),
  sample(
    "convolutions of groups without 0",
    images(),
    { weight: between({ group: 7 }), input: dynamicInput() },
    [1, 2, 6, 6],
  ),
  sample(
    "convolutions with zero points",
    images(),
    { weight: affine({}), input: dynamicInput() },
    [1, 2, 6, 6],
  ),
  sample("NF4", rows(), nf4WeightOnly({ group: 4 }), [2, 9]),
  sample("1 bit, weights only", rows(), binaryWeightOnly(), [2, 9]),
  sample("convolutions of signs", signs(), binarySigns(), [1, 3, 6, 5]),
  sample("convolutions of int8", images(), int8Dynamic(), [1, 2, 6, 6]),
  sample(
    "convolution of rows",
    new Sequential(new Conv1d(3, 4, 3, { padding: 1, ...rng(1) })),
    int8Dynamic(),
    [1, 3, 7],
  ),
  sample("windows that are no products", pools(), int8Dynamic(), [2, 2, 5, 6]),
  sample("branches", branches(), int4Dynamic({ group: 3 }), [1, 2, 5, 5]),
  sample(
    "branches with zero points",
    branches(),
    { weight: affine({}), input: dynamicInput() },
    [1, 2, 5, 5],
  ),
  sample("transposed convolutions", transposed(), int8WeightOnly(), [1, 4, 3, 3]),
  sample(
    "transposed convolutions in groups with zero points",
    transposed(),
    { weight: affine({ granularity: { group: 5 }, zeroPoint: "float" }) },
    [1, 4, 3, 3],
  ),
  sample("a residual block", new ResNetBlock(2, 4, 2, new Rng(1)), int8Dynamic(), [1, 2, 5, 5]),
  sample(
    "channels weighed by what they are",
    new Sequential(new SqueezeExcite(4, 2, rng(1)), new Linear(3, 2, rng(2))),
    int8WeightOnly(),
    [1, 4, 3, 3],
  ),
  sample(
    "a residual network",
    new ResNet({ blocks: 1, width: 2, rng: new Rng(1) }),
    ternaryDynamic(),
    [1, 3, 8, 8],
  ),
  {
    ...sample(
      "an encoder and a decoder",
      new Transformer({ vocabulary: 9, dim: 8, layers: 1, heads: 2, ...rng(1) }),
      int8Dynamic(),
      ids(1, 2, 3, 4),
    ),
    told: { target: ids(5, 6) },
  },
  sample(
    "gpt",
    new Gpt({ vocabulary: 11, context: 6, dim: 8, layers: 1, heads: 2, ...rng(1) }),
    int8Dynamic(),
    ids(1, 2, 3),
  ),
  sample(
    "llama",
    new Llama({
      vocabulary: 11,
      context: 6,
      dim: 8,
      feedForward: 12,
      layers: 1,
      heads: 2,
      kvHeads: 1,
      ...rng(1),
    }),
    int4Dynamic({ group: 4 }),
    ids(1, 2, 3),
  ),
  sample(
    "bert",
    new Bert({ vocabulary: 11, context: 6, dim: 8, layers: 1, heads: 2, ...rng(1) }),
    ternaryDynamic(),
    ids(1, 2, 3),
  ),
];
