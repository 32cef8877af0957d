/** One training step, in a scope of its own. */

import { undoable } from "../changes.ts";
import {
  GradError,
  isFunction,
  isPlainObject,
  isThenable,
  OptionError,
  readOptions,
  ShapeError,
  show,
} from "../errors.ts";
import { inside } from "../nn/inside.ts";
import { namedParameters, parameters } from "../nn/tree.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { pin, scope } from "../storage.ts";
import { backwardTo } from "../tape.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { culprit } from "./culprit.ts";

/** The mean loss of a batch, alone or with how much the batch counts: its examples, or its targets that are not padding. */
export type StepLoss = Tensor | { readonly loss: Tensor; readonly count: number };

/**
 * Gradients of `loss(model)`, one step of the optimizer; returns the loss. Everything made on the way is released, the
 * gradients stay until the next step, which releases them. Modes are left as they are. Throws, before any parameter is
 * changed, GradError for a loss or a gradient that is not finite, which names the layer that such numbers come from, or the
 * parameter, where it finds one by running the loss again, and OptionError where a trainable parameter of the model has
 * a gradient and is in no group of the optimizer; running statistics and generators are then as before, too.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { Linear, mseLoss } from "bitgrad/nn";
 * import { optimizer, sgd } from "bitgrad/optim";
 * import { trainStep } from "bitgrad/train";
 *
 * const model = new Linear(4, 1);
 * const opt = optimizer(model, sgd({ lr: 0.1 }));
 * const [x, y] = [randn([32, 4]), randn([32, 1])];
 * const first = trainStep(model, opt, (net) => mseLoss(net.forward(x), y));
 * const second = trainStep(model, opt, (net) => mseLoss(net.forward(x), y));
 * console.log(second < first); // true
 * ```
 */
export function trainStep<M extends object>(
  model: M,
  optimizer: Optimizer,
  loss: (model: M) => StepLoss,
): number {
  if (typeof optimizer?.step !== "function" || !Array.isArray(optimizer.groups))
    throw new OptionError(`trainStep: needs an optimizer, got ${show(optimizer)}`);
  if (!isFunction(loss)) throw new OptionError(`trainStep: loss must be a function, got ${show(loss)}`);
  dropGradients(model, optimizer);
  return inside(model, () => {
    const [value] = addGradients("trainStep", model, loss, false);
    checkStepped("trainStep", model, optimizer);
    optimizer.step();
    return value;
  });
}

/** Gives back the memory of a gradient that a step has made; others may be in use elsewhere. */
function discard(grad: Tensor | null, by: string): void {
  if (grad?.storage.pinned || grad?.storage.out === "pinned") grad.storage.release(by);
}

/** Also of the parameters that the optimizer does not step. */
export function dropGradients(model: object, optimizer: Optimizer): void {
  for (const parameter of parameters(model)) {
    if (parameter.grad === null) continue;
    discard(parameter.grad, "the next training step");
    parameter.grad = null;
  }
  optimizer.zeroGrad();
}

/** Throws OptionError for parameters of the model that would wait for a step for ever. */
export function checkStepped(op: string, model: object, { groups }: Optimizer): void {
  const stepped = new Set<unknown>();
  for (const { parameters } of groups) for (const { parameter } of parameters) stepped.add(parameter);
  const left = namedParameters(model).filter(
    ([, parameter]) => parameter.trainable && parameter.grad !== null && !stepped.has(parameter),
  );
  if (left.length === 0) return;
  throw new OptionError(
    `${op}: no group of the optimizer holds trainable parameters, got ${show(left.map(([name]) => name))}; make it anew, or setTrainable(model, name, false)`,
  );
}

/**
 * Gradients of one batch. Where it is `weighed`, times its count and added to those of the batches before. Returns its loss
 * and how much it counts.
 */
export function addGradients<M extends object>(
  op: string,
  model: M,
  loss: (model: M) => StepLoss,
  weighed: boolean,
): [value: number, count: number] {
  return scope(
    () => {
      const [{ result, count }, back] = undoable(() => lossOf(op, () => loss(model)));
      const value = result.item();
      if (!Number.isFinite(value)) {
        // It runs again, from the same draws.
        back();
        const where = culprit(model, () => loss(model));
        throw new GradError(`${op}: the loss is not finite, got ${value}${where}; no parameter was changed`);
      }
      // Other gradients have been dropped.
      const summed = weighed ? parameters(model) : [];
      const before = summed.map((parameter) => [parameter, parameter.grad] as const);
      backwardTo(pin, weighed && count !== 1 ? result.mul(count) : result);
      for (const [parameter, sum] of before)
        if (parameter.grad !== sum) discard(sum, "a sum with a further batch");
      return [value, count];
    },
    { name: op },
  );
}

/** What a loss function gives, checked. */
export function lossOf(op: string, loss: () => StepLoss): { result: Tensor; count: number } {
  const given = loss();
  const whole = isTensor(given) || !isPlainObject(given) ? { loss: given, count: 1 } : given;
  const { loss: result, count } = readOptions<{ loss: Tensor; count: number }>(op, whole, {
    loss: null as never,
    count: 1,
  });
  if (!isTensor(result) || result.size !== 1) {
    throw new ShapeError(`${op}: the loss must be a single number, got ${show(result)}${advice(result)}`);
  }
  if (!(count >= 0 && count < Infinity)) {
    throw new OptionError(`${op}: count must be a finite number of at least 0, got ${show(count)}`);
  }
  return { result, count };
}

function advice(loss: unknown): string {
  if (isTensor(loss)) return "; reduce it, for example with mean()";
  if (isThenable(loss)) return "; make the loss function synchronous";
  return typeof loss === "number" ? "; return the tensor, without item()" : "";
}

/** Sums of gradients over `count` batches, or of what they count, become means. */
export function averageGradients(model: object, count: number): void {
  // Where nothing counts all of them are 0.
  if (count === 1 || count === 0) return;
  scope(() => {
    for (const parameter of parameters(model)) {
      const sum = parameter.grad;
      if (sum === null) continue;
      parameter.grad = pin(sum.div(count));
      discard(sum, "the mean over its batches");
    }
  });
}
