/** Divergences between what a teacher and a student say of the next token, or of a class. */

import { checkShare, readOptions } from "../errors.ts";
import { logSoftmax } from "../ops/softmax.ts";
import { gate } from "../ops/unary.ts";
import type { Tensor } from "../tensor.ts";
import { checkTemperature, type PositionOptions, perPosition, sides } from "./positions.ts";

export interface DivergenceOptions extends PositionOptions {
  /** Divides both logits before the softmax; nothing is multiplied by its square. */
  temperature: number;
}

const plain: DivergenceOptions = { ...perPosition, temperature: 1 };

/** The divergence of one position from log p, the teacher's, and log q, the student's, (…, C) -> (…). */
type Between = (logP: Tensor, logQ: Tensor) => Tensor;

function diverge(
  op: string,
  student: Tensor,
  teacher: Tensor,
  { temperature, mask, reduction }: DivergenceOptions,
  between: Between,
): Tensor {
  checkTemperature(op, temperature);
  const { positions, ...side } = sides(op, student, teacher, mask);
  const [logP, logQ] = [side.teacher, side.student].map((z) => logSoftmax(z.div(temperature)));
  return positions.reduce(between(logP, logQ), reduction, student.shape[student.rank - 1]);
}

/** Σ p·(log p − log q); a class of no probability in p counts 0, whatever it has in q. */
export function kl(logP: Tensor, logQ: Tensor): Tensor {
  const some = logP.greater(Number.NEGATIVE_INFINITY);
  return logP
    .exp()
    .mul(gate(some, logP).sub(gate(some, logQ)))
    .sum({ axis: -1 });
}

/** log((1 − share)·p + share·q). */
function mixed(logP: Tensor, logQ: Tensor, share: number): Tensor {
  if (share === 0) return logP;
  return share === 1 ? logQ : logP.add(Math.log1p(-share)).logAddExp(logQ.add(Math.log(share)));
}

/**
 * KL(teacher ‖ student) of logits (…, C), averaged over the positions: the student gives something to all that the teacher
 * gives. `kdLoss` without the square of its temperature. A class that both give the logit −Infinity, such as one that a
 * vocabulary leaves out, counts 0 in this and all other divergences.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { forwardKl } from "bitgrad/distill";
 *
 * console.log(forwardKl(tensor([[1, 1, 0.5, -0.5]]), tensor([[2, 1, 0, -1]])).item()); // 0.184
 * ```
 */
export function forwardKl(student: Tensor, teacher: Tensor, options?: Partial<DivergenceOptions>): Tensor {
  return diverge("forwardKl", student, teacher, readOptions("forwardKl", options, plain), kl);
}

/**
 * KL(student ‖ teacher) of logits (…, C): the student gives nothing to what the teacher hardly gives. Gu et al., 2023,
 * MiniLLM, arXiv:2306.08543.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { reverseKl } from "bitgrad/distill";
 *
 * console.log(reverseKl(tensor([[1, 1, 0.5, -0.5]]), tensor([[2, 1, 0, -1]])).item()); // 0.193
 * ```
 */
export function reverseKl(student: Tensor, teacher: Tensor, options?: Partial<DivergenceOptions>): Tensor {
  const given = readOptions("reverseKl", options, plain);
  return diverge("reverseKl", student, teacher, given, (logP, logQ) => kl(logQ, logP));
}

export interface SkewOptions extends DivergenceOptions {
  /** The share of a distribution itself in the mixture it is compared with, 0 to 1. */
  alpha: number;
}

const skewed: SkewOptions = { ...plain, alpha: 0.1 };

function skewOptions(op: string, options: Partial<SkewOptions> | undefined): SkewOptions {
  const given = readOptions<SkewOptions>(op, options, skewed);
  checkShare(op, "alpha", given.alpha);
  return given;
}

/**
 * KL(p ‖ alpha·p + (1 − alpha)·q), p the teacher's and q the student's probabilities, logits (…, C): finite where the
 * student gives nothing. Ko et al., 2024, DistiLLM, arXiv:2402.03898.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { skewKl } from "bitgrad/distill";
 *
 * console.log(skewKl(tensor([[1, 1, 0.5, -0.5]]), tensor([[2, 1, 0, -1]])).item()); // 0.149
 * ```
 */
export function skewKl(student: Tensor, teacher: Tensor, options?: Partial<SkewOptions>): Tensor {
  const given = skewOptions("skewKl", options);
  return diverge("skewKl", student, teacher, given, (logP, logQ) =>
    kl(logP, mixed(logP, logQ, 1 - given.alpha)),
  );
}

/**
 * KL(q ‖ alpha·q + (1 − alpha)·p), p the teacher's and q the student's probabilities, logits (…, C): what its authors found
 * best. Ko et al., 2024, DistiLLM, arXiv:2402.03898.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { skewReverseKl } from "bitgrad/distill";
 *
 * console.log(skewReverseKl(tensor([[1, 1, 0.5, -0.5]]), tensor([[2, 1, 0, -1]])).item()); // 0.153
 * ```
 */
export function skewReverseKl(student: Tensor, teacher: Tensor, options?: Partial<SkewOptions>): Tensor {
  const given = skewOptions("skewReverseKl", options);
  return diverge("skewReverseKl", student, teacher, given, (logP, logQ) =>
    kl(logQ, mixed(logP, logQ, given.alpha)),
  );
}

/**
 * The generalised Jensen-Shannon divergence beta·KL(p ‖ m) + (1 − beta)·KL(q ‖ m), m = beta·p + (1 − beta)·q, p the
 * teacher's and q the student's probabilities, logits (…, C). It goes to 0 where beta goes to 0 or 1; GKD's code takes
 * KL(p ‖ q) for a beta of 0 and KL(q ‖ p) for 1: `forwardKl` and `reverseKl` here. Agarwal et al., 2023, arXiv:2306.13649.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { jsd } from "bitgrad/distill";
 *
 * console.log(jsd(tensor([[1, 1, 0.5, -0.5]]), tensor([[2, 1, 0, -1]])).item()); // 0.0462
 * ```
 */
export function jsd(
  student: Tensor,
  teacher: Tensor,
  options?: Partial<DivergenceOptions & { beta: number }>,
): Tensor {
  const { beta, ...given } = readOptions("jsd", options, { ...plain, beta: 0.5 });
  checkShare("jsd", "beta", beta);
  return diverge("jsd", student, teacher, given, (logP, logQ) => {
    const logM = mixed(logP, logQ, 1 - beta);
    return kl(logP, logM)
      .mul(beta)
      .add(kl(logQ, logM).mul(1 - beta));
  });
}

/**
 * Half the sum of |p − q| over classes, p and q the probabilities of teacher and student, logits (…, C). 0 to 1. Wen et al.,
 * 2023, arXiv:2307.15190.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { totalVariation } from "bitgrad/distill";
 *
 * console.log(totalVariation(tensor([[1, 1, 0.5, -0.5]]), tensor([[2, 1, 0, -1]])).item()); // 0.291
 * ```
 */
export function totalVariation(
  student: Tensor,
  teacher: Tensor,
  options?: Partial<DivergenceOptions>,
): Tensor {
  const given = readOptions("totalVariation", options, plain);
  return diverge("totalVariation", student, teacher, given, (logP, logQ) =>
    logP.exp().sub(logQ.exp()).abs().sum({ axis: -1 }).div(2),
  );
}
