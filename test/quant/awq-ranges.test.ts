/** The ranges of weights that AWQ finds: whose they are, that they stay, and what they lose. */

import { Rng, randn, type Tensor, tensor } from "bitgrad";
import type { Llama, MnistCnn } from "bitgrad/models";
import { Conv2d, evaluate, namedParameters, stateDict, whileFloat } from "bitgrad/nn";
import {
  awq,
  freeze,
  int4WeightOnly,
  pack,
  plan,
  prepare,
  quantize,
  quantizedTransform,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { nets } from "../models/nets.ts";
import { Gained, relativeError } from "./channels.ts";

describe("ranges", () => {
  const net = nets.Llama;
  const config = int4WeightOnly({ group: 3, scheme: "affine" });
  const rules = [["blocks.*.{attention,mlp}.*.weight", config]] as const;
  const make = () => prepare(net.make() as Llama, plan({ default: null, rules }));
  const holding = (model: object) =>
    namedParameters(model)
      .filter(([, parameter]) => quantizedTransform(parameter)?.codes)
      .map(([name]) => name.replace(".weight", ""));

  it("of queries and keys stay, unless told otherwise", async () => {
    const model = make();
    const done: string[] = [];
    await awq(model, [0], { forward: () => net.run(model), onLayer: ({ layer }) => void done.push(layer) });
    const layers = ["attention.value", "attention.out", "mlp.gate", "mlp.up", "mlp.down"];
    const held = [0, 1].flatMap((i) => layers.map((name) => `blocks.${i}.${name}`));
    expect(holding(model).sort()).toEqual([...held].sort());
    expect(done).toHaveLength(14);
    const all = make();
    await awq(all, [0], { forward: () => net.run(all), unclipped: [] });
    expect(holding(all)).toHaveLength(14);
    const none = make();
    await awq(none, [0], { forward: () => net.run(none), clip: false });
    expect(holding(none)).toEqual([]);
  });

  it("are kept by freeze and pack: packed and frozen agree", async () => {
    const model = make();
    await awq(model, [0], { forward: () => net.run(model) });
    const live = quantizedTransform(model.blocks[0].mlp.down.weight)!.codes!.codes.toArray();
    evaluate(freeze(model));
    expect(quantizedTransform(model.blocks[0].mlp.down.weight)!.codes!.codes.toArray()).toEqual(live);
    const ids = tensor([[1, 7, 3, 4]], { dtype: "int32" });
    const out = pack(model).forward({ data: ids.data as Int32Array, shape: ids.shape });
    const wanted = net.run(model);
    const got = tensor(out.data as Float32Array).reshape(wanted.shape);
    expect(relativeError(got, wanted)).toBeLessThan(1e-10);
  });

  it("are put back with weights and held codes where a batch fails on the way", async () => {
    const model = make();
    await awq(model, [0], { forward: () => net.run(model) });
    const state = () => ({
      numbers: Object.entries(stateDict(model)).map(([name, t]) => [name, [...t.data]]),
      codes: namedParameters(model).map(([, p]) => quantizedTransform(p)?.codes?.codes.toArray()),
    });
    const was = state();
    for (const fails of [1, 2, 3, 6]) {
      let runs = 0;
      const forward = () => {
        if (++runs === fails) throw new Error(`run ${fails}`);
        return net.run(model);
      };
      await expect(awq(model, [0], { forward })).rejects.toThrow(`run ${fails}`);
      expect(state()).toEqual(was);
    }
  });

  it("of convolutions and of one scale a tensor are found too", async () => {
    for (const granularity of ["tensor", "channel", { group: 5 }] as const) {
      const cnn = nets.MnistCnn;
      const model = prepare(
        cnn.make() as MnistCnn,
        plan({ default: { weight: ste({ bits: 3, granularity }) } }),
      );
      const plain = whileFloat(model, () => cnn.run(model));
      const rounded = relativeError(cnn.run(model), plain);
      await awq(model, [0], { forward: () => cnn.run(model) });
      expect(relativeError(cnn.run(model), plain)).toBeLessThan(rounded);
      expect(holding(model)).toHaveLength(5);
    }
  });
});

it.each(["channel", { group: 4 }] as const)(
  "ranges of a convolution in groups, one scale a %o, are those of a convolution for each",
  async (granularity) => {
    const [weight, x] = [randn([6, 2, 3, 3], { rng: new Rng(1) }), randn([2, 4, 5, 5], { rng: new Rng(2) })];
    const scaled = x.mul(tensor([1, 1, 9, 0.1]).reshape([4, 1, 1]));
    const codesOf = async (groups: number, from: number, to: number) => {
      const [first, last] = groups === 2 ? [0, 6] : [from * 1.5, to * 1.5];
      const conv = new Conv2d(to - from, last - first, 3, { groups, bias: false });
      conv.weight.assign(weight.slice([[first, last]]));
      const model = Object.assign(new Gained(randn([3, 2], { rng: new Rng(3) })), { conv });
      prepare(model, plan({ default: { weight: ste({ bits: 3, granularity }) } }));
      const forward = (given: Tensor) => {
        conv.forward(given.slice([null, [from, to]]));
        model.forward(randn([5, 2], { rng: new Rng(4) }));
      };
      await awq(model, [scaled], { forward });
      return [...quantizedTransform(conv.weight)!.codes!.codes.data];
    };
    const apart = [...(await codesOf(1, 0, 2)), ...(await codesOf(1, 2, 4))];
    const together = await codesOf(2, 0, 4);
    expect(together).toEqual(apart);
    const plain = quantize(weight, ste({ bits: 3, granularity }).spec);
    expect(together).not.toEqual([...plain.codes.data]);
  },
);
