/** Losses of logits beside what public code gives, values and gradients in float64. */

import { type Tensor, tensor } from "bitgrad";
import {
  type DivergenceOptions,
  dkd,
  forwardKl,
  jsd,
  kdLoss,
  pearsonKd,
  reverseKl,
  skewKl,
  skewReverseKl,
  softCrossEntropy,
  standardizeLogits,
  totalVariation,
} from "bitgrad/distill";
import { mseLoss } from "bitgrad/nn";
import { expectClose, gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { differing, type MethodCase, methodCases, tensorOf } from "../golden/method-cases.ts";

interface Given {
  readonly T: number;
  readonly alpha: number;
  readonly beta: number;
  readonly gamma: number;
  readonly lam: number;
  readonly reduction: string;
  readonly standardize?: boolean;
  readonly loss: string;
}
type Run = (
  zs: Tensor,
  zt: Tensor,
  params: Given,
  inputs: { readonly labels: Tensor; readonly T: Tensor; readonly mask: Tensor },
) => Tensor;

/** Positions (B, L) whose label is not -100 count. */
const counted =
  (loss: (s: Tensor, t: Tensor, options: Partial<DivergenceOptions>) => Tensor): Run =>
  (zs, zt, { T: temperature = 1 }, { mask }) =>
    loss(zs, zt, { temperature, mask });

const runs: Readonly<Record<string, Run>> = {
  kd: (zs, zt, { T }) => kdLoss(zs, zt, { temperature: T }),
  hinton: (zs, zt, { T, alpha }, { labels }) => kdLoss(zs, zt, { temperature: T, alpha, labels }),
  kd_without_square: (zs, zt, { T }) => forwardKl(zs, zt, { temperature: T }),
  soft_ce: (zs, zt, { T, reduction }) =>
    softCrossEntropy(zs, zt, { temperature: T, reduction: reduction as "sum" }),
  kd_mse: (zs, zt, { T }) => mseLoss(zs.div(T), zt.detach().div(T)),
  kd_ce_per_sample_T: (zs, zt, _, { T }) =>
    softCrossEntropy(zs.div(T.unsqueeze(-1)), zt.div(T.unsqueeze(-1))),
  logit_std_kd: (zs, zt, { T }) => kdLoss(standardizeLogits(zs), standardizeLogits(zt), { temperature: T }),
  dkd: (zs, zt, { T, alpha, beta, standardize }, { labels }) => {
    const [s, t] = standardize ? [zs, zt].map(standardizeLogits) : [zs, zt];
    return dkd(s, t, labels, { temperature: T, alpha, beta });
  },
  dist: (zs, zt, { T, beta, gamma }) => pearsonKd(zs, zt, { temperature: T, beta, gamma }),
  dist_map: (zs, zt, { beta, gamma }) => {
    const rows = [zs, zt].map((z) => z.permute([0, 2, 3, 1]));
    return pearsonKd(rows[0], rows[1], { beta, gamma });
  },
  // GKD's code takes the two divergences for the ends of the schedule.
  gkd_jsd: (zs, zt, { beta, T: temperature, reduction }, { mask }) => {
    const options = { temperature, mask, reduction: reduction as "mean" };
    if (beta === 0) return forwardKl(zs, zt, options);
    return beta === 1 ? reverseKl(zs, zt, options) : jsd(zs, zt, { beta, ...options });
  },
  distillm_forward_kl: counted(forwardKl),
  distillm_reverse_kl: counted(reverseKl),
  distillm_symmetric_kl: (zs, zt, { lam }, { mask }) =>
    forwardKl(zs, zt, { mask })
      .mul(1 - lam)
      .add(reverseKl(zs, zt, { mask }).mul(lam)),
  distillm_js_distance: (zs, zt, { lam }, { mask }) => jsd(zs, zt, { beta: 1 - lam, mask }),
  distillm_tv_distance: counted(totalVariation),
  distillm_skewed_forward_kl: (zs, zt, { lam: alpha }, { mask }) => skewKl(zs, zt, { alpha, mask }),
  distillm_skewed_reverse_kl: (zs, zt, { lam: alpha }, { mask }) => skewReverseKl(zs, zt, { alpha, mask }),
  masked_vocabulary: (zs, zt, { loss, lam }, { mask }) =>
    loss === "reverse_kl" ? reverseKl(zs, zt, { mask }) : jsd(zs, zt, { beta: 1 - lam, mask }),
};

const atEquality: Readonly<Record<string, Run>> = {
  kd: runs.kd,
  dkd: runs.dkd,
  dist: (zs, zt) => pearsonKd(zs, zt),
  reverse_kl: (zs, zt) => reverseKl(zs, zt),
  jsd: (zs, zt) => jsd(zs, zt),
};

const cases = methodCases<Given>("distill-logits") as (MethodCase<Given> & { readonly method: string })[];

/** How much of the teacher's entropy the released value has in it. */
const entropyIn = ({ method, params: { lam } }: (typeof cases)[number]): number => {
  if (method === "distillm_symmetric_kl") return 1 - lam;
  return /distillm_(skewed_)?forward_kl/.test(method) ? 1 : 0;
};

function tensors({ inputs }: MethodCase<Given>) {
  const read = (name: string): Tensor => {
    const given = inputs[name];
    return tensorOf({ ...given, data: given.data.map(Number) }).to("float64");
  };
  const optional = (name: string): Tensor => (name in inputs ? read(name) : tensor(0));
  const labels = optional("labels");
  return {
    zs: tensor(read("zs"), { requiresGrad: true }),
    zt: tensor(read("zt"), { requiresGrad: true }),
    others: { labels: labels.to("int32"), mask: labels.notEqual(-100), T: optional("T") },
  };
}

describe("losses of logits", () => {
  it.each(cases)("give what public code gives: $name", (given) => {
    const { zs, zt, others } = tensors(given);
    const run = given.method === "zero_at_equality" ? atEquality[given.params.loss] : runs[given.method];
    const loss = run(zs, zt, given.params, others);
    loss.backward();
    const released = loss.item() + entropyIn(given) * Number(given.outputs.entropy_teacher?.data[0] ?? 0);
    expect(zt.grad).toBe(null);
    expect([
      ...differing(given, "loss", [released]),
      ...differing(given, "grad_zs", [...zs.grad!.data].map(Number)),
    ]).toEqual([]);
  });

  it("keep what float32 can hold at a temperature of 1000", () => {
    const { zs, zt } = tensors(cases[0]);
    for (const loss of [forwardKl, reverseKl, jsd, skewKl, totalVariation]) {
      const [wide, narrow] = [zs, zs.detach().to("float32")].map((z) => {
        const s = tensor(z, { requiresGrad: true });
        loss(s, zt.detach().to(z.dtype), { temperature: 1000 }).backward();
        return s.grad!.to("float64");
      });
      expectClose(narrow, wide, { rtol: 1e-3, atol: 1e-3 * wide.abs().max().item() });
    }
  });

  it("have right gradients", () => {
    const { zs, zt } = tensors(cases[0]);
    const [s, t] = [zs.detach(), zt.detach()];
    for (const loss of [forwardKl, reverseKl, jsd, skewKl, skewReverseKl, totalVariation, pearsonKd]) {
      gradcheck((x) => loss(x, t), [s]);
    }
    gradcheck((x) => dkd(x, t, [0, 1, 2, 3, 4]), [s]);
    gradcheck((x) => standardizeLogits(x).square().mul(t).sum(), [s]);
  });

  it("refuse labels that are no classes", () => {
    const { zs, zt } = tensors(cases[0]);
    expect(() => dkd(zs, zt, [0, 1, 2, 3, 6])).toThrow("labels must be classes from 0 to 5");
    expect(() => dkd(zs, zt, [0, 1])).toThrow(
      "dkd: labels must have the shape of the positions, got (2) for (5, 6)",
    );
  });
});
