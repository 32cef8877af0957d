/** How much a loss minds what each output of a layer is: the diagonal of Fisher's matrix, from single batches. */

import { valueAndGrad } from "../../autograd.ts";
import { ShapeError, StageError, show, synchronous } from "../../errors.ts";
import type { Layer } from "../../nn/layer.ts";
import { zeros } from "../../ops/create.ts";
import { sameShape } from "../../shape.ts";
import { scope } from "../../storage.ts";
import type { Tensor } from "../../tensor.ts";

/**
 * The squares of the gradients of a loss by what a layer returns, for each of its calls, whose outputs are given. The layer
 * is as it was afterwards. Throws StageError for a loss in which it runs as often not, and for an async one, ShapeError for
 * one that runs it on more or less than a batch.
 */
export function squaredGradients(
  op: string,
  layer: Layer,
  path: string,
  outputs: readonly Tensor[],
  loss: () => Tensor,
): Tensor[] {
  const before = Object.getOwnPropertyDescriptor(layer, "forward");
  const { forward } = layer;
  let calls = 0;
  /** The loss with something added to each output, by which it is differentiated at 0. */
  const shifted = (shifts: readonly Tensor[]): Tensor => {
    calls = 0;
    const value = function (this: Layer, ...args: Parameters<Layer["forward"]>): unknown {
      const output = forward.apply(this, args) as Tensor;
      const shift = shifts[calls++];
      if (!shift) return output;
      if (sameShape(output.shape, shift.shape)) return output.add(shift);
      throw new ShapeError(
        `${op}: the loss must run a block on all of a batch, got outputs ${show(output.shape)} for ${show(shift.shape)} of ${show(path)}; leave out what it does not count from what the model returns`,
      );
    };
    Object.defineProperty(layer, "forward", { configurable: true, writable: true, value });
    try {
      return synchronous(op, loss(), "loss");
    } finally {
      if (before) Object.defineProperty(layer, "forward", before);
      else delete (layer as { forward?: unknown }).forward;
    }
  };
  return scope(() => {
    const { grad } = valueAndGrad(shifted)(outputs.map(({ shape, dtype }) => zeros(shape, { dtype })));
    if (calls !== outputs.length) {
      throw new StageError(
        `${op}: the loss must run a block as often as a batch does, got ${calls} times for ${outputs.length} of ${show(path)}; compute it by the model`,
      );
    }
    return outputs.map(({ shape }, i) => (grad[i] as Tensor | null)?.square() ?? zeros(shape));
  });
}
