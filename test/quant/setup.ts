/** What tests of quantization share: numbers as lists, layers of a given weight, weights with long tails. */

import { Rng, randn, type Tensor } from "bitgrad";
import { Linear, Sequential, type Step, type Transform } from "bitgrad/nn";
import { plan, prepare, type QuantConfig } from "bitgrad/quant";

export const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);

/** A sequence whose steps can be read by their names. */
export const named = <S extends Record<string, Step>>(steps: S) => new Sequential(steps) as Sequential & S;

/** A transform that keeps what a mask does. */
export const masked = (mask: Tensor): Transform => ({ mask, apply: (w) => w.mul(mask) });

/** A prepared linear layer of a weight (out, in), without a bias. */
export function layerOf(weight: Tensor, config: QuantConfig): Linear {
  const [out, width] = weight.shape;
  const layer = new Linear(width, out, { bias: false });
  layer.weight.assign(weight);
  return prepare(layer, plan({ default: config }));
}

/** Numbers of Student's t with 4 degrees of freedom. */
export function heavy(shape: number[], seed: string): Tensor {
  const rng = new Rng(seed);
  const squares = Array.from({ length: 4 }, () => randn(shape, { rng }).square()).reduce((a, b) => a.add(b));
  return randn(shape, { rng }).div(squares.div(4).sqrt());
}
