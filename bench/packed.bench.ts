/**
 * Decoding of a packed GPT of 19 M parameters (dim 512, 8 heads, 6 layers) beside the float32 model it was made of, token by
 * token with a cache, one thread; and a packed convolution, four with batch norms, and a ResNet, quantizing included: `npm run
 * bench -- packed [--write]`. Packed models give other numbers, which the tests hold to those of their frozen twins.
 */

import { noGrad, Rng, randn, scope, type Tensor } from "../src/index.ts";
import { Gpt, ResNet } from "../src/models/index.ts";
import { BatchNorm2d, Conv2d, clone, evaluate, Sequential } from "../src/nn/index.ts";
import {
  binaryDynamic,
  binarySigns,
  freeze,
  int4Dynamic,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "../src/quant/index.ts";
import { pair, showRatio, writeResults } from "./pair.ts";
import { type Bounds, besideFloat, type ComparedRow, free, writePage } from "./table.ts";

const packedOf = (model: object, config: QuantConfig) =>
  pack(evaluate(freeze(prepare(clone(model), plan({ default: config })))));

/** With how many times as fast as float32 decoding has to be. */
const configs: [name: string, config: QuantConfig, decode: Bounds][] = [
  ["int8 x int8", int8Dynamic(), [1.8, 3]],
  ["int4, groups of 32 x int8", int4Dynamic(), [2.5, 5]],
  ["int4, groups of 32 x float32", int4WeightOnly(), free],
  ["ternary x int8", ternaryDynamic(), free],
  ["1 bit x int8", binaryDynamic(), [3, 8]],
  ["1 bit x 1 bit", binarySigns(), [3, 8]],
];
const tokens = 24;
const results: ComparedRow[] = [];
const none = () => [] as number[];

const gpt = evaluate(
  new Gpt({ vocabulary: 256, context: 128, dim: 512, layers: 6, heads: 8, rng: new Rng("gpt") }),
);
const decode = (model: Pick<Gpt, "generate">) => () =>
  void model.generate([32], { maxTokens: tokens, temperature: 0 });
for (const [name, config, bounds] of configs) {
  const packed = packedOf(gpt, config);
  const result = await pair(
    { name: "float32", run: decode(gpt), result: none },
    { name, run: decode(packed), result: none },
    { tolerance: 0, rounds: 7, milliseconds: 100 },
  );
  const speed = (seconds: number) => `${(tokens / seconds).toFixed(0)} tokens/s`;
  console.log(name.padEnd(30), `float32 ${speed(result.a)}, packed ${speed(result.b)}`, showRatio(result));
  const title = `decode, ${name}, ${(packed.byteLength / 2 ** 20).toFixed(1)} MiB`;
  results.push(besideFloat(title, result, bounds, { unit: "tokens/s", work: tokens }));
  packed.dispose();
}

/** A model of images, packed, beside itself. */
async function image(
  title: string,
  model: Conv2d | Sequential | ResNet,
  x: Tensor,
  config: QuantConfig,
  bounds: Bounds,
) {
  const values = { data: x.data as Float32Array, shape: x.shape };
  const packed = packedOf(model, config);
  const result = await pair(
    { name: "float32", run: () => scope(() => void noGrad(() => model.forward(x))), result: none },
    { name: "packed", run: () => void packed.forward(values), result: none },
    { tolerance: 0, rounds: 9, milliseconds: 50 },
  );
  console.log(title.padEnd(50), showRatio(result));
  results.push(besideFloat(title, result, bounds, { unit: "ms", work: 1 }));
  packed.dispose();
}

const x = randn([1, 64, 56, 56], { rng: new Rng("x") });
const rng = new Rng("chain");
const link = () => new Conv2d(64, 64, 3, { padding: 1, bias: false, rng });
const norm = () => new BatchNorm2d(64);
const chain = evaluate(new Sequential(link(), norm(), link(), norm(), link(), norm(), link()));
const conv = evaluate(new Conv2d(64, 64, 3, { padding: 1, rng: new Rng("conv") }));
const resnet = evaluate(new ResNet({ ...ResNet.configs.resnet20, rng: new Rng("resnet") }));
const pictures = randn([8, 3, 32, 32], { rng: new Rng("pictures") });
await image("conv2d 3 x 3, int8 x int8", conv, x, int8Dynamic(), free);
await image("conv2d 3 x 3, 1 bit x 1 bit", conv, x, binarySigns(), [4, 7]);
await image("4 conv2d 3 x 3 with batch norms, 1 bit x 1 bit", chain, x, binarySigns(), free);
await image("ResNet-20, 8 pictures, int8 x int8", resnet, pictures, int8Dynamic(), free);
await image("ResNet-20, 8 pictures, ternary x int8", resnet, pictures, ternaryDynamic(), free);
await image("ResNet-20, 8 pictures, 1 bit x 1 bit", resnet, pictures, binarySigns(), free);
if (process.argv.includes("--write")) {
  writeResults("packed", results);
  writePage();
}
