/** A model that is one layer, whose path is empty. */

import { Rng, randn } from "bitgrad";
import { Linear } from "bitgrad/nn";
import {
  allocateBits,
  gptq,
  int4WeightOnly,
  int8WeightOnly,
  plan,
  prepare,
  quantReport,
  sensitivity,
} from "bitgrad/quant";
import { expect, it } from "vitest";

const layer = () => new Linear(16, 4, { rng: new Rng(1) });
const prepared = () => prepare(layer(), plan({ default: int4WeightOnly({ group: 16 }) }));
const batches = [randn([8, 16], { rng: new Rng(2) })];
const choices = { int8: int8WeightOnly(), int4: int4WeightOnly({ group: 16 }) };

it.each<[string, () => Promise<object>]>([
  ["quantReport", () => quantReport(prepared(), batches)],
  ["sensitivity", () => sensitivity(layer(), batches, { choices })],
  ["allocateBits", () => allocateBits(layer(), batches, { choices, bits: 16 })],
])("is the model in the table of %s", async (_, make) => {
  expect(String(await make()).split("\n")[2]).toMatch(/^model +\S/);
});

it("is chosen by the path that is told of it", async () => {
  const told: string[] = [];
  const onLayer = ({ layer: path }: { layer: string }) => told.push(path);
  const { weight } = await gptq(prepared(), batches, { onLayer });
  const again = await gptq(prepared(), batches, { layers: told });
  expect(again.weight.effective().toArray()).toEqual(weight.effective().toArray());
  const [{ layer: path }] = (await quantReport(prepared(), batches)).layers;
  expect([...told, path]).toEqual(["", ""]);
  expect((await quantReport(prepared(), batches, { layers: path })).layers).toHaveLength(1);
});

it("is named where a pattern fits nothing", async () => {
  await expect(gptq(prepared(), batches, { layers: "fc" })).rejects.toThrow(
    'gptq: the pattern fits no linear layer or convolution, got "fc"; there are ""',
  );
});
