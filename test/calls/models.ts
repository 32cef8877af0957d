/** A right call of everything that `bitgrad/models` exports. */

import { ones, Rng, type Tensor } from "bitgrad";
import * as models from "bitgrad/models";
import {
  type Call,
  call,
  choice,
  count,
  exact,
  flag,
  fn,
  given,
  index,
  list,
  optional,
  type Place,
  parameter,
  positive,
  share,
  type Table,
  text,
  times,
} from "./call.ts";

const rng = given(() => new Rng(1), "null");
const config = { vocabulary: 5, context: 4, dim: 4, layers: 1, heads: 2 };
const shape = { vocabulary: count(5), dim: count(4), layers: count(1), heads: count(2, "list") };
const headSize = count(2, "null");
const tuned = { eps: positive(1e-5), dropout: share(0.1), rng };
const feedForward = count(8, "null list");
const needs = "vocabulary dim layers heads";
const inner = "MultiHeadAttention TransformerEncoderLayer FeedForward init.normal init.truncNormal";

const gpt = () => new models.Gpt(config);
const bert = () => new models.Bert({ vocabulary: 5, dim: 4, layers: 1, heads: 2 });
const llama = () => new models.Llama({ ...config, feedForward: 8 });
const transformer = () => new models.Transformer({ vocabulary: 5, dim: 4, layers: 1, heads: 2 });

const ids = exact(() => index([[1, 2, 3]]));
// Broadcast.
const mask = exact(() => ones([1, 3]).greater(0), "null dtype flag negative fraction huge");
const language = {
  mask,
  headMask: exact(() => ones([1, 2]), "null dtype"),
  capture: given(() => ({ hidden: [] }), "null object"),
  rng,
};
const causal = (make: () => models.Gpt) => ({ ...language, cache: given(() => make().newCache(), "null") });
const run = (make: () => object, method: string): Pick<Call, "run">["run"] =>
  ((...args: never[]) => {
    const made = (make() as Record<string, (...all: never[]) => Iterable<unknown>>)[method](...args);
    return method === "stream" ? [...made] : made;
  }) as never;
const told = (name: string) => `${name} model MultiHeadAttention scaledDotProductAttention embedding`;
const sampling = { temperature: positive(1), topK: count(2, "null huge"), topP: share(0.5, "null"), rng };
const generated = { ...sampling, maxTokens: times(1), stop: given(() => 4, "null list") };
const onToken = fn(() => {}, "null");
const prompt = list(() => [1, 2]);

const states = exact(() => ones([1, 3, 4]), "dtype");
const causals = (name: string, make: () => models.Gpt): Table => ({
  [`${name}.forward`]: call([ids], causal(make), { run: run(make, "forward") as never, says: told(name) }),
  [`${name}.embed`]: call(
    [ids],
    { cache: causal(make).cache, rng },
    { run: run(make, "embed") as never, says: told(name) },
  ),
  [`${name}.runBlocks`]: call([states], causal(make), {
    run: run(make, "runBlocks") as never,
    says: told(name),
  }),
  [`${name}.finish`]: call([states], null, {
    run: run(make, "finish") as never,
    says: `${told(name)} layerNorm rmsNorm linear`,
  }),
  [`${name}.stream`]: call([prompt], generated, {
    needs: "maxTokens",
    run: run(make, "stream") as never,
    says: "generate embedding",
  }),
  [`${name}.generate`]: call(
    [prompt],
    { ...generated, onToken },
    {
      needs: "maxTokens",
      run: run(make, "generate") as never,
      says: "generate embedding",
    },
  ),
});

const image = (size: number, channels = 3) => exact(() => ones([2, channels, size, size]), "dtype");
const picture = (name: string, make: () => object, method: string, x: Place): Call =>
  call([x], null, {
    run: run(make, method) as never,
    says: `${name} Conv2d conv2d batchNorm Residual GlobalAvgPool2d Linear linear`,
  });
const parts = (name: string, make: () => object, width: number, last: number): Table => ({
  [`${name}.embed`]: picture(name, make, "embed", image(8, 3)),
  [`${name}.runBlocks`]: picture(name, make, "runBlocks", image(8, width)),
  [`${name}.finish`]: picture(name, make, "finish", image(2, last)),
});
const pictures = (
  name: string,
  make: () => { forward(x: Tensor): Tensor },
  size: number,
  channels?: number,
): Table => ({
  [`${name}.forward`]: picture(name, make, "forward", image(size, channels)),
});

export const table: Table = {
  Gpt: call(
    [],
    {
      ...shape,
      context: count(4),
      headSize,
      feedForward,
      norm: choice("post"),
      activation: choice("gelu"),
      bias: flag(false),
      tied: flag(false),
      initStd: positive(0.1),
      ...tuned,
    },
    { needs: `${needs} context`, says: inner },
  ),
  ...causals("Gpt", gpt),
  Llama: call(
    [],
    {
      ...shape,
      context: count(4),
      headSize,
      kvHeads: count(1, "null list"),
      feedForward: count(8, "list"),
      ropeBase: positive(100),
      ropeStyle: choice("half"),
      tied: flag(false),
      initStd: positive(0.1),
      ...tuned,
    },
    { needs: `${needs} context feedForward`, says: inner },
  ),
  ...causals("Llama", llama as never),
  Bert: call(
    [],
    {
      ...shape,
      context: count(4),
      segments: count(2),
      headSize,
      feedForward,
      head: choice("classifier"),
      classes: count(3),
      initStd: positive(0.1),
      ...tuned,
    },
    { needs, says: inner },
  ),
  ...Object.fromEntries(
    ["forward", "encode"].map((method) => [
      `Bert.${method}`,
      call(
        [ids],
        { ...language, segments: exact(() => index([[0, 0, 1]]), "null") },
        {
          run: run(bert, method) as never,
          says: told("Bert"),
        },
      ),
    ]),
  ),
  "Bert.embed": call(
    [ids],
    { segments: exact(() => index([[0, 0, 1]]), "null"), rng },
    { run: run(bert, "embed") as never, says: told("Bert") },
  ),
  "Bert.runBlocks": call([states], language, { run: run(bert, "runBlocks") as never, says: told("Bert") }),
  "Bert.finish": call(
    [exact(() => ones([1, 3, 4]), "dtype shape")],
    { rng },
    {
      run: run(bert, "finish") as never,
      says: told("Bert"),
    },
  ),
  "Bert.pool": call([exact(() => ones([1, 3, 4]), "dtype")], null, {
    run: run(bert, "pool") as never,
    says: "Bert select Linear linear",
  }),
  MaskedLmHead: call([given(parameter)], { eps: positive(1e-5) }, { needs: "eps" }),
  "MaskedLmHead.forward": call([exact(() => ones([1, 3]), "dtype shape")], null, {
    run: run(() => new models.MaskedLmHead(parameter(), { eps: 1e-5 }), "forward") as never,
    says: "linear Linear",
  }),
  Transformer: call(
    [],
    { ...shape, headSize, feedForward, sourcePositions: flag(false), ...tuned },
    { needs, says: inner },
  ),
  "Transformer.embed": call(
    [ids],
    { stack: choice("decoder"), cache: given(() => transformer().newCache(), "null"), rng },
    { run: run(transformer, "embed") as never, says: told("Transformer") },
  ),
  "Transformer.runEncoder": call([states], language, {
    run: run(transformer, "runEncoder") as never,
    says: told("Transformer"),
  }),
  "Transformer.finish": call([states], null, {
    run: run(transformer, "finish") as never,
    says: `${told("Transformer")} linear`,
  }),
  "Transformer.forward": call(
    [ids, ids],
    {
      sourceMask: mask,
      capture: given(() => ({ encoder: {} }), "null object"),
      rng,
    },
    { run: run(transformer, "forward") as never, says: told("Transformer") },
  ),
  "Transformer.encode": call([ids], language, {
    run: run(transformer, "encode") as never,
    says: told("Transformer"),
  }),
  ...Object.fromEntries(
    ["decode", "runDecoder"].map((method) => [
      `Transformer.${method}`,
      call(
        [method === "decode" ? ids : states, states],
        {
          ...language,
          memoryMask: mask,
          memoryHeadMask: language.headMask,
          memoryCapture: language.capture,
          cache: given(() => transformer().newCache(), "null"),
        },
        { run: run(transformer, method) as never, says: `${told("Transformer")} TransformerDecoderLayer` },
      ),
    ]),
  ),
  ResNet: call(
    [],
    {
      blocks: count(1),
      classes: count(2),
      width: count(2),
      channels: count(1),
      hidden: count(2, "null list"),
      rng,
    },
    { needs: "blocks" },
  ),
  ...pictures("ResNet", () => new models.ResNet({ blocks: 1, width: 2 }), 8),
  ...parts("ResNet", () => new models.ResNet({ blocks: 1, width: 2 }), 2, 8),
  ...parts("ResNet8", () => new models.ResNet8(), 16, 64),
  ResNet8: call([], { classes: count(2), hidden: count(2, "list"), rng }),
  ...pictures("ResNet8", () => new models.ResNet8(), 8),
  ResNetBlock: call([count(2), count(4), count(2), optional(rng), optional(count(3))], null, {
    says: "Conv2d",
  }),
  ...pictures("ResNetBlock", () => new models.ResNetBlock(2, 2, 1, null), 4, 2),
  mlp: call(
    [list(() => [3, 4, 2])],
    { activation: choice("gelu"), bias: flag(true), rng },
    { says: "Linear" },
  ),
  MnistCnn: call([], { channels: count(2, "list"), hidden: count(3), rng }),
  ...pictures("MnistCnn", () => new models.MnistCnn(), 28, 1),
  generate: call([given(gpt), prompt], { ...generated, onToken }, { needs: "maxTokens", says: "embedding" }),
  stream: call([given(gpt), prompt], generated, {
    needs: "maxTokens",
    run: (model: never, start: number[], options: never) => [...models.stream(model, start, options)],
    says: "generate embedding",
  }),
  sampleToken: call([list(() => [1, 2], "list", "negative fraction huge")], sampling),
  gptNames: call([text("wte.weight")]),
  readLlama2c: call([given(() => new Uint8Array(28))], null, {
    run: (bytes: Uint8Array) =>
      bytes instanceof Uint8Array && bytes.length === 28 ? null : models.readLlama2c(bytes),
  }),
};
