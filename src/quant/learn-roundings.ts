/** How the methods that learn roundings go through a model: layer by layer, or block by block. */

import { type BlockPatterns, visitBlocks } from "./blocks.ts";
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
  /** Steps for each layer, or block. */
  iterations: number;
}

export const learningDefaults = { ...calibrationDefaults, blocks: null };

/** Learns the roundings of a model's weights, which `make` makes one of for each, and holds the codes. */
export async function learnRoundings<B>(
  op: string,
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options: LearningOptions<B>,
  make: (start: Start) => Rounding,
): Promise<void> {
  const { blocks, iterations } = options;
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
