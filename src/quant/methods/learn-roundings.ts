/** How the methods that learn roundings go through a model: layer by layer, or block by block. */

import { isFunction, OptionError, show } from "../../errors.ts";
import { type BlockLoss, type BlockPatterns, visitBlocks } from "./blocks.ts";
import { layerError, leastError, type Rounding, type Start, startOf } from "./reconstruction.ts";
import { type CalibrationOptions, calibrationDefaults, visitInOrder } from "./sites.ts";

export interface LearningOptions<B> extends CalibrationOptions<B> {
  /**
   * Paths of blocks, or patterns of `matchPath` such as "blocks.*", whose layers are learned together, so that a block as a
   * whole computes what it did. Layers in no block are left as they are. Each step takes one batch, in turn. Inputs and
   * outputs of one block at a time are kept, for all batches. Default null: each layer by itself, on all batches in each
   * step.
   */
  blocks: BlockPatterns | null;
  /**
   * A loss of a batch, computed by the model, such as `(batch) => crossEntropy(model.forward(batch.x), batch.y)`. The
   * squares of its gradients then weigh what blocks return, as in BRECQ. It runs once for each batch and block, on all of
   * the batch, as `forward` does, and is only for `blocks`. Default null: all outputs weigh the same.
   */
  loss: BlockLoss<B> | null;
  /** Steps for each layer, or block. */
  iterations: number;
}

export const learningDefaults = { ...calibrationDefaults, blocks: null, loss: null };

/** Learns the roundings of a model's weights, which `make` makes one of for each, and holds the codes. */
export async function learnRoundings<B>(
  op: string,
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options: LearningOptions<B>,
  make: (start: Start) => Rounding,
): Promise<void> {
  const { blocks, loss, iterations } = options;
  if (loss !== null && !isFunction(loss)) {
    throw new OptionError(`${op}: option loss must be a function, got ${show(loss)}`);
  }
  if (loss !== null && blocks === null) {
    throw new OptionError(
      `${op}: a loss weighs the outputs of blocks, got ${show(blocks)} for blocks; name them`,
    );
  }
  if (blocks === null) {
    await visitInOrder(op, model, batches, options, ["hessian"], (site, statistics) => {
      const start = startOf(op, site);
      const error = layerError(op, site, start.weight, statistics);
      return leastError(error, [start], [make(start)], iterations)[0];
    });
    return;
  }
  await visitBlocks(op, model, batches, options, blocks, (sites, error) => {
    const starts = sites.map((site) => startOf(op, site));
    return leastError(error, starts, starts.map(make), iterations);
  });
}
