/** Small programs: how gradients add up, stop and nest. */

import { grad, hvp, type Tensor, tensor, where } from "bitgrad";
import { row, type Suite } from "./case.ts";

const last = { axis: -1, keepDims: true };

const functions: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  cube: (x) => x.pow(3).sum(),
  mix: (x) => x.sin().mul(x.square().neg().exp()).sum(),
  softmax: (x) =>
    x
      .softmax()
      .mul(tensor(Float32Array.from({ length: x.size }, (_, i) => i + 1)))
      .sum(),
};

export const graph: Suite = {
  reuse: row("", ({ a, b }) => a.mul(a).add(a.mul(b)).add(a)),
  diamond: row("", ({ a, b }) => {
    const s = a.add(b);
    return s.sin().mul(s.exp());
  }),
  detach: row("", ({ a, b }) => a.mul(b.detach()).add(a.mul(b).detach().mul(b))),
  normalise: row("", ({ a, b }) => a.sub(a.mean(last)).div(a.std(last).add(1e-3)).mul(b)),
  softmax_by_hand: row("", ({ a, b }) => {
    const e = a.sub(a.max(last)).exp();
    return e.div(e.sum(last)).mul(b);
  }),
  view_chain: row("", ({ a, b }) => {
    const half = a.size / 2;
    const front = (t: Tensor) => t.flatten().slice([[0, half]]);
    return front(a.transpose()).unsqueeze(0).mul(2).sum({ axis: 0 }).broadcastTo([2, half]).mul(front(b));
  }),
  where_mix: row("", ({ a, b }) => where(a.greater(b), a.mul(b), a.div(b.abs().add(1)))),
  cosine: row("", ({ a, b }) => {
    const along = { axis: -1 };
    return a
      .mul(b)
      .sum(along)
      .div(a.norm(along).mul(b.norm(along)));
  }),
  second_order: row<{ f: string }>("", ({ x, v }, { f }) => ({
    value: functions[f](x),
    grad: grad(functions[f])(x),
    hessian_vector: hvp(functions[f])(x, v),
  })),
};
