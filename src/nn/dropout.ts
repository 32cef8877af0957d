import { checkShare, readOptions } from "../errors.ts";
import type { Rng } from "../random/rng.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import type { RngOption } from "./init.ts";
import { inside } from "./inside.ts";
import type { PackedFields } from "./packing.ts";

/**
 * In training sets a random share p of the elements to 0 and scales the rest by 1/(1 − p). Srivastava et al., 2014.
 *
 * @example
 * ```ts
 * import { ones, Rng } from "bitgrad";
 * import { Dropout, evaluate } from "bitgrad/nn";
 *
 * const drop = new Dropout(0.5, { rng: new Rng(1) });
 * console.log(new Set(drop.forward(ones([100])).data).size); // 2
 * console.log(evaluate(drop).forward(ones([100])).sum().item()); // 100
 * ```
 */
export class Dropout {
  training = true;
  readonly p: number;
  readonly rng: Rng | null;

  constructor(p = 0.5, options?: Partial<RngOption>) {
    checkShare("Dropout", "p", p);
    this.p = p;
    this.rng = readOptions<RngOption>("Dropout", options, { rng: null }).rng;
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("Dropout", x);
      const { p, training, rng } = this;
      return x.dropout({ p, training, rng });
    });
  }

  /** Nothing is dropped outside of training. */
  toPacked(): PackedFields {
    return { kind: "function", name: "identity" };
  }
}
