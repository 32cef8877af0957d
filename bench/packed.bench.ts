/**
 * Decoding of a packed GPT of 19 M parameters (dim 512, 8 heads, 6 layers) beside the float32 model it was made of, token by
 * token with a cache, one thread; and a packed convolution beside its float twin, quantizing included: `npm run bench -- packed
 * [--write]`. Packed models give other numbers, which the tests hold to those of their frozen twins.
 */

import { Rng, randn, scope } from "../src/index.ts";
import { Gpt } from "../src/models/index.ts";
import { Conv2d, clone, evaluate } from "../src/nn/index.ts";
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

const packedOf = (model: object, config: QuantConfig) =>
  pack(evaluate(freeze(prepare(clone(model), plan({ default: config })))));

const configs: [name: string, config: QuantConfig][] = [
  ["int8 x int8", int8Dynamic()],
  ["int4, groups of 32 x int8", int4Dynamic()],
  ["int4, groups of 32 x float32", int4WeightOnly()],
  ["ternary x int8", ternaryDynamic()],
  ["1 bit x int8", binaryDynamic()],
  ["1 bit x 1 bit", binarySigns()],
];
const tokens = 24;
const results = [];
const none = () => [] as number[];

const gpt = evaluate(
  new Gpt({ vocabulary: 256, context: 128, dim: 512, layers: 6, heads: 8, rng: new Rng("gpt") }),
);
const decode = (model: Pick<Gpt, "generate">) => () =>
  void model.generate([32], { maxTokens: tokens, temperature: 0 });
for (const [name, config] of configs) {
  const packed = packedOf(gpt, config);
  const result = await pair(
    { name: "float32", run: decode(gpt), result: none },
    { name, run: decode(packed), result: none },
    { tolerance: 0, rounds: 7, milliseconds: 100 },
  );
  const speed = (seconds: number) => `${(tokens / seconds).toFixed(0)} tokens/s`;
  console.log(name.padEnd(30), `float32 ${speed(result.a)}, packed ${speed(result.b)}`, showRatio(result));
  results.push({ name: `decode, ${name}`, bytes: packed.byteLength, ...result });
  packed.dispose();
}

const x = randn([1, 64, 56, 56], { rng: new Rng("x") });
const values = { data: x.data as Float32Array, shape: x.shape };
const conv = evaluate(new Conv2d(64, 64, 3, { padding: 1, rng: new Rng("conv") }));
for (const [name, config] of [configs[0], configs[5]]) {
  const packed = packedOf(conv, config);
  const result = await pair(
    { name: "float32", run: () => scope(() => void conv.forward(x)), result: none },
    { name, run: () => void packed.forward(values), result: none },
    { tolerance: 0, rounds: 9, milliseconds: 50 },
  );
  console.log(`conv2d 3 x 3, 64 channels, ${name}`.padEnd(44), showRatio(result));
  results.push({ name: `conv2d 3 x 3 at 56 x 56, 64 channels, ${name}`, ...result });
  packed.dispose();
}
if (process.argv.includes("--write")) writeResults("packed", results);
