import { undoing } from "../changes.ts";
import { isFunction, OptionError, show } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { isLayer, type Layer } from "./layer.ts";
import type { PackedFields, Packer } from "./packing.ts";

export type Step = Layer | ((x: Tensor) => Tensor);

/** Layers and functions, one after another. Its children are the properties "0", "1", …, which may be replaced. */
export class Sequential {
  [index: number]: Step;

  constructor(...steps: Step[]) {
    steps.forEach((step, i) => {
      if (!isLayer(step) && !isFunction(step)) {
        throw new OptionError(
          `Sequential: needs layers and functions, got ${show(step)} at place ${i}${typeof step === "function" ? "; a class must be called with new" : ""}`,
        );
      }
      this[i] = step;
    });
  }

  get length(): number {
    return Object.keys(this).length;
  }

  *[Symbol.iterator](): Generator<Step> {
    for (let i = 0; i < this.length; i++) yield this[i];
  }

  forward(x: Tensor): Tensor {
    return undoing(() => {
      let y = x;
      for (const step of this) y = (typeof step === "function" ? step(y) : step.forward(y)) as Tensor;
      return y;
    });
  }

  /** Functions are packed by name: the activations of `bitgrad`. Throws OptionError for any other. */
  toPacked(packer: Packer): PackedFields {
    return packer.sequence(...this);
  }
}
