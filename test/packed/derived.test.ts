import { Rng, randn, type Tensor } from "bitgrad";
import { LayerNorm, Linear, Sequential, taps } from "bitgrad/nn";
import { pack } from "bitgrad/quant";
import { expect, it } from "vitest";
import type { Packer } from "../../src/nn/packing.ts";

it("a layer that computes otherwise than the class whose packed form it has is refused by name", () => {
  class Scaled extends Linear {
    override forward(x: Tensor) {
      return super.forward(x).mul(3);
    }
  }
  class Twice extends Sequential {
    override forward(x: Tensor) {
      return super.forward(super.forward(x));
    }
  }
  class Shifted extends LayerNorm {
    override forward(x: Tensor) {
      return super.forward(x).add(1);
    }
  }
  for (const layer of [new Scaled(4, 4), new Twice(new Linear(4, 4)), new Shifted(4)]) {
    const name = layer.constructor.name;
    for (const model of [layer, new Sequential(new Linear(4, 4), layer)]) {
      expect(() => pack(model)).toThrow(
        new RegExp(
          `pack: the layer computes otherwise than its packed form, got a forward of its own in ${name};`,
        ),
      );
    }
  }
  const layer = new Linear(4, 4);
  layer.forward = (x) => x as Tensor;
  expect(() => pack(layer)).toThrow(/got a forward of its own in Linear; give it a method toPacked too/);
});

it("a derived class is packed where it computes the same, or says how it is packed; so is a layer with taps", () => {
  class Named extends Linear {
    readonly title = "first";
    describe() {
      return this.title;
    }
  }
  class Halved extends Linear {
    override forward(x: Tensor) {
      return super.forward(x).mul(0.5);
    }
    override toPacked(packer: Packer) {
      const half = { mean: new Float32Array(4), factor: new Float32Array(4).fill(0.5), bias: null };
      return packer.sequence(super.toPacked(packer), { kind: "batchNorm", ...half });
    }
  }
  const input = randn([2, 4], { rng: new Rng(1) });
  const run = (layer: { forward(x: Tensor): Tensor }) => {
    const want = Array.from(layer.forward(input).data);
    const got = pack(layer).forward({ data: input.data.slice() as Float32Array, shape: input.shape }).data;
    got.forEach((v, i) => {
      expect(Math.abs(v - want[i])).toBeLessThan(1e-6);
    });
  };
  run(new Named(4, 4, { rng: new Rng(2) }));
  run(new Halved(4, 4, { rng: new Rng(2) }));
  const tapped = new Sequential(new Linear(4, 4, { rng: new Rng(2) }));
  using _ = taps(tapped, "0");
  run(tapped);
});
