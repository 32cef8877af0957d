import { Rng, randn, type Tensor } from "bitgrad";
import { FeedForward, namedParameters, TransformerDecoderLayer, TransformerEncoderLayer } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const input = (t: number, seed = "x") => randn([2, t, 8], { rng: new Rng(seed) });
const rng = () => new Rng("layer");

describe("FeedForward", () => {
  it.each([
    ["relu", (x: Tensor) => x.relu()],
    ["gelu", (x: Tensor) => x.gelu()],
    ["geluTanh", (x: Tensor) => x.gelu({ approximate: "tanh" })],
    ["silu", (x: Tensor) => x.silu()],
  ] as const)("with %s is down(activation(up(x)))", (activation, act) => {
    const layer = new FeedForward(8, 12, { activation, rng: rng() });
    expect(layer.gate).toBeNull();
    expectClose(layer.forward(input(3)), layer.down.forward(act(layer.up.forward(input(3)))));
  });

  it("with swiglu multiplies a gate in", () => {
    const layer = new FeedForward(8, 12, { activation: "swiglu", bias: false, rng: rng() });
    const x = input(3);
    const want = layer.down.forward(layer.gate!.forward(x).silu().mul(layer.up.forward(x)));
    expectClose(layer.forward(x), want);
    expect(namedParameters(layer).map(([name, p]) => [name, p.shape])).toEqual([
      ["gate.weight", [12, 8]],
      ["up.weight", [12, 8]],
      ["down.weight", [8, 12]],
    ]);
  });

  it("refuses an unknown activation", () => {
    expect(() => new FeedForward(8, 8, { activation: "cube" as "relu" })).toThrow(
      'FeedForward: unknown activation, got "cube"; known are relu, gelu, geluTanh, silu, swiglu',
    );
  });
});

describe("TransformerEncoderLayer", () => {
  it("normalises before or after its sublayers", () => {
    const x = input(4);
    const pre = new TransformerEncoderLayer(8, 2, 12, { norm: "pre", rng: rng() });
    const y = x.add(pre.attention.forward(pre.norm1.forward(x)));
    expectClose(pre.forward(x), y.add(pre.mlp.forward(pre.norm2.forward(y))));
    const post = new TransformerEncoderLayer(8, 2, 12, { rng: rng() });
    const z = post.norm1.forward(x.add(post.attention.forward(x)));
    expectClose(post.forward(x), post.norm2.forward(z.add(post.mlp.forward(z))));
  });

  it("drops in training alone, by the generator of the call", () => {
    const layer = new TransformerEncoderLayer(8, 2, 12, { dropout: 0.4, rng: rng() });
    const run = (seed: number) => layer.forward(input(4), { rng: new Rng(seed) }).toArray();
    expect(run(1)).toEqual(run(1));
    expect(run(1)).not.toEqual(run(2));
    layer.training = false;
    layer.attention.training = false;
    expect(run(1)).toEqual(run(2));
  });

  it("takes RMS normalisation, no biases, rotary positions and grouped queries", () => {
    const layer = new TransformerEncoderLayer(8, 4, 12, {
      normalization: "rms",
      activation: "swiglu",
      bias: false,
      rotary: true,
      kvHeads: 2,
      rng: rng(),
    });
    expect(namedParameters(layer).filter(([name]) => name.endsWith("bias"))).toEqual([]);
    expect(layer.attention.key.weight.shape).toEqual([4, 8]);
    expect(layer.forward(input(3), { causal: true }).shape).toEqual([2, 3, 8]);
  });

  it("refuses meaningless options, and a context, which a decoder takes", () => {
    const layer = (options: object) => new TransformerEncoderLayer(8, 2, 12, options);
    expect(() => layer({ norm: "mid" })).toThrow('norm must be "pre" or "post", got "mid"');
    expect(() => layer({ normalization: "batch" })).toThrow('must be "layer" or "rms", got "batch"');
    expect(() => layer({ dropout: 3 })).toThrow("dropout must lie between 0 and 1, got 3");
    expect(() => layer({}).forward(input(2), { context: input(2) } as object)).toThrow("unknown option");
  });
});

describe("TransformerDecoderLayer", () => {
  it("is causal unless told otherwise", () => {
    const layer = new TransformerDecoderLayer(8, 2, 12, { rng: rng() });
    const memory = input(3, "memory");
    const changed = input(4, "other").slice([null, [3, 4]]);
    const first = (t: Tensor) => t.slice([null, [0, 3]]).toArray();
    const variants = [input(4), input(4).slice([null, [0, 3]])] as const;
    const other = variants[1]
      .pad([
        [0, 0],
        [0, 1],
        [0, 0],
      ])
      .add(
        changed.pad([
          [0, 0],
          [3, 0],
          [0, 0],
        ]),
      );
    expect(first(layer.forward(other, memory))).toEqual(first(layer.forward(variants[0], memory)));
    const open = { causal: false };
    expect(first(layer.forward(other, memory, open))).not.toEqual(
      first(layer.forward(variants[0], memory, open)),
    );
  });

  it("keeps what its two attentions show apart", () => {
    const layer = new TransformerDecoderLayer(8, 2, 12, { rng: rng() });
    const capture = { probabilities: [] as Tensor[] };
    const memoryCapture = { probabilities: [] as Tensor[] };
    layer.forward(input(4), input(3, "memory"), { capture, memoryCapture });
    expect(capture.probabilities.map((t) => t.shape)).toEqual([[2, 2, 4, 4]]);
    expect(memoryCapture.probabilities.map((t) => t.shape)).toEqual([[2, 2, 4, 3]]);
  });
});
