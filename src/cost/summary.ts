/** Summary: what a model's parameters are and how much room they take. */

import { bytesPerElement, type DType } from "../dtype.ts";
import { OptionError, readOptions, show } from "../errors.ts";
import { isLayer } from "../nn/layer.ts";
import { whileEvaluating } from "../nn/modes.ts";
import type { Parameter } from "../nn/parameter.ts";
import { taps } from "../nn/taps.ts";
import { findParameters } from "../nn/tree.ts";
import { shapesOnly } from "../ops/shapes-only.ts";
import { grouped, tableOf } from "../printing.ts";
import type { Shape } from "../shape.ts";
import { isTensor, type TensorLike } from "../tensor.ts";

export interface SummaryRow {
  /** The parameter's name; of a tied one the first. */
  readonly path: string;
  /** The class of the layer that holds it. */
  readonly kind: string;
  readonly shape: Shape;
  /** Elements. */
  readonly parameters: number;
  /** Bits an element: those of the last transform that quantizes, else of the store or the dtype. */
  readonly bits: number;
  /** Bytes of the elements at these bits, rounded up; scales and other side data of a quantizer are not in it. */
  readonly bytes: number;
  /** The shape that the layer gave for the input; null without one, or where it gave none or several. */
  readonly output: Shape | null;
}

export interface Summary {
  readonly rows: readonly SummaryRow[];
  readonly totals: {
    readonly parameters: number;
    readonly trainable: number;
    /** Bits an element, on average. */
    readonly bits: number;
    readonly bytes: number;
  };
  /** A table. */
  toString(): string;
}

export interface SummaryOptions {
  /** Given to the model's forward as it is, in evaluation mode and by shapes alone, to tell the layers' output shapes. */
  input: TensorLike | null;
}

/**
 * One row a parameter, tied ones once, and totals; `String(summary(model))` is a table. With an input the model is run by
 * shapes alone, so that one of any size, made in `withoutData` too, can be listed; StageError where its forward reads
 * numbers.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { summary } from "bitgrad/cost";
 * import { mlp } from "bitgrad/models";
 *
 * const { rows, totals } = summary(mlp([144, 64, 10]), { input: zeros([1, 144]) });
 * console.log(totals.parameters, totals.bytes, rows[0].output); // 9930 39720 [1, 64]
 * ```
 */
export function summary(model: object, options?: Partial<SummaryOptions>): Summary {
  const { input } = readOptions<SummaryOptions>("summary", options, { input: null });
  const outputs = input === null ? null : outputShapes(model, input);
  const seen = new Set<Parameter>();
  const rows: SummaryRow[] = [];
  let trainable = 0;
  let bitSum = 0;
  for (const { path, item, owner } of findParameters(model)) {
    if (seen.has(item)) continue;
    seen.add(item);
    const bits = bitsOf(item);
    bitSum += bits * item.size;
    if (item.trainable) trainable += item.size;
    rows.push({
      path,
      kind: owner.constructor.name,
      shape: item.shape,
      parameters: item.size,
      bits,
      bytes: Math.ceil((bits * item.size) / 8),
      output: outputs?.get(path.slice(0, Math.max(0, path.lastIndexOf(".")))) ?? null,
    });
  }
  const parameters = rows.reduce((sum, row) => sum + row.parameters, 0);
  const bytes = rows.reduce((sum, row) => sum + row.bytes, 0);
  const totals = { parameters, trainable, bits: parameters === 0 ? 0 : bitSum / parameters, bytes };
  return { rows, totals, toString: () => table(rows, totals, outputs !== null) };
}

function bitsOf({ value, store, transforms }: Parameter): number {
  const quantized = transforms.findLast(({ bits }) => bits !== undefined);
  return quantized?.bits ?? store?.bits ?? 8 * bytesPerElement(value.dtype as DType);
}

function outputShapes(model: object, input: TensorLike): Map<string, Shape | null> {
  if (!isLayer(model)) {
    throw new OptionError(`summary: an input needs a model with forward, got ${show(model)}`);
  }
  const layers = taps(model, "**");
  try {
    const run = () => layers.collect(() => model.forward(input as never));
    const shapes = whileEvaluating(model, () =>
      shapesOnly(() =>
        [...run().calls].map(([path, calls]): [string, Shape | null] => {
          const [first] = calls;
          return [path, calls.length === 1 && isTensor(first?.output) ? first.output.shape : null];
        }),
      ),
    );
    return new Map(shapes);
  } finally {
    layers.dispose();
  }
}

const asShape = (shape: Shape | null): string => (shape ? `(${shape.join(", ")})` : "");
const asBits = (bits: number): string => String(Number(bits.toFixed(2)));

function table(rows: readonly SummaryRow[], totals: Summary["totals"], withOutput: boolean): string {
  const cells = rows.map(({ path, kind, shape, output, parameters, bits, bytes }) => [
    path,
    kind,
    asShape(shape),
    ...(withOutput ? [asShape(output)] : []),
    grouped(parameters),
    asBits(bits),
    grouped(bytes),
  ]);
  const gap = withOutput ? ["", "", ""] : ["", ""];
  const head = ["path", "kind", "shape", ...(withOutput ? ["output"] : []), "parameters", "bits", "bytes"];
  const foot = ["total", ...gap, grouped(totals.parameters), asBits(totals.bits), grouped(totals.bytes)];
  return tableOf(head, cells, foot, head.length - 3);
}
