/** Models of text, and ids for them. */

import { Rng, type Tensor, tensor } from "bitgrad";
import { Bert, Transformer } from "bitgrad/models";
import { init } from "bitgrad/nn";

export const int = (rows: number[][]): Tensor => tensor(rows, { dtype: "int32" });
export const ids = (x: Tensor) => ({ data: x.data as Int32Array, shape: x.shape });
/** Ids below 30 in (b, t), other ones for every seed. */
export const text = (b: number, t: number, seed = 1): Tensor =>
  int(
    Array.from({ length: b }, (_, i) => Array.from({ length: t }, (_, j) => ((i + seed) * 7 + j * 11) % 30)),
  );
export const bert = (head: "none" | "maskedLm" | "classifier", dim = 32) =>
  new Bert({
    vocabulary: 30,
    context: 24,
    segments: 3,
    dim,
    layers: 2,
    heads: 4,
    head,
    classes: 5,
    initStd: 0.2,
    rng: new Rng(3),
  });
/**
 * With weights so wide that the source matters, and states leave the tokens they came from, which the tied head would
 * repeat.
 */
export function transformer(sourcePositions = true): Transformer {
  const rng = new Rng(5);
  const model = new Transformer({ vocabulary: 30, dim: 32, layers: 2, heads: 4, sourcePositions, rng });
  for (const { mlp, crossAttention } of model.decoder) {
    for (const { weight } of [mlp.up, mlp.down]) init.normal(weight, { std: 0.3, rng });
    for (const { weight } of [crossAttention.query, crossAttention.key]) init.normal(weight, { rng });
  }
  return model;
}
