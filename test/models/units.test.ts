/** Units that models declare: without one, the model of the smaller config computes what this one does with it at 0. */

import { Rng, type Tensor, tensor } from "bitgrad";
import {
  evaluate,
  loadStateDict,
  namedParameters,
  type Place,
  placeIndices,
  stateDict,
  TransformerDecoderLayer,
  type Units,
} from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { bits, random } from "../packed/twins.ts";
import { type Net, nets } from "./nets.ts";

interface Declares {
  readonly config: object;
  units(): Units[];
}

const within = (shape: readonly number[], axis: number, i: number): number =>
  Math.floor(i / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % shape[axis];

/** Sets what a unit has of every parameter to 0; running statistics stay. */
function silence(model: object, places: readonly Place[], unit: number): void {
  const all = new Map(namedParameters(model));
  for (const place of places) {
    const parameter = all.get(place.name);
    if (!parameter) continue;
    const gone = new Set(placeIndices(place, unit));
    const data = parameter.value.data.map((value, i) =>
      gone.has(within(parameter.shape, place.axis, i)) ? 0 : value,
    ) as Float32Array;
    parameter.assign(tensor(data).reshape(parameter.shape));
  }
}

/** The configuration in which `units` have one less: every size per layer as the model's units have it. */
function narrowed(model: Declares, units: Units): object {
  const config = structuredClone(model.config) as Record<string, unknown>;
  for (const { name, kind, sizes, layer, count, keeps } of model.units()) {
    const kept = name === units.name && kind === units.kind ? count - 1 : count;
    for (const [path, each] of Object.entries(sizes)) {
      const [key, inner] = path.split(".");
      if (inner && (typeof config[key] !== "object" || Array.isArray(config[key]))) config[key] = {};
      const owner = inner ? (config[key] as Record<string, unknown>) : config;
      if (layer === null) owner[inner ?? key] = kept * each;
      else {
        const before = owner[inner ?? key];
        const list = Array.isArray(before) ? before : [];
        list[layer] = kept * each;
        owner[inner ?? key] = list;
      }
    }
    Object.assign(config, keeps);
  }
  return config;
}

/** A tensor without what a unit has of it along the axis of its place. */
function without(x: Tensor, place: Place | undefined, unit: number): Tensor {
  if (!place) return x;
  const gone = new Set(placeIndices(place, unit));
  const rest = Array.from({ length: x.shape[place.axis] }, (_, i) => i).filter((i) => !gone.has(i));
  return x.indexSelect(tensor(rest, { dtype: "int32" }), { axis: place.axis });
}

const declared = (net: Net): Units[] => (net.make() as Declares).units();
const label = ({ name, kind }: Units): string => `${kind} of ${name}`;

describe.each(Object.entries(nets))("a %s", (_, net) => {
  // The last unit of a layer stays: no size of a config is 0.
  const all = declared(net)
    .filter(({ count }) => count > 1)
    .map((units): [string, Units] => [label(units), units]);

  it.each(all)("without one of the %s is that of a smaller config", (_, units) => {
    let changed = 0;
    for (const unit of new Set([0, Math.floor(units.count / 2), units.count - 1])) {
      const model = net.make() as Declares;
      const before = net.run(model);
      silence(model, units.places, unit);
      const silent = net.run(model);
      if (`${bits(silent)}` !== `${bits(before)}`) changed++;

      const Model = model.constructor as new (config: object) => Declares;
      const small = evaluate(new Model(narrowed(model, units)));
      const places = new Map(units.places.map((place) => [place.name, place]));
      const state = Object.entries(stateDict(net.make())).map(([name, value]): [string, Tensor] => [
        name,
        without(value, places.get(name), unit),
      ]);
      loadStateDict(small, Object.fromEntries(state));
      expectClose(net.run(small), silent, { rtol: 1e-4, atol: 1e-4 });
      const left = small.units().find((other) => label(other) === label(units));
      expect(left?.count).toBe(units.count - 1);
    }
    expect(changed).toBeGreaterThan(0);
  });

  it("declares plain data, whose units share every axis of their places among them", () => {
    expect(JSON.parse(JSON.stringify(declared(net)))).toEqual(declared(net));
    const state = stateDict(net.make());
    for (const { places, count } of declared(net)) {
      for (const place of places) {
        const indices = Array.from({ length: count }, (_, unit) => placeIndices(place, unit)).flat();
        const length = state[place.name].shape[place.axis];
        expect(indices.sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
      }
    }
  });
});

it("models declare the units that they have, with the sizes that follow from them", () => {
  const texts = (name: string) =>
    declared(nets[name]).map((units) =>
      `${label(units)}: ${units.count}, ${JSON.stringify(units.sizes)} ${units.layer}`.replaceAll('"', ""),
    );
  const found = Object.fromEntries(["Llama", "Transformer", "ResNet", "MnistCnn"].map((n) => [n, texts(n)]));
  expect(found).toEqual({
    Llama: [
      "heads of blocks.0.attention: 3, {heads:2,kvHeads:1} 0",
      "neurons of blocks.0.mlp: 5, {feedForward:1} 0",
      "heads of blocks.1.attention: 2, {heads:2,kvHeads:1} 1",
      "neurons of blocks.1.mlp: 6, {feedForward:1} 1",
    ],
    Transformer: [
      "heads of encoder.0.attention: 2, {heads.encoder:1} 0",
      "neurons of encoder.0.mlp: 5, {feedForward.encoder:1} 0",
      "heads of encoder.1.attention: 3, {heads.encoder:1} 1",
      "neurons of encoder.1.mlp: 5, {feedForward.encoder:1} 1",
      "heads of decoder.0.attention: 2, {heads.decoder:1} 0",
      "heads of decoder.0.crossAttention: 3, {heads.memory:1} 0",
      "neurons of decoder.0.mlp: 6, {feedForward.decoder:1} 0",
      "heads of decoder.1.attention: 2, {heads.decoder:1} 1",
      "heads of decoder.1.crossAttention: 2, {heads.memory:1} 1",
      "neurons of decoder.1.mlp: 7, {feedForward.decoder:1} 1",
    ],
    ResNet: [2, 3, 4, 5, 6, 7].map(
      (count, i) => `channels of layer${Math.floor(i / 2) + 1}.${i % 2}: ${count}, {hidden:1} ${i}`,
    ),
    MnistCnn: [
      "channels of conv1: 2, {channels:1} 0",
      "channels of conv2: 3, {channels:1} 1",
      "channels of conv3: 4, {channels:1} 2",
      "neurons of fc1: 5, {hidden:1} null",
    ],
  });
});

it("every feature of the hidden states, and every class, is of no unit", () => {
  for (const name of ["Gpt", "Llama", "Bert"]) {
    const named = declared(nets[name]).flatMap(({ places }) =>
      places.map((place) => `${place.name} ${place.axis}`),
    );
    for (const kept of ["token.weight 1", "blocks.0.attention.out.weight 0", "blocks.0.mlp.down.weight 0"])
      expect(named).not.toContain(kept);
  }
});

it("a decoder layer alone names the heads to the memory by its option", () => {
  const layer = new TransformerDecoderLayer(8, 2, 5, { memoryHeads: 4, rng: new Rng(1) });
  expect(layer.units().map(({ name, count, sizes }) => [name, count, sizes])).toEqual([
    ["attention", 2, { heads: 1, kvHeads: 1 }],
    ["crossAttention", 4, { memoryHeads: 1 }],
    ["mlp", 5, { feedForward: 1 }],
  ]);
  const [, cross] = layer.units();
  const x = random([1, 3, 8]);
  const before = bits(layer.forward(x, x));
  silence(layer, cross.places, 3);
  expect(bits(layer.forward(x, x))).not.toEqual(before);
});
