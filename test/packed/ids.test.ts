import { noGrad, Rng, scope, tensor } from "bitgrad";
import { Dropout, Embedding, evaluate, Sequential } from "bitgrad/nn";
import { pack } from "bitgrad/quant";
import { expect, it } from "vitest";
import { bits } from "./twins.ts";

it("a sequence reads ids where its table stands behind steps that do nothing", () => {
  const nothing = () => new Dropout(0.5);
  const table = new Embedding(30, 16, { rng: new Rng(1) });
  const model = evaluate(new Sequential(new Sequential(nothing(), new Sequential()), nothing(), table));
  const x = tensor([[1, 2, 29]], { dtype: "int32" });
  const packed = pack(model);
  expect(bits(packed.forward({ data: [1, 2, 29], shape: [1, 3] }))).toEqual(
    bits(noGrad(() => scope(() => model.forward(x)))),
  );
  expect(() => packed.forward({ data: [0.5], shape: [1] })).toThrow(/ids lie in 0 … 29, got 0.5/);
});

it("its budget counts an id as the row that it becomes there", () => {
  const table = new Embedding(2, 2 ** 12, { rng: new Rng(1) });
  const packed = pack(evaluate(new Sequential(new Dropout(0.5), table, new Sequential())));
  const data = new Int32Array(2 ** 13);
  expect(packed.forward({ data, shape: [data.length] }).shape).toEqual([2 ** 13, 2 ** 12]);
});
