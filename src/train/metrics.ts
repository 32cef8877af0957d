/** Measures of classifiers and language models, as plain numbers. */

import { isFloat } from "../dtype.ts";
import { DTypeError, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { argmax } from "../ops/reduce.ts";
import { topK as largest } from "../ops/sort.ts";
import { checkShape, sameShape } from "../shape.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { asTensor, isTensor, type Tensor, type TensorLike } from "../tensor.ts";

export interface AccuracyOptions {
  /** Right is among this many best scores. */
  topK: number;
  /** Positions with this target do not count. */
  ignoreIndex: number;
}

/**
 * The share of right predictions, 0 to 1: scores (…, C) or predicted classes (…), and class indices (…). Throws OptionError
 * where no position counts, and for NaN scores where one does, ShapeError for a target that is no class.
 *
 * @example
 * ```ts
 * import { accuracy } from "bitgrad/train";
 *
 * console.log(accuracy([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [1, 0, 0])); // 0.667
 * ```
 */
export function accuracy(
  predicted: TensorLike,
  target: TensorLike,
  options?: Partial<AccuracyOptions>,
): number {
  const { topK, ignoreIndex } = readOptions<AccuracyOptions>("accuracy", options, {
    topK: 1,
    ignoreIndex: -100,
  });
  if (!(topK >= 1)) throw new OptionError(`accuracy: topK must be at least 1, got ${topK}`);
  return quietly(() => {
    const wanted = asClasses("accuracy", target);
    const guess = asTensor("accuracy", predicted);
    const ranked =
      topK === 1
        ? asPredictions("accuracy", guess, wanted, ignoreIndex).unsqueeze(-1)
        : largest(checkScores("accuracy", guess, wanted, ignoreIndex), topK).indices;
    const classes = guess.rank > wanted.rank ? guess.shape[wanted.rank] : Infinity;
    let counted = 0;
    let right = 0;
    for (let i = 0; i < wanted.size; i++) {
      if (wanted.data[i] === ignoreIndex) continue;
      if (!(wanted.data[i] >= 0 && wanted.data[i] < classes)) {
        throw new ShapeError(
          `accuracy: target out of range, got ${wanted.data[i]} for ${classes} classes; leave positions out by ignoreIndex`,
        );
      }
      counted++;
      for (let k = 0; k < topK; k++) if (ranked.data[i * topK + k] === wanted.data[i]) right++;
    }
    if (counted === 0) throw new OptionError(`accuracy: no position counts, got ${show(wanted.shape)}`);
    return right / counted;
  });
}

/**
 * exp of a mean cross entropy in nats: the number of equally likely choices that would be as hard.
 *
 * @example
 * ```ts
 * import { perplexity } from "bitgrad/train";
 *
 * console.log(perplexity(Math.log(8))); // 8.0
 * ```
 */
export function perplexity(loss: number | Tensor): number {
  const nats = isTensor(loss) ? loss.item() : loss;
  if (typeof nats !== "number" || Number.isNaN(nats)) {
    throw new OptionError(`perplexity: needs a mean loss in nats, got ${show(loss)}`);
  }
  return Math.exp(nats);
}

/**
 * How often each class was taken for each: entry (i, j) of (C, C) counts examples of class i predicted as j. Scores (…, C) or
 * predicted classes (…), and class indices (…); `classes` is read off the scores, or else must be given. Throws OptionError for
 * NaN scores.
 *
 * @example
 * ```ts
 * import { confusionMatrix } from "bitgrad/train";
 *
 * console.log(confusionMatrix([1, 0, 1], [1, 0, 0], { classes: 2 }).toArray()); // [[1, 1], [0, 1]]
 * ```
 */
export function confusionMatrix(
  predicted: TensorLike,
  target: TensorLike,
  options?: { classes?: number; ignoreIndex?: number },
): Tensor {
  const op = "confusionMatrix";
  const settings = readOptions<{ classes: number | null; ignoreIndex: number }>(op, options, {
    classes: null,
    ignoreIndex: -100,
  });
  return quietly(() => {
    const wanted = asClasses(op, target);
    const guess = asTensor(op, predicted);
    const classes = settings.classes ?? (guess.rank === wanted.rank + 1 ? guess.shape[guess.rank - 1] : null);
    if (classes === null || !Number.isInteger(classes) || classes < 1) {
      throw new OptionError(`${op}: classes must be a positive integer, got ${show(classes)}`);
    }
    checkShape(op, [classes, classes]);
    const taken = asPredictions(op, guess, wanted, settings.ignoreIndex);
    const counts = new Int32Array(classes * classes);
    for (let i = 0; i < wanted.size; i++) {
      const [row, column] = [wanted.data[i], taken.data[i]];
      if (row === settings.ignoreIndex) continue;
      if (!(row >= 0 && row < classes && column >= 0 && column < classes)) {
        throw new ShapeError(
          `${op}: class out of range, got ${row} predicted as ${column} for ${classes} classes`,
        );
      }
      counts[row * classes + column]++;
    }
    return asTensor(op, counts).reshape([classes, classes]);
  });
}

const quietly = <T>(fn: () => T): T => scope(() => noGrad(fn));

function asClasses(op: string, value: TensorLike): Tensor {
  const classes = asTensor(op, value, "int32");
  if (isFloat(classes.dtype) || classes.dtype === "bool") {
    throw new DTypeError(`${op}: classes must be integers, got ${classes.dtype}; use .to("int32")`);
  }
  return classes;
}

/** The predicted class of each position. */
function asPredictions(op: string, guess: Tensor, wanted: Tensor, ignoreIndex: number): Tensor {
  if (guess.rank === wanted.rank + 1)
    return argmax(checkScores(op, guess, wanted, ignoreIndex), { axis: -1 });
  if (!sameShape(guess.shape, wanted.shape)) throw unlike(op, guess, wanted);
  return checkCounted(op, "classes must be whole numbers", Number.isInteger, guess, wanted, ignoreIndex);
}

function checkScores(op: string, guess: Tensor, wanted: Tensor, ignoreIndex: number): Tensor {
  if (!sameShape(guess.shape.slice(0, -1), wanted.shape)) throw unlike(op, guess, wanted);
  return checkCounted(op, "scores must not be NaN", (x) => !Number.isNaN(x), guess, wanted, ignoreIndex);
}

/** What does not count may hold anything. */
function checkCounted(
  op: string,
  rule: string,
  fits: (x: number) => boolean,
  guess: Tensor,
  { data: wanted, size }: Tensor,
  ignoreIndex: number,
): Tensor {
  const { data } = guess;
  const width = guess.size / size;
  for (let i = 0; i < size; i++) {
    if (wanted[i] === ignoreIndex) continue;
    for (let j = i * width; j < (i + 1) * width; j++)
      if (!fits(data[j])) throw new OptionError(`${op}: ${rule}, got ${data[j]} at ${i}`);
  }
  return guess;
}

const unlike = (op: string, guess: Tensor, wanted: Tensor): ShapeError =>
  new ShapeError(
    `${op}: predictions must have the targets' shape, or a class axis after it, got ${show(guess.shape)} for ${show(wanted.shape)}`,
  );
