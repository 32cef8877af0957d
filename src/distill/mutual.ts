/** Networks that learn from each other. */

import { checkChoice, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { sameShape } from "../shape.ts";
import type { Tensor, TensorLike } from "../tensor.ts";
import { checkTemperature, checkTensors, type PositionOptions, Positions, perPosition } from "./positions.ts";
import { kdLoss, labelLoss } from "./soft.ts";

export interface MutualOptions extends PositionOptions {
  /** Class indices (…), -100 where there is none; or null to learn from the peers alone. */
  labels: TensorLike | null;
  /** The factor of what the peers teach; the labels count once. */
  weight: number;
  /** What the peers teach is added, as in the authors' code, or averaged over the other peers, as in the paper. */
  average: "sum" | "mean";
  temperature: number;
  /** For each peer the positions (…) in which it teaches, such as `confidenceMask` of its logits; or null for all. */
  masks: readonly (TensorLike | null)[] | null;
  /** What a peer teaches is averaged over all positions that count, or over those in which it teaches. */
  maskNorm: "all" | "selected";
}

export interface MutualLoss {
  /** One for each peer, with a gradient to its own logits alone. */
  readonly losses: Tensor[];
  /** Their sum, of which one backward pass serves all peers. */
  readonly total: Tensor;
}

/**
 * The losses of peers that learn from labels and from each other, logits (…, C) each: peer i has
 * crossEntropy(zᵢ, labels) + weight·Σ T²·KL(softmax(zⱼ/T) ‖ softmax(zᵢ/T)) over the others j. To each the others are
 * constants. A loss of its own, such as `proSelfLoss`, is added to what peers without `labels` give.
 * Zhang et al., 2018, arXiv:1706.00384.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { mutualLoss } from "bitgrad/distill";
 * import { Linear } from "bitgrad/nn";
 * import { optimizer, sgd } from "bitgrad/optim";
 * import { trainStep } from "bitgrad/train";
 *
 * const peers = [new Linear(4, 3), new Linear(4, 3)];
 * const both = optimizer(peers, [
 *   [(path) => path.startsWith("0"), sgd({ lr: 0.1 })], // every peer at a rate of its own
 *   [(path) => path.startsWith("1"), sgd({ lr: 0.2 })],
 * ]);
 * const [x, labels] = [randn([8, 4]), [0, 1, 2, 0, 1, 2, 0, 1]];
 * const step = () =>
 *   trainStep(peers, both, (nets) => mutualLoss(nets.map((net) => net.forward(x)), { labels }).total);
 * const first = step();
 * console.log(step() < first); // true
 * ```
 */
export function mutualLoss(logits: readonly Tensor[], options?: Partial<MutualOptions>): MutualLoss {
  const op = "mutualLoss";
  const given = readOptions<MutualOptions>(op, options, {
    ...perPosition,
    labels: null,
    weight: 1,
    average: "sum",
    temperature: 1,
    masks: null,
    maskNorm: "all",
  });
  const { labels, weight, average, temperature, mask, masks, maskNorm, reduction } = given;
  const shape = checkPeers(op, logits);
  const width = shape[shape.length - 1];
  checkTemperature(op, temperature);
  checkChoice(op, "average", average, ["sum", "mean"]);
  checkChoice(op, "maskNorm", maskNorm, ["all", "selected"]);
  if (!(weight >= 0 && weight < Infinity)) {
    throw new OptionError(`${op}: weight must be finite and not negative, got ${weight}`);
  }
  if (masks !== null && !(Array.isArray(masks) && masks.length === logits.length)) {
    throw new OptionError(
      `${op}: masks must be a list of one for each of ${logits.length} peers, got ${show(masks)}`,
    );
  }
  const positions = new Positions(op, shape.slice(0, -1), mask);
  const teaches = masks?.map((of) => positions.within(of)) ?? null;
  const share = weight / (average === "mean" ? logits.length - 1 : 1);

  const losses = logits.map((own, i) => {
    const parts = logits.flatMap((peer, j) => {
      if (j === i || share === 0) return [];
      const where = teaches?.[j].mask ?? mask;
      const each = kdLoss(own, peer, { temperature, mask: where, reduction: "none" });
      return maskNorm === "selected" && teaches ? each.mul(positions.count / (teaches[j].count || 1)) : each;
    });
    const taught = parts.length > 0 ? parts.reduce((a, b) => a.add(b)) : null;
    const learnt = taught && positions.reduce(taught, reduction, width).mul(share);
    const kept = positions.keep(own);
    if (labels === null) return learnt ?? positions.reduce(kept.sum({ axis: -1 }).mul(0), reduction, width);
    const hard = labelLoss(positions, kept, labels, reduction);
    return learnt ? hard.add(learnt) : hard;
  });
  return { losses, total: losses.reduce((a, b) => a.add(b)) };
}

function checkPeers(op: string, logits: readonly Tensor[]): readonly number[] {
  if (!Array.isArray(logits) || logits.length < 2) {
    throw new OptionError(`${op}: needs the logits of at least two peers in a list, got ${show(logits)}`);
  }
  checkTensors(op, ...logits);
  const [{ shape }] = logits as readonly Tensor[];
  const other = logits.find((z) => z.rank === 0 || !sameShape(z.shape, shape));
  if (other) {
    throw new ShapeError(
      `${op}: peers must have one shape (…, C), got ${show(shape)} and ${show(other.shape)}`,
    );
  }
  return shape;
}
