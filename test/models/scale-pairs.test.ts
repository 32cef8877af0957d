/** What models declare: scaling a pair leaves the function as it is, to the last bit by powers of two. */

import { OptionError, Rng, rand, type Tensor, tensor } from "bitgrad";
import { Gpt } from "bitgrad/models";
import {
  namedParameters,
  type Place,
  placeIndices,
  type ScalePair,
  TransformerDecoderLayer,
} from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { bits, random } from "../packed/twins.ts";
import { type Net, nets } from "./nets.ts";

type Declares = { scalePairs(): ScalePair[] };

/** Multiplies the channels of a place by their factors. */
function scale(model: object, place: Place, factors: readonly number[]): void {
  const parameter = new Map(namedParameters(model)).get(place.name);
  if (!parameter) throw new Error(`no parameter ${place.name}`);
  const along = new Array<number>(parameter.shape[place.axis]).fill(Number.NaN);
  factors.forEach((factor, channel) => {
    for (const at of placeIndices(place, channel)) along[at] = factor;
  });
  expect(along).toHaveLength(parameter.shape[place.axis]);
  expect(along).not.toContain(Number.NaN);
  const inner = parameter.shape.slice(place.axis + 1).reduce((a, b) => a * b, 1);
  const data = parameter.value.data.map(
    (value, i) => value * along[Math.floor(i / inner) % along.length],
  ) as Float32Array;
  parameter.assign(tensor(data).reshape(parameter.shape));
}

function scaled(net: Net, pair: ScalePair, factors: readonly number[], parts = "both"): Tensor {
  const model = net.make();
  for (const place of pair.producer) scale(model, place, factors);
  if (parts === "both")
    for (const place of pair.consumers)
      scale(
        model,
        place,
        factors.map((factor) => 1 / factor),
      );
  return net.run(model);
}

const declared = (net: Net): ScalePair[] => (net.make() as Declares).scalePairs();
const label = ({ producer, consumers }: ScalePair): string =>
  `${producer[0].name} to ${consumers.map(({ name }) => name).join(", ")}`;

describe.each(Object.entries(nets))("a %s", (_, net) => {
  const plain = net.run(net.make());

  it.each(declared(net).map((pair): [string, ScalePair] => [label(pair), pair]))(
    "may scale %s",
    (_, pair) => {
      const sign = pair.between === "relu" ? 1 : -1;
      const channels = Array.from({ length: pair.channels }, (_, c) => c);
      const powers = channels.map((c) => sign ** c * 2 ** ((c % 5) - 2));
      expect(bits(scaled(net, pair, powers))).toEqual(bits(plain));
      expect(bits(scaled(net, pair, powers, "producer"))).not.toEqual(bits(plain));
      const draws = rand([pair.channels], { rng: new Rng(2) }).data;
      expectClose(
        scaled(
          net,
          pair,
          channels.map((c) => sign ** c * (0.3 + draws[c])),
        ),
        plain,
        { rtol: 1e-4, atol: 1e-4 },
      );
    },
  );

  it("declares plain data, whose places are of parameters and of no other pair", () => {
    const pairs = declared(net);
    expect(JSON.parse(JSON.stringify(pairs))).toEqual(pairs);
    const names = pairs.flatMap(({ producer, consumers }) =>
      [...producer, ...consumers].map(({ name, axis }) => `${name} ${axis}`),
    );
    expect(new Set(names).size).toBe(names.length);
  });
});

it("models declare the pairs that their form has", () => {
  const found = Object.fromEntries(
    Object.entries(nets).map(([name, net]) => [
      name,
      declared(net)
        .map((pair) => `${label(pair).replaceAll(".weight", "")}: ${pair.between}`)
        .filter((text) => !/blocks\.1|coder\.1|layer.\.1|layer[23]|s[23]/.test(text)),
    ]),
  );
  const block = "blocks.0.";
  const attention = `${block}attention`;
  const values = `${attention}.value to ${attention}.out: attention`;
  const norm1 = `${block}norm1 to ${attention}.query, ${attention}.key, ${attention}.value: nothing`;
  expect(found).toEqual({
    Gpt: [norm1, values, `${block}norm2 to ${block}mlp.up: nothing`, "norm to head: nothing"],
    "Gpt in the post form": [values, `${block}mlp.up to ${block}mlp.down: relu`],
    Llama: [
      norm1,
      values,
      `${block}norm2 to ${block}mlp.gate, ${block}mlp.up: nothing`,
      `${block}mlp.up to ${block}mlp.down: gate`,
      "norm to head: nothing",
    ],
    "Llama of tied tables": [
      norm1,
      values,
      `${block}norm2 to ${block}mlp.gate, ${block}mlp.up: nothing`,
      `${block}mlp.up to ${block}mlp.down: gate`,
    ],
    Bert: [values],
    "Bert for masked tokens": [values],
    Transformer: [
      "encoder.0.attention.value to encoder.0.attention.out: attention",
      "encoder.0.mlp.up to encoder.0.mlp.down: relu",
      "decoder.0.attention.value to decoder.0.attention.out: attention",
      "decoder.0.crossAttention.value to decoder.0.crossAttention.out: attention",
      "decoder.0.mlp.up to decoder.0.mlp.down: relu",
    ],
    ResNet: ["layer1.0.bn1 to layer1.0.conv2: relu"],
    ResNet8: ["s1.bn1 to s1.conv2: relu"],
    MnistCnn: ["conv1 to conv2: relu", "conv2 to conv3: relu", "norm1 to fc1: nothing", "fc1 to fc2: relu"],
  });
});

it("a decoder layer in the pre form scales its queries alone with the norm before the memory", () => {
  const make = () => {
    const layer = new TransformerDecoderLayer(8, 2, 5, { norm: "pre", activation: "relu", rng: new Rng(1) });
    return layer;
  };
  const net: Net = {
    make,
    run: (layer) => (layer as ReturnType<typeof make>).forward(random([1, 3, 8]), random([1, 4, 8], 5)),
  };
  const pairs = make().scalePairs();
  expect(pairs.map(label)).toContain("norm2.weight to crossAttention.query.weight");
  expect(pairs).toHaveLength(6);
  for (const pair of pairs) {
    const powers = Array.from({ length: pair.channels }, (_, c) => 2 ** ((c % 5) - 2));
    expect(bits(scaled(net, pair, powers))).toEqual(bits(net.run(make())));
  }
});

it("a norm whose head is tied later, or has no gain, is no producer", () => {
  const model = new Gpt({ vocabulary: 5, context: 4, dim: 4, layers: 1, heads: 1, tied: false });
  const last = () => model.scalePairs().at(-1)?.consumers[0].name;
  expect(last()).toBe("head.weight");
  model.head.weight = model.token.weight;
  expect(last()).toBe("blocks.0.mlp.up.weight");
  model.blocks[0].norm2.weight = null as never;
  expect(last()).toBe("blocks.0.attention.out.weight");
});

it("indices of a place are those of its channel, and odd ones are refused", () => {
  const place = { name: "out.weight", axis: 1, repeat: 2, size: 4 };
  expect(placeIndices(place, 0)).toEqual([0, 4]);
  expect(placeIndices(place, 5)).toEqual([9, 13]);
  expect(placeIndices({ ...place, size: 1 }, 3)).toEqual([6, 7]);
  for (const odd of [-1, 0.5, Number.NaN, "1"])
    expect(() => placeIndices(place, odd as never)).toThrow(OptionError);
  expect(() => placeIndices({ ...place, repeat: 0 }, 1)).toThrow(
    "placeIndices: repeat must be a positive integer, got 0",
  );
  expect(() => placeIndices(5 as never, 1)).toThrow("place must be one of scalePairs() or units(), got 5");
});
