/** What is put into the fields of layers and parameters past `prepare` and `parametrize`. */

import { OptionError, randn } from "bitgrad";
import { Conv1d, Conv2d, Linear } from "bitgrad/nn";
import { int8Dynamic, pack, plan, prepare, quantizedTransform } from "bitgrad/quant";
import { expect, it } from "vitest";

const layers: readonly [string, () => Linear | Conv1d | Conv2d, shape: number[]][] = [
  ["Linear", () => new Linear(4, 2), [1, 4]],
  ["Conv1d", () => new Conv1d(1, 2, 3), [1, 1, 4]],
  ["Conv2d", () => new Conv2d(1, 2, 3), [1, 1, 4, 4]],
];

function expectRefused(run: () => unknown, message: string): void {
  expect(run).toThrow(OptionError);
  expect(run).toThrow(message);
}

it.each(layers)("%s refuses an inputQuantizer that is none", (name, make, shape) => {
  for (const junk of [{}, 3, "a", [], () => 1, new Map()]) {
    const layer = make();
    layer.inputQuantizer = junk as never;
    expectRefused(() => layer.forward(randn(shape)), `${name}: inputQuantizer must have a method run, got `);
    expectRefused(() => pack(layer), "pack: inputQuantizer must have a method toPacked, got ");
  }
  const layer = make();
  layer.inputQuantizer = { run: () => 3, toPacked: () => 3 } as never;
  expectRefused(() => layer.forward(randn(shape)), `${name}: inputQuantizer must give a tensor, got 3`);
  expect(() => pack(layer)).toThrow("got 3");
});

it.each(layers)("%s refuses a transform of its weight that is none", (_, make, shape) => {
  for (const junk of [null, undefined, {}, 3, { apply: 3 }]) {
    const layer = make();
    layer.weight.transforms.push({ apply: (weight) => weight }, junk as never);
    const what = "a transform needs an apply function, got ";
    expectRefused(() => layer.forward(randn(shape)), `effective: ${what}`);
    expectRefused(() => pack(layer), `pack: ${what}`);
    expectRefused(() => quantizedTransform(layer.weight), `quantizedTransform: ${what}`);
    expectRefused(() => prepare(layer, plan({ default: int8Dynamic() })), what);
  }
  const layer = make();
  layer.weight.transforms.push({ apply: () => 3 } as never);
  expectRefused(() => layer.forward(randn(shape)), "effective: a transform must give a tensor, got 3");
  expectRefused(() => pack(layer), "pack: a transform must give a tensor, got 3");
  Object.assign(layer.weight, { transforms: {} });
  expectRefused(() => layer.forward(randn(shape)), "effective: transforms must be a list, got Object");
});
