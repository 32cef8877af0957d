/**
 * Frozen models in evaluation, computed in ops, beside their packed twins, whose results are the same bits: ResNet-8 on
 * pictures, and the GPT of `npm start` on a batch of texts. `npm run bench -- frozen [--write]` prints how many times as
 * long they take.
 */

import { noGrad, Rng, randint, randn, scope, type Tensor } from "../src/index.ts";
import { Gpt, ResNet8 } from "../src/models/index.ts";
import { evaluate } from "../src/nn/index.ts";
import type { PackedModel } from "../src/packed/index.ts";
import {
  binaryDynamic,
  binarySigns,
  calibrate,
  freeze,
  int4Dynamic,
  int8Dynamic,
  int8Static,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "../src/quant/index.ts";
import { type PairResult, pair, writeResults } from "./pair.ts";

interface Case {
  readonly name: string;
  readonly config: QuantConfig;
  readonly model: { forward(x: Tensor): unknown };
  readonly x: Tensor;
}

const pictures = [1, 8].map((batch) => randn([batch, 3, 32, 32], { rng: new Rng("pictures") }));
const texts = randint(0, 256, [8, 64], { dtype: "int32", rng: new Rng("texts") });
const images: Record<string, QuantConfig> = {
  "int8 x int8": int8Dynamic(),
  "int8 x uint8, static": int8Static(),
  "ternary x int8": ternaryDynamic(),
  "1 bit x 1 bit": binarySigns(),
};
const language: Record<string, QuantConfig> = {
  "int8 x int8": int8Dynamic(),
  "int4, groups of 32 x int8": int4Dynamic(),
  "ternary x int8": ternaryDynamic(),
  "1 bit x int8": binaryDynamic(),
};
const cases: Case[] = [
  ...Object.entries(images).flatMap(([name, config]) =>
    pictures.map((x) => ({
      name: `ResNet-8, ${name}, batch of ${x.shape[0]}`,
      config,
      model: new ResNet8({ rng: new Rng("resnet") }),
      x,
    })),
  ),
  ...Object.entries(language).map(([name, config]) => ({
    name: `GPT, ${name}`,
    config,
    model: new Gpt({ vocabulary: 256, context: 64, dim: 64, layers: 2, heads: 4, rng: new Rng("gpt") }),
    x: texts,
  })),
];

const results: (PairResult & { name: string })[] = [];
for (const { name, config, model, x } of cases) {
  prepare(model, plan({ default: config }));
  if (config.input?.().observer) await calibrate(model, [x]);
  const packed: PackedModel = pack(evaluate(freeze(model)));
  const input = { data: Float32Array.from(x.data), shape: x.shape };
  let one: ArrayLike<number> = [];
  let other: ArrayLike<number> = [];
  const result = await pair(
    {
      name: "frozen",
      run: () =>
        noGrad(() =>
          scope(() => {
            one = (model.forward(x) as Tensor).data.slice();
          }),
        ),
      result: () => one,
    },
    {
      name: "packed",
      run() {
        other = packed.forward(input).data;
      },
      result: () => other,
    },
    { tolerance: 0 },
  );
  console.log(name.padEnd(42), `${result.ratio.toFixed(2)} times the time of packed`);
  results.push({ name, ...result });
}
if (process.argv.includes("--write")) writeResults("frozen", results);
