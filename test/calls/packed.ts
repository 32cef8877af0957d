/** A right call of everything that `bitgrad/packed` exports. */

import { Gpt } from "bitgrad/models";
import { evaluate } from "bitgrad/nn";
import * as packed from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { call, count, each, flag, given, list, type Place, small, type Table, times } from "./call.ts";

const values = (shape: readonly number[]) => () => ({
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  shape,
});
const model = () => pack(evaluate(small()));
const text = () => pack(evaluate(new Gpt({ vocabulary: 5, context: 4, dim: 4, layers: 1, heads: 1 })));
const weight = () => packed.PackedWeight.ofFloats(new Float32Array(6), 2, 3);
const linear = () => ({ weight: weight(), bias: null, input: null });
const windows = (kernel = [2, 2]) => ({
  kernel,
  stride: [1, 1],
  dilation: [1, 1],
  padding: [
    [0, 0],
    [0, 0],
  ],
});

const pool = () => ({ type: "max", ...windows(), ceilMode: false, countIncludePad: true });
const transposed = () => ({
  weight: weight(),
  bias: null,
  ...windows([1, 3]),
  outputPadding: [0, 0],
  groups: 1,
});
const square = () =>
  new packed.PackedLinear({
    weight: packed.PackedWeight.ofFloats(new Float32Array(16), 4, 4),
    bias: null,
    input: null,
  });
const norm = () => ({ type: "layer", size: 4, axes: [4], eps: 0.1, weight: null, bias: null });
const batchNorm = () => ({ mean: new Float32Array(2), factor: new Float32Array(2), bias: null });
const conv = () => ({ ...linear(), ...windows([1, 1]), groups: 1 });
const attention = () => ({
  heads: 2,
  kvHeads: 1,
  rotary: null,
  query: square(),
  key: half(),
  value: half(),
  out: square(),
});
const half = () =>
  new packed.PackedLinear({
    weight: packed.PackedWeight.ofFloats(new Float32Array(8), 2, 4),
    bias: null,
    input: null,
  });
const feedForward = () => ({ activation: "relu", gate: null, up: square(), down: square() });
const block = (): Record<string, unknown> => ({
  norm: "pre",
  attention: new packed.PackedAttention(attention()),
  crossAttention: null,
  mlp: new packed.PackedFeedForward(feedForward()),
  norm1: new packed.PackedNorm(norm()),
  norm2: new packed.PackedNorm(norm()),
  norm3: null,
});
const crossed = () => ({
  ...block(),
  crossAttention: new packed.PackedAttention(attention()),
  norm3: new packed.PackedNorm(norm()),
});
const language = () => ({
  causal: true,
  context: null,
  token: new packed.PackedEmbedding({
    weight: packed.PackedWeight.ofFloats(new Float32Array(8), 2, 4),
  }),
  scale: 1,
  position: null,
  segment: null,
  inputNorm: null,
  blocks: [new packed.PackedBlock(block())],
  norm: null,
  pooler: null,
  head: null,
});
const seq2seq = () => ({
  encoder: new packed.PackedLanguage(language()),
  decoder: new packed.PackedLanguage({ ...language(), blocks: [new packed.PackedBlock(crossed())] }),
});
const codes: packed.CodedWeight = {
  rows: 2,
  columns: 3,
  bits: 8,
  signed: true,
  codes: new Uint8Array(6),
  scale: Float32Array.of(1),
  scaleType: "float32",
  group: null,
  codebook: null,
};

/** A layer made of fields, each of which is wrong in turn. */
const made = (name: string, fields: () => Record<string, unknown>, says: string): Table => ({
  [name]: call([given(fields, "shape dtype object")], null, { says }),
  ...Object.fromEntries(
    Object.keys(fields()).map((field) => [
      `${name}(${field})`,
      call([{ ...given(() => fields()[field], allowed[`${name}.${field}`]), items: null }], null, {
        run: (value: unknown) =>
          new (packed as unknown as Record<string, new (fields: object) => unknown>)[name]({
            ...fields(),
            [field]: value,
          }),
        says,
      }),
    ]),
  ),
});
const allowed: Record<string, string> = {
  "PackedLinear.bias": "null",
  "PackedLinear.input": "null",
  "PackedLinear.inputSteps": "undefined list",
  "PackedLinear.correction": "null undefined",
  "PackedHadamard.signs": "null undefined",
  "PackedCopyFeatures.copies": "list",
  "PackedConv1d.bias": "null",
  "PackedConv1d.input": "null",
  "PackedConv2d.bias": "null",
  "PackedConv2d.input": "null",
  "PackedAttention.rotary": "null",
  "PackedFeedForward.gate": "null undefined",
  "PackedBlock.crossAttention": "null undefined",
  // Read in decoders alone.
  "PackedBlock.norm3":
    "undefined null text flag nan negative fraction huge object list function class shape dtype",
  "PackedLanguage.causal": "flag",
  "PackedLanguage.context": "null",
  "PackedLanguage.scale": "fraction huge",
  "PackedLanguage.position": "null undefined",
  "PackedLanguage.segment": "null undefined",
  "PackedLanguage.inputNorm": "null undefined",
  "PackedLanguage.blocks": "list",
  "PackedLanguage.norm": "null undefined",
  "PackedLanguage.pooler": "null undefined",
  "PackedLanguage.head": "null undefined",
  "PackedBatchNorm.mean": "",
  "PackedBatchNorm.bias": "null",
  "PackedNorm.eps": "fraction huge",
  "PackedNorm.axes": "null undefined",
  "PackedNorm.weight": "null",
  "PackedNorm.bias": "null",
  "PackedSequential.steps": "list",
  "PackedPReLU.weight": "",
  "PackedBranch.shortcut": "null undefined",
  "PackedFlatten.startDim": "negative",
  "PackedFlatten.endDim": "negative",
  "PackedPool.ceilMode": "flag",
  "PackedPool.countIncludePad": "flag",
  "PackedConvTranspose2d.bias": "null",
};

const layers: Table = {
  ...made("PackedLinear", linear, "linear packed"),
  ...made("PackedEmbedding", () => ({ weight: weight() }), "embedding"),
  ...made(
    "PackedNorm",
    () => ({ type: "layer", size: 3, axes: [3], eps: 0.1, weight: null, bias: null }),
    "norm",
  ),
  ...made("PackedHadamard", () => ({ features: 3, block: 1, signs: null }), "hadamard"),
  ...made("PackedCopyFeatures", () => ({ features: 3, copies: [2] }), "copyFeatures"),
  ...made("PackedBatchNorm", batchNorm, "batchNorm"),
  ...made("PackedSequential", () => ({ steps: [new packed.PackedLinear(linear())] }), "sequential"),
  ...made("PackedFunction", () => ({ name: "relu" }), "function"),
  ...made("PackedPReLU", () => ({ weight: new Float32Array(2) }), "prelu"),
  ...made("PackedSubsample", () => ({ stride: 2, channels: [1, 1] }), "subsample"),
  ...made(
    "PackedBranch",
    () => ({ join: "sum", body: new packed.PackedLinear(linear()), shortcut: null }),
    "branch",
  ),
  ...made("PackedFlatten", () => ({ startDim: 1, endDim: -1 }), "flatten"),
  ...made("PackedPool", pool, "pool"),
  ...made("PackedConvTranspose2d", transposed, "convTranspose2d packed"),
  ...made("PackedConv1d", conv, "conv2d packed"),
  ...made("PackedConv2d", conv, "conv2d packed"),
  ...made("PackedAttention", attention, "attention attention.rotary"),
  ...made("PackedFeedForward", feedForward, "feedForward"),
  ...made("PackedBlock", block, "block"),
  ...made("PackedLanguage", () => ({ ...language(), context: 8 }), "language"),
  ...made("PackedSeq2Seq", seq2seq, "seq2seq"),
  "PackedWeight(ofFloats)": call([given(() => new Float32Array(6)), count(2), count(3)], null, {
    run: packed.PackedWeight.ofFloats as never,
    says: "PackedWeight",
  }),
  "PackedWeight(ofCodes)": call([given(() => codes)], null, {
    run: packed.PackedWeight.ofCodes as never,
    says: "PackedWeight",
  }),
  PackedWeight: "is made by ofFloats and ofCodes",
  PackedCache: call([]),
};

/** A layer that runs by itself. */
const runs = (
  name: string,
  make: () => { forward(x: never, call?: never): unknown },
  x: Place,
  options: Record<string, Place> | null = null,
  says = "",
  needs = "",
): Table => ({
  [`${name}.forward`]: call([x], options, {
    run: (...args: [never, never]) => make().forward(...args),
    says: `${name} ${says}`,
    ...(needs && { needs }),
  }),
});
const rows = (takes = "") => given(values([1, 2, 4]), takes);
const flags = (s: number, ...shape: number[]) =>
  given(() => ({ data: new Uint8Array(s).fill(1), shape: [1, ...shape, s] }), "null");
const ids = (takes = "") => given(() => ({ data: [0, 1], shape: [1, 2] }), takes);
const block1 = () => new packed.PackedBlock(block());
const encoder = () => new packed.PackedLanguage({ ...language(), pooler: square() });
const decoder = () =>
  new packed.PackedLanguage({ ...language(), blocks: [new packed.PackedBlock(crossed())] });
const told = {
  mask: flags(2),
  memory: given(values([1, 3, 4])),
  memoryMask: flags(3),
};
const caches = { cache: given(() => [new packed.PackedCache()], "null list"), last: flag(true) };

const steps: Table = {
  ...runs("PackedLinear", () => new packed.PackedLinear(linear()), given(values([2, 3]), "shape")),
  ...runs(
    "PackedEmbedding",
    () => new packed.PackedEmbedding({ weight: weight() }),
    given(() => ({ data: [0, 1], shape: [2] }), "shape dtype"),
  ),
  ...runs("PackedNorm", () => new packed.PackedNorm(norm()), rows()),
  ...runs(
    "PackedHadamard",
    () => new packed.PackedHadamard({ features: 4, block: 2, signs: null }),
    rows("shape"),
  ),
  ...runs(
    "PackedCopyFeatures",
    () => new packed.PackedCopyFeatures({ features: 4, copies: [0, 3] }),
    rows("shape"),
  ),
  ...runs("PackedBatchNorm", () => new packed.PackedBatchNorm(batchNorm()), given(values([1, 2]))),
  ...runs("PackedFunction", () => new packed.PackedFunction({ name: "relu" }), rows("shape")),
  ...runs(
    "PackedSequential",
    () => new packed.PackedSequential({ steps: [square()] }),
    rows(),
    null,
    "PackedLinear",
  ),
  ...runs("PackedConv2d", () => new packed.PackedConv2d(conv()), given(values([1, 3, 2, 2]))),
  ...runs(
    "PackedConv1d",
    () => new packed.PackedConv1d(conv()),
    // Of other channels is told of the convolution in two dimensions.
    { ...given(values([1, 3, 2])), tensor: true },
    null,
    "PackedConv2d",
  ),
  ...runs("PackedPool", () => new packed.PackedPool(pool()), given(values([1, 1, 2, 2]))),
  ...runs("PackedFlatten", () => new packed.PackedFlatten({ startDim: 1, endDim: 2 }), rows("shape")),
  ...runs("PackedPReLU", () => new packed.PackedPReLU({ weight: new Float32Array(2) }), rows()),
  ...runs(
    "PackedSubsample",
    () => new packed.PackedSubsample({ stride: 1, channels: [0, 0] }),
    given(values([1, 1, 2, 2])),
  ),
  ...runs(
    "PackedBranch",
    () => new packed.PackedBranch({ join: "sum", body: square(), shortcut: null }),
    rows(),
    null,
    "PackedLinear",
  ),
  ...runs(
    "PackedConvTranspose2d",
    () => new packed.PackedConvTranspose2d(transposed()),
    given(values([1, 2, 2, 2])),
  ),
  ...each("PackedConv1d.geometry PackedConv2d.geometry", {
    ...call([given(() => [1, 3, 2, 2])]),
    run: ((shape: number[]) => new packed.PackedConv2d(conv()).geometry(shape)) as never,
    says: ["PackedConv2d"],
  }),
  ...runs(
    "PackedAttention",
    () => new packed.PackedAttention(attention()),
    rows(),
    {
      causal: flag(true),
      mask: flags(2, 1, 1),
      context: given(values([1, 2, 4]), "null"),
      cache: given(() => new packed.PackedCache(), "null"),
    },
    "PackedLinear",
  ),
  ...runs(
    "PackedFeedForward",
    () => new packed.PackedFeedForward(feedForward()),
    rows(),
    null,
    "PackedLinear",
  ),
  ...runs(
    "PackedBlock",
    block1,
    rows(),
    { causal: flag(true), mask: flags(2, 1, 1), cache: given(() => new packed.PackedCache(), "null") },
    "PackedNorm PackedAttention",
  ),
  ...runs(
    "PackedLanguage",
    decoder,
    ids(),
    { ...told, ...caches },
    "PackedEmbedding PackedAttention PackedBlock",
    "memory",
  ),
  "PackedLanguage.encode": call(
    [ids()],
    { mask: flags(2) },
    {
      run: (...args: [never, never]) => encoder().encode(...args),
      says: "PackedLanguage PackedEmbedding PackedAttention",
    },
  ),
  "PackedLanguage.pool": call([{ ...rows(), tensor: true }], null, {
    run: (x: never) => encoder().pool(x),
    says: "PackedLanguage PackedLinear",
  }),
  ...runs(
    "PackedSeq2Seq",
    () => new packed.PackedSeq2Seq(seq2seq()),
    ids(),
    { target: ids(), sourceMask: flags(2) },
    "PackedEmbedding PackedLanguage PackedAttention",
    "target",
  ),
  "PackedWeight.readRow": call([given(() => new Float32Array(3)), count(1)], null, {
    run: (out: never, r: never) => weight().readRow(out, r),
    says: "PackedWeight",
  }),
  "PackedCache.append": call(
    [given(() => new Float32Array(4)), given(() => new Float32Array(4)), count(1), count(2), count(2)],
    null,
    {
      run: (...args: [never, never, never, never, never]) => new packed.PackedCache().append(...args),
      says: "PackedCache",
    },
  ),
  ...each(
    "PackedBlock.residual PackedLanguage.embedded PackedCache.truncate PackedPool.windows",
    "is private: called by methods that check",
  ),
  ...each("PackedBatchNorm.at PackedWeight.bitFilters", "is arithmetic of products, which have checked"),
};

const fields: Table = {
  ...each(
    "FieldReader FieldReader.take FieldReader.count FieldReader.number FieldReader.flag FieldReader.choice FieldReader.pair FieldReader.sides \
FieldReader.weight FieldReader.numbers FieldReader.floats FieldReader.value FieldReader.layer FieldReader.layers \
FieldReader.optionalLayer",
    "reads the fields that rows of layers get wrong",
  ),
};

const kinds = given(() => [packed.PackedLinear], "list");
const models: Table = {
  PackedModel: call([given(() => model().root)], { kinds }),
  "PackedModel.forward": call(
    [given(values([2, 3]), "shape")],
    {},
    { run: (x: never, options: never) => model().forward(x, options), says: "PackedLinear" },
  ),
  "PackedModel.warmUp": call(
    [given(values([2, 3]), "shape null")],
    {},
    { run: (x: never, options: never) => model().warmUp(x, options), says: "forward PackedLinear" },
  ),
  "PackedModel.reader": "is called by stream and generate",
  "PackedModel.generate": "as stream",
  "PackedModel.stream": call(
    [list(() => [1, 2])],
    { maxTokens: times(1) },
    {
      needs: "maxTokens",
      run: (prompt: number[], options: never) => [...text().stream(prompt, options)],
      says: "generate",
    },
  ),
  loadPacked: call([given(() => model().toBytes())], { kinds }, { says: "PackedModel" }),
};

export const table: Table = { ...layers, ...steps, ...fields, ...models };
