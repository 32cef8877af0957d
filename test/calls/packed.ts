/** A right call of everything that `bitgrad/packed` exports. */

import { Gpt } from "bitgrad/models";
import { evaluate } from "bitgrad/nn";
import * as packed from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { call, each, given, list, small, type Table, times } from "./call.ts";

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
  ...made(
    "PackedBatchNorm",
    () => ({ mean: new Float32Array(2), factor: new Float32Array(2), bias: null }),
    "batchNorm",
  ),
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
  ...made(
    "PackedPool",
    () => ({ type: "max", ...windows(), ceilMode: false, countIncludePad: true }),
    "pool",
  ),
  ...made(
    "PackedConvTranspose2d",
    () => ({ weight: weight(), bias: null, ...windows([1, 3]), outputPadding: [0, 0], groups: 1 }),
    "convTranspose2d packed",
  ),
  ...each(
    "PackedAttention PackedBlock PackedConv1d PackedConv2d PackedFeedForward PackedLanguage PackedSeq2Seq PackedWeight",
    "made of the fields of a file, which their readers' tests break",
  ),
  ...each(
    "PackedAttention.forward PackedAttention.rotated PackedBatchNorm.at PackedBatchNorm.forward PackedBlock.forward \
PackedBlock.residual PackedConv1d.float PackedConv1d.forward PackedConv1d.geometry PackedConv2d.float PackedConv2d.forward \
PackedConv2d.geometry PackedEmbedding.forward PackedFeedForward.forward PackedFunction.forward PackedLanguage.embedded \
PackedLanguage.encode PackedLanguage.forward PackedLanguage.pool PackedLinear.forward PackedNorm.forward \
PackedSeq2Seq.forward PackedSequential.forward PackedWeight.bitFilters PackedWeight.readRow PackedCache \
PackedCache.append PackedCache.truncate PackedBranch.forward PackedPReLU.forward PackedSubsample.forward \
PackedFlatten.forward PackedPool.forward PackedPool.windows PackedConvTranspose2d.forward".replace(
      /\s+/g,
      " ",
    ),
    "runs in a PackedModel, which checks what it is given",
  ),
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

export const table: Table = { ...layers, ...fields, ...models };
