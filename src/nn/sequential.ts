import { undoing } from "../changes.ts";
import { isFunction, isPlainObject, OptionError, show } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { isLayer, type Layer } from "./layer.ts";
import type { PackedFields, Packer } from "./packing.ts";

export type Step = Layer | ((x: Tensor) => Tensor);

/** Throws OptionError for what is neither a layer nor a function; `where` says where it was given. */
export function checkStep(op: string, step: unknown, where: string): void {
  if (isLayer(step) || isFunction(step)) return;
  throw new OptionError(
    `${op}: needs layers and functions, got ${show(step)} ${where}${typeof step === "function" ? "; a class must be called with new" : ""}`,
  );
}

export const applied = (step: Step, x: Tensor): Tensor =>
  (typeof step === "function" ? step(x) : step.forward(x)) as Tensor;

/** x through all steps, one after another. */
export const inSequence = (steps: Iterable<Step>, x: Tensor): Tensor =>
  undoing(() => {
    let y = x;
    for (const step of steps) y = applied(step, y);
    return y;
  });

/**
 * Layers and functions, one after another. Its children are the properties "0", "1", …, or those that are named, which may
 * be replaced. A class of models whose graph is a sequence may extend it: it has its layers as properties of its own and
 * gives its steps by `*[Symbol.iterator]()`, in place of `forward` and `toPacked`, which both follow from them.
 *
 * @example
 * const net = new Sequential({ hidden: new Linear(4, 8), act: relu, out: new Linear(8, 2) });
 * namedParameters(net).map(([name]) => name); // ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
 */
export class Sequential {
  [index: number]: Step;

  /** Throws OptionError for what is no step, and for names that are numbers, hold a dot, begin with "_" or are taken. */
  constructor(steps: Readonly<Record<string, Step>>);
  constructor(...steps: Step[]);
  constructor(...steps: (Step | Readonly<Record<string, Step>>)[]) {
    const [first] = steps;
    const isNamed = steps.length === 1 && isPlainObject(first) && !isLayer(first);
    for (const [name, step] of Object.entries(isNamed ? first : steps)) {
      checkStep("Sequential", step, `at place ${name}`);
      if (isNamed && (/^(_|\d+$)|\./.test(name) || name === "" || name in Sequential.prototype)) {
        throw new OptionError(
          `Sequential: a name must be no number and not taken, without dots and no "_" before it, got ${show(name)}`,
        );
      }
      Object.assign(this, { [name]: step });
    }
  }

  get length(): number {
    return [...this].length;
  }

  *[Symbol.iterator](): Generator<Step> {
    yield* Object.values(this) as Step[];
  }

  forward(x: Tensor): Tensor {
    return inSequence(this, x);
  }

  /** Functions are packed by name: the activations of `bitgrad`. Throws OptionError for any other. */
  toPacked(packer: Packer): PackedFields {
    return packer.sequence(...this);
  }
}
