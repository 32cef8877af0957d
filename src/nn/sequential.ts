import { isFunction, isPlainObject, isThenable, OptionError, show } from "../errors.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { inside } from "./inside.ts";
import { isLayer, type Layer } from "./layer.ts";
import type { PackedFields, Packer } from "./packing.ts";
import { walk } from "./tree.ts";

export type Step = Layer | ((x: Tensor) => Tensor);

/** Throws OptionError for what is neither a layer nor a function; `where` says where it was given. */
export function checkStep(op: string, step: unknown, where: string): void {
  if (isLayer(step) || isFunction(step)) return;
  throw new OptionError(
    `${op}: needs layers and functions, got ${show(step)} ${where}${typeof step === "function" ? "; a class must be called with new" : ""}`,
  );
}

/** The property that holds the step at a place of a container, however deep, or the place. */
function nameOf(container: object, place: string | number, step: unknown): string {
  if (typeof place === "string") return place;
  const entries = Object.entries(container);
  const held = entries[place]?.[1] === step ? entries[place] : undefined;
  let name = (held ?? entries.find(([, value]) => value === step))?.[0];
  walk(container, (item, path) => {
    if (item === step) name ??= path;
    return name === undefined;
  });
  return name ?? String(place);
}

/**
 * What the step of a container gives for x. Throws OptionError, naming the step, for one that is neither a layer nor a
 * function, and for one that gives no tensor.
 */
export function applied(
  op: string,
  container: object,
  place: string | number,
  step: Step,
  x: Tensor,
): Tensor {
  const name = (): string => show(nameOf(container, place, step));
  if (!isLayer(step) && !isFunction(step)) checkStep(op, step, `at ${name()}`);
  const y: unknown = isLayer(step) ? step.forward(x) : step(x);
  if (isTensor(y)) return y;
  // Nobody else hears of the rejection of a promise.
  isThenable(y);
  throw new OptionError(`${op}: a step must give a tensor, got ${show(y)} from ${name()}`);
}

/** x through all steps of a container, one after another. */
export const inSequence = (container: object, steps: Iterable<Step>, x: Tensor): Tensor =>
  inside(container, () => {
    let y = x;
    let place = 0;
    for (const step of steps) y = applied("Sequential", container, place++, step, y);
    return y;
  });

/**
 * Layers and functions, one after another. Its children are the properties "0", "1", …, or those that are named, which may
 * be replaced. A class of models whose graph is a sequence may extend it: it has its layers as properties of its own and
 * gives its steps by `*[Symbol.iterator]()`, in place of `forward` and `toPacked`, which both follow from them.
 *
 * @example
 * ```ts
 * import { relu } from "bitgrad";
 * import { Linear, namedParameters, Sequential } from "bitgrad/nn";
 *
 * const net = new Sequential({ hidden: new Linear(4, 8), act: relu, out: new Linear(8, 2) });
 * console.log(namedParameters(net).map(([name]) => name));
 * // ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
 * ```
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

  /** Throws OptionError, naming its path, for a step that gives no tensor or was replaced by what is none. */
  forward(x: Tensor): Tensor {
    return inSequence(this, this, x);
  }

  /** Functions are packed by name: the activations of `bitgrad`. Throws OptionError for any other. */
  toPacked(packer: Packer): PackedFields {
    return packer.sequence(...this);
  }
}
