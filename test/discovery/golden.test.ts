import { softmax, type Tensor, tensor } from "bitgrad";
import {
  ari,
  clusterAccuracy,
  discoveryTargets,
  hungarian,
  kMeans,
  mmd2,
  mmd2PerWidth,
  nmi,
  normalizeRows,
  pairBce,
  pairwiseRankTarget,
  sigmoidRampup,
  sinkhorn,
  swappedPrediction,
  transferFlow,
} from "bitgrad/discovery";
import { Parameter } from "bitgrad/nn";
import { describe, expect, it } from "vitest";
import { rowsOf } from "../../src/discovery/given.ts";
import { seeds } from "../../src/discovery/k-means.ts";
import { differing, type MethodCase, methodCases } from "../golden/method-cases.ts";

interface Params {
  k: number;
  eps: number;
  length: number;
  iters: number;
  T: number;
  alpha: number;
  kernel: "gaussian" | "laplacian";
  mul: number;
  num: number;
}
type Case = MethodCase<Params> & { readonly method: string };
type Outputs = Record<string, Tensor | readonly number[] | number>;

/** Float64 throughout; integers as int32. */
const given = (of: Case, name: string, requiresGrad = false): Tensor => {
  const { dtype, shape, data } = of.inputs[name];
  return tensor(data, { shape, dtype: dtype === "int32" ? "int32" : "float64", requiresGrad });
};

const methods: Record<string, (of: Case) => Outputs> = {
  rankstats_targets: (of) => ({
    targets: pairwiseRankTarget(given(of, "features"), { k: of.params.k }),
  }),
  pair_bce(of) {
    const [p, q] = ["logits", "logits_bar"].map((name) => given(of, name, true));
    const loss = pairBce(softmax(p), softmax(q), given(of, "targets"), { eps: of.params.eps });
    loss.backward();
    // The authors' code counts each pair of target 0 with -log(eps), and in the mean: ours leaves it out.
    const { data } = given(of, "targets");
    const dropped = data.filter((target) => target === 0).length / data.length;
    const share = (x: Tensor) => x.mul(1 - dropped);
    return {
      loss: share(loss.detach()).sub(dropped * Math.log(of.params.eps)),
      grad_logits: share(p.grad!),
      grad_logits_bar: share(q.grad!),
    };
  },
  rampups: (of) => ({
    sigmoid: Array.from(given(of, "current").data, (step) => sigmoidRampup(step, of.params.length)),
  }),
  sinkhorn(of) {
    const { iters: iterations, eps: temperature } = of.params;
    const assignment = sinkhorn(given(of, "logits"), { iterations, temperature });
    return { assignment, column_share: assignment.mean({ axis: 0 }) };
  },
  swapped_prediction(of) {
    const logits = given(of, "logits", true);
    const { loss, perHead } = swappedPrediction(logits, given(of, "targets"), { temperature: of.params.T });
    loss.backward();
    return { loss, per_head: perHead, grad_logits: logits.grad! };
  },
  mixed_targets(of) {
    const { alpha, iters: iterations, eps: temperature } = of.params;
    const [known, other] = [given(of, "logits_labelled"), given(of, "logits_unlabelled")];
    return {
      targets: discoveryTargets(given(of, "labels"), known, other, { alpha, iterations, temperature }),
    };
  },
  normalize_rows(of) {
    const weight = new Parameter(given(of, "weight"));
    normalizeRows(weight);
    return { weight: weight.value };
  },
  mmd2(of) {
    const options = { kernel: of.params.kernel, factor: of.params.mul, widths: of.params.num };
    const [x, y] = [given(of, "X"), given(of, "Y")];
    return { mmd2: mmd2(x, y, options), per_bandwidth: mmd2PerWidth(x, y, options) };
  },
  transfer_flow: (of) => ({
    transfer_flow: transferFlow(given(of, "features"), given(of, "labels"), { kernel: of.params.kernel }),
  }),
  kmeans(of) {
    const x = given(of, "X");
    const { k } = of.params;
    const draws = [(given(of, "first").item() + 0.5) / x.shape[0], ...Array.from(given(of, "u").data)];
    const chosen = seeds("kMeans", rowsOf("kMeans", "X", x), k, () => draws.shift()!);
    const init = x.indexSelect(tensor(chosen, { dtype: "int32" }), { axis: 0 });
    const { centres, labels, inertia } = kMeans(x, { k, init });
    return { init_indices: chosen, centres, labels, inertia };
  },
  hungarian: (of) => ({ ...hungarian(given(of, "cost")) }),
  cluster_metrics(of) {
    const pair = [given(of, "predictions"), given(of, "labels")] as const;
    return {
      accuracy: clusterAccuracy(...pair),
      nmi: nmi(...pair),
      nmi_geometric: nmi(...pair, { average: "geometric" }),
      nmi_min: nmi(...pair, { average: "min" }),
      nmi_max: nmi(...pair, { average: "max" }),
      ari: ari(...pair),
    };
  },
};

const cases = ["discovery-targets", "discovery-clusters"].flatMap(
  (file) => methodCases<Params>(file) as Case[],
);
/** A linear ramp is a schedule of bitgrad/optim. */
const elsewhere = ["linear"];

describe("methods of discovery give what public code gives", () => {
  it.each(cases.map((of) => [of.name, of] as const))("%s", (_, of) => {
    const got = methods[of.method](of);
    const names = Object.keys(of.outputs).filter((name) => !elsewhere.includes(name));
    expect(names.filter((name) => !(name in got))).toEqual([]);
    const wrong = names.flatMap((name) => {
      const value = got[name];
      const flat = typeof value === "number" ? [value] : "data" in value ? Array.from(value.data) : value;
      return differing(of, name, flat as readonly number[]);
    });
    expect(wrong).toEqual([]);
  });
});
