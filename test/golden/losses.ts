import { equal, select, where } from "bitgrad";
import { kdLoss } from "bitgrad/distill";
import {
  bceLoss,
  bceWithLogits,
  cosineEmbedding,
  crossEntropy,
  huberLoss,
  klDiv,
  l1Loss,
  mseLoss,
  multiMarginLoss,
  nllLoss,
  type Reduction,
  smoothL1Loss,
  softMarginLoss,
} from "bitgrad/nn";
import { row, type Suite } from "./case.ts";

interface Reduced {
  readonly reduction: Reduction;
}
interface Classes extends Reduced {
  readonly ignore_index: number;
}

const classAxis = "classes are on the last axis unless `axis` says otherwise; PyTorch has them on axis 1";

export const loss: Suite = {
  mse: row<Reduced>(
    "mseLoss(input, target, { reduction })",
    ({ input, target }, { reduction }) => mseLoss(input, target, { reduction }),
    { torch: "mse_loss" },
  ),
  l1: row<Reduced>(
    "l1Loss(input, target, { reduction })",
    ({ input, target }, { reduction }) => l1Loss(input, target, { reduction }),
    { torch: "l1_loss" },
  ),
  smooth_l1: row<Reduced & { beta: number }>(
    "smoothL1Loss(input, target, { beta, reduction })",
    ({ input, target }, { beta, reduction }) => smoothL1Loss(input, target, { beta, reduction }),
    { torch: "smooth_l1_loss" },
  ),
  huber: row<Reduced & { delta: number }>(
    "huberLoss(input, target, { delta, reduction })",
    ({ input, target }, { delta, reduction }) => huberLoss(input, target, { delta, reduction }),
    { torch: "huber_loss" },
  ),
  bce: row<Reduced>(
    "bceLoss(input, target, { weight, reduction })",
    ({ input, target, weight }, { reduction }) => bceLoss(input, target, { weight, reduction }),
    { torch: "binary_cross_entropy" },
  ),
  bce_with_logits: row<Reduced>(
    "bceWithLogits(input, target, { posWeight, reduction })",
    ({ input, target, pos_weight: posWeight }, { reduction }) =>
      bceWithLogits(input, target, { posWeight, reduction }),
    { torch: "binary_cross_entropy_with_logits" },
  ),
  cross_entropy: row<Classes & { label_smoothing: number }>(
    "crossEntropy(logits, target, { axis, weight, ignoreIndex, labelSmoothing, reduction })",
    ({ input, target, weight }, { ignore_index: ignoreIndex, label_smoothing: labelSmoothing, reduction }) =>
      crossEntropy(input, target, { axis: 1, weight, ignoreIndex, labelSmoothing, reduction }),
    { note: classAxis },
  ),
  cross_entropy_soft: row<Reduced & { label_smoothing: number }>(
    "crossEntropy(logits, probabilities, { axis, labelSmoothing, reduction })",
    ({ input, target }, { label_smoothing: labelSmoothing, reduction }) =>
      crossEntropy(input, target, { axis: 1, labelSmoothing, reduction }),
    { torch: "cross_entropy(probabilities)", note: classAxis },
  ),
  nll: row<Classes>(
    "nllLoss(logProbs, target, { axis, weight, ignoreIndex, reduction })",
    ({ input, target, weight }, { ignore_index: ignoreIndex, reduction }) =>
      nllLoss(input, target, { axis: 1, weight, ignoreIndex, reduction }),
    { torch: "nll_loss", note: classAxis },
  ),
  kl_div: row<{ reduction: Reduction | "batchmean"; log_target: boolean }>(
    'klDiv(input, target, { from: "logits", logTarget, reduction })',
    ({ input, target }, { log_target: logTarget, reduction }) =>
      klDiv(input, target, { from: "logits", logTarget, reduction }),
    {
      torch: "kl_div(log_softmax(input), target)",
      note: "log-probabilities go in as they are, without `from`",
    },
  ),
  distillation: row<{ temperature: number; alpha: number }>(
    "kdLoss(student, teacher, { temperature, alpha, labels })",
    ({ student, teacher, target: labels }, { temperature, alpha }) => ({
      kd: kdLoss(student, teacher, { temperature }),
      loss: kdLoss(student, teacher, { temperature, alpha, labels }),
    }),
    {
      torch: "T² · kl_div(log_softmax(student / T), softmax(teacher / T))",
      note: "in bitgrad/distill; with labels, cross entropy has the share 1 − alpha",
    },
  ),
  cosine_embedding: row<Reduced & { margin: number }>(
    "cosineEmbedding(x1, x2, target, { margin, reduction })",
    ({ x1, x2, target }, { margin, reduction }) => cosineEmbedding(x1, x2, target, { margin, reduction }),
    { torch: "cosine_embedding_loss" },
  ),
  hinge_and_margin: row(
    "multiMarginLoss(input, target), softMarginLoss(input, target)",
    ({ input, target }) => {
      // The soft margin is that of the first score, against whether the class is 1.
      const signs = where(equal(target, 1), 1, -1);
      return {
        multi_margin: multiMarginLoss(input, target),
        soft_margin: softMarginLoss(select(input, 0, { axis: 1 }), signs),
      };
    },
    { torch: "multi_margin_loss, soft_margin_loss" },
  ),
};
