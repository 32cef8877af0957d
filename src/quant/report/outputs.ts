/** What a model returns for a batch, as plain numbers. */

import { undoable } from "../../changes.ts";
import { isFloat } from "../../dtype.ts";
import { OptionError, ShapeError, StageError, show } from "../../errors.ts";
import { whileEvaluating } from "../../nn/modes.ts";
import { type Shape, sameShape } from "../../shape.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { isTensor } from "../../tensor.ts";
import { rowDivergence } from "./distortion.ts";

export interface Output {
  readonly data: Float32Array | Float64Array;
  readonly shape: Shape;
}

/** Runs `fn` in evaluation and without gradients; what it makes goes. */
export const quietly = <R>(model: object, fn: () => R): R =>
  whileEvaluating(model, () => noGrad(() => scope(fn)));

/** Runs `fn`, then puts back what it changed beside its result, such as caches. */
export function unchanged<R>(fn: () => R): R {
  const [result, undo] = undoable(fn);
  undo();
  return result;
}

/** A copy of the float tensor that a model returned, or a layer. Throws OptionError for anything else, and for NaN in it. */
export function outputOf(op: string, given: unknown, what: string, at: string): Output {
  if (!isTensor(given) || !isFloat(given.dtype)) {
    const got = isTensor(given) ? given.dtype : show(given);
    throw new OptionError(`${op}: ${what} must return a tensor of floats, got ${got} in ${at}`);
  }
  const data = given.data.slice() as Output["data"];
  const odd = data.findIndex(Number.isNaN);
  if (odd < 0) return { data, shape: given.shape };
  throw new OptionError(`${op}: ${what} must return numbers, got NaN at index ${odd} in ${at}`);
}

/** Runs a batch and copies its output. */
export const runOutput = <B>(op: string, run: (batch: B) => unknown, batch: B, at: string): Output =>
  scope(() =>
    outputOf(
      op,
      unchanged(() => run(batch)),
      "forward",
      `${at}; return logits by { forward }`,
    ),
  );

/** Throws StageError where there were no batches, or none of them had a row. */
export function checkRan(op: string, batches: number, numbers: number): void {
  if (batches === 0) throw new StageError(`${op}: needs at least one batch, got none`);
  if (numbers > 0) return;
  throw new StageError(`${op}: no batch reached a layer, got ${batches} without a row`);
}

/** Throws ShapeError where two runs of a batch differ in shape. */
export function checkAlike(op: string, a: Output, b: Output, at: string): void {
  if (sameShape(a.shape, b.shape)) return;
  throw new ShapeError(
    `${op}: outputs must have one shape with codes and without, got ${show(b.shape)} and ${show(a.shape)} in ${at}`,
  );
}

/** Classes of each row of logits; 0 where they are none. */
export const classesOf = ({ shape }: Output): number => {
  const n = shape.at(-1) ?? 0;
  return n < 2 ? 0 : n;
};

/**
 * Calls `visit` with the divergence of each row of logits and the index of its first logit. Throws OptionError for a row
 * that has none.
 */
export function forDivergences(
  op: string,
  float: Output,
  other: Output,
  at: string,
  visit: (kl: number, from: number) => void,
): void {
  const n = classesOf(float);
  if (n === 0) return;
  for (let from = 0; from < float.data.length; from += n) {
    const kl = rowDivergence(float.data, other.data, from, n);
    if (Number.isNaN(kl)) {
      const bad = [float, other].flatMap(({ data }) => Array.from(data.subarray(from, from + n)));
      throw new OptionError(
        `${op}: a row of logits must have a finite one and no Infinity, got ${show(bad)} in ${at}`,
      );
    }
    visit(kl, from);
  }
}
