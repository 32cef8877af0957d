/** quantReport: how far a quantized model lies from its float self, layer by layer and from end to end. */

import { isFunction, OptionError, readOptions, StageError, show } from "../../errors.ts";
import { batchRunner } from "../../nn/batches.ts";
import type { Layer } from "../../nn/layer.ts";
import { whileFloat } from "../../nn/modes.ts";
import { exactly } from "../../nn/statistics.ts";
import { type Tapped, taps } from "../../nn/taps.ts";
import { namedLayers } from "../../nn/tree.ts";
import type { TensorLike } from "../../tensor.ts";
import { seenBy } from "../methods/rounded.ts";
import { type CalibrationOptions, calibrationDefaults } from "../methods/sites.ts";
import { type Distortion, DistortionSum } from "./distortion.ts";
import { EndToEnd, type ReportedOutput } from "./end-to-end.ts";
import {
  checkAlike,
  checkRan,
  classesOf,
  forDivergences,
  outputOf,
  quietly,
  runOutput,
  unchanged,
} from "./outputs.ts";
import { bytesOf, type Part, partsOf, whileOn } from "./parts.ts";
import { chooser } from "./patterns.ts";
import { reportPicture } from "./report-picture.ts";
import { reportJson, reportTable } from "./report-text.ts";
import { floatBytes } from "./study.ts";

export interface ReportOptions<B> extends CalibrationOptions<B> {
  /** The class of each row of logits of a batch; −100 does not count. Without it there is no cross entropy. */
  targets: ((batch: B) => TensorLike) | null;
}

export interface ReportedLayer {
  /** Path of the layer, empty where the model is one itself; of a weight that several share each is listed. */
  readonly layer: string;
  /** Path of its weight. */
  readonly path: string;
  /** Bits of a weight, and of an input; null where that stays float32. */
  readonly bits: number;
  readonly inputBits: number | null;
  /** Of the weight as it is packed, and as float32. */
  readonly bytes: number;
  readonly floatBytes: number;
  /** Mean divergence of the model's logits in nats with this weight alone quantized; null where it returns none. */
  readonly kl: number | null;
  /** What the layer returns for the float model's input, beside the float layer: what it loses itself. */
  readonly alone: Distortion;
  /** What it returns within the quantized model, beside the float layer in the float one: what has been lost up to it. */
  readonly accumulated: Distortion;
}

export interface QuantReport {
  /** The worst first: by `kl`, and without logits by the SQNR of the layer alone. */
  readonly layers: readonly ReportedLayer[];
  readonly output: ReportedOutput;
  /** Of the weights that are listed as they are packed, each once, and as float32. */
  readonly bytes: number;
  readonly floatBytes: number;
  /** A table: one row per layer, `alone` and, as "all", `accumulated`; then the model's output. */
  toString(): string;
  /** Plain data. What JSON has no number for is "Infinity" or "-Infinity". */
  toJSON(): object;
  /** A picture for a page: bars of the SQNR of each layer, alone and accumulated. */
  toSvg(): string;
}

interface Row {
  readonly name: string;
  /** The layer and those around it, by path, the nearest first. */
  readonly around: ReadonlyMap<string, Layer>;
  /** Of these the first that ran. */
  place: string | null;
  readonly alone: DistortionSum;
  readonly accumulated: DistortionSum;
}

interface Entry {
  readonly part: Part;
  readonly rows: Row[];
  kl: number;
}

/** The layers that hold what lies at a path, the nearest first. */
function around(named: ReadonlyMap<string, Layer>, owner: string): Map<string, Layer> {
  const parts = owner.split(".");
  const paths = parts.map((_, i) => parts.slice(0, parts.length - i).join("."));
  return new Map([...paths, ""].flatMap((path) => (named.has(path) ? [[path, named.get(path)!]] : [])));
}

/** The parts with the layers that hold their weights. */
function entriesOf(op: string, model: object, layers: CalibrationOptions<never>["layers"]): Entry[] {
  const named = new Map(namedLayers(model));
  const found = partsOf(model).map((part): Entry => {
    const rows = part.owners.flatMap((owner): Row[] => {
      const holders = around(named, owner);
      const [name] = holders.keys();
      const sums = { alone: new DistortionSum(), accumulated: new DistortionSum() };
      return name === undefined ? [] : [{ name, around: holders, place: null, ...sums }];
    });
    return { part, rows, kl: 0 };
  });
  const names = found.flatMap(({ rows }) => rows.map(({ name }) => name));
  const fits = chooser(op, "quantized layer", names, layers);
  const entries = found.map((entry) => ({ ...entry, rows: entry.rows.filter(({ name }) => fits(name)) }));
  return entries.filter(({ rows }) => rows.length > 0);
}

/** Compares the calls of one layer in a batch, or of the nearest around it that runs. */
function compare(
  op: string,
  model: object,
  part: Part,
  row: Row,
  float: Tapped<unknown>,
  coded: Tapped<unknown>,
  at: string,
): void {
  row.place ??= [...row.around.keys()].find((path) => float.calls.get(path)!.length > 0) ?? null;
  if (row.place === null) return;
  const layer = row.around.get(row.place)!;
  const calls = float.calls.get(row.place)!;
  const others = coded.calls.get(row.place)!;
  const what = `layer ${show(row.place)}`;
  const hint = `${at}; leave it out by { layers }`;
  if (calls.length !== others.length) {
    throw new StageError(
      `${op}: a layer must run as often with codes as without, got ${others.length} and ${calls.length} calls of ${show(row.place)} in ${at}`,
    );
  }
  for (const [i, { inputs, output }] of calls.entries()) {
    const y = outputOf(op, output, what, hint);
    const within = outputOf(op, others[i].output, what, hint);
    checkAlike(op, y, within, `${at} of ${what}`);
    row.accumulated.add(y.data, within.data);
    const run = () => unchanged(() => layer.forward(...(inputs as Parameters<Layer["forward"]>)));
    const own = whileFloat(model, () => whileOn([part], () => outputOf(op, run(), what, hint)));
    row.alone.add(y.data, own.data);
  }
}

/**
 * Compares a prepared or frozen model with its float self on the same batches. The float self is the model with quantizers
 * off: what training, or an algorithm, has changed of weights and biases stays. Of each quantized layer: what it loses
 * alone, given the float model's input, what has been lost up to it in the quantized model, and what the model's logits
 * lose by it alone. Of the model: the divergence of its logits, how often the best class is the same, and with `targets`
 * what cross entropy it costs. Logits are what `forward` returns where its last axis has two classes or more. A weight
 * whose layer does not run, as a table that the model reads itself, is seen by what the nearest layer around it returns.
 * The report is data, and prints as a table.
 *
 * Runs the model twice for each batch and once more for each weight; keeps what layers return for one batch, and one number
 * per row of logits. Throws StageError for a model that is not prepared, without batches or a row in them, and for a layer
 * that no batch reaches, nor any around it; OptionError for a pattern that fits no quantized layer, for what returns no
 * tensor of floats, or NaN, and for weights that are not finite; ShapeError for targets that are not one per row. The model
 * is left as it was.
 *
 * @example
 * ```ts
 * import { randn, relu, Rng } from "bitgrad";
 * import { Linear, Sequential } from "bitgrad/nn";
 * import { int8Dynamic, plan, prepare, quantReport } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const model = new Sequential(new Linear(32, 64, { rng }), relu, new Linear(64, 10, { rng }));
 * prepare(model, plan({ default: int8Dynamic() }));
 * const { layers, output } = await quantReport(model, [randn([16, 32], { rng })]);
 * console.log(layers.every(({ alone }) => alone.sqnr > 30), output.agreement! > 0.9); // true true
 * ```
 */
export async function quantReport<B>(
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<ReportOptions<B>>,
): Promise<QuantReport> {
  const op = "quantReport";
  const { layers, forward, onLayer, targets } = readOptions<ReportOptions<B>>(op, options, {
    ...calibrationDefaults,
    targets: null,
  });
  for (const [name, given] of Object.entries({ onLayer, targets })) {
    if (given === null || isFunction(given)) continue;
    throw new OptionError(`${op}: option ${name} must be a function, got ${show(given)}`);
  }
  const run = batchRunner(op, model, batches, forward);
  if (partsOf(model).length === 0) {
    throw new StageError(`${op}: the model must be prepared, got no quantized weight; call prepare first`);
  }
  const entries = entriesOf(op, model, layers);
  for (const { part, rows } of entries) seenBy(op, { layer: rows[0].name, transform: part.transform });
  const total = new EndToEnd(op);
  const rows = entries.flatMap((entry) => entry.rows);
  const tapped = new Set(rows.flatMap((row) => [...row.around.keys()]));
  const tap = taps(model, [...tapped].map(exactly));

  let [batch, numbers] = [0, 0];
  const pass = (given: B, at: string): void => {
    const all = () => tap.collect(() => unchanged(() => run(given)));
    const hint = `${at}; return logits by { forward }`;
    const float = whileFloat(model, all);
    const y = outputOf(op, float.result, "forward", hint);
    const coded = all();
    const approximate = outputOf(op, coded.result, "forward", hint);
    checkAlike(op, y, approximate, at);
    numbers += y.data.length;
    total.add(y, approximate, targets === null ? null : targets(given), at);
    let done = 0;
    for (const entry of entries) {
      const { part } = entry;
      for (const row of entry.rows) compare(op, model, part, row, float, coded, at);
      if (classesOf(y) > 0) {
        const where = `${at} with ${show(part.path)} quantized`;
        const other = whileFloat(model, () => whileOn([part], () => runOutput(op, run, given, where)));
        checkAlike(op, y, other, where);
        forDivergences(op, y, other, where, (kl) => {
          entry.kl += kl;
        });
      }
      for (const { name } of entry.rows) onLayer?.({ layer: name, done: ++done, of: rows.length });
    }
  };

  try {
    for await (const given of batches) {
      const at = `batch ${batch++}`;
      quietly(model, () => pass(given, at));
    }
  } finally {
    tap.dispose();
  }
  checkRan(op, batch, numbers);
  const idle = rows.find(({ place }) => place === null);
  if (idle) {
    throw new StageError(
      `${op}: no batch reached a layer, got no input of ${show(idle.name)}; run it by { forward }, or leave it out by { layers }`,
    );
  }
  return reportOf(entries, total);
}

function reportOf(entries: readonly Entry[], total: EndToEnd): QuantReport {
  const output = total.result();
  const sizes = entries.map(({ part }) => ({ bytes: bytesOf(part), floatBytes: floatBytes(part.parameter) }));
  const layers = entries.flatMap(({ part, rows, kl }, i) => {
    const [input] = part.inputs.values();
    return rows.map(
      ({ name, alone, accumulated }): ReportedLayer => ({
        ...{ layer: name, path: part.path, bits: part.transform.bits, inputBits: input?.spec.bits ?? null },
        ...sizes[i],
        kl: output.kl === null ? null : kl / Math.max(1, total.rows),
        alone: alone.result(),
        accumulated: accumulated.result(),
      }),
    );
  });
  layers.sort((a, b) => larger(b.kl ?? 0, a.kl ?? 0) || larger(a.alone.sqnr, b.alone.sqnr));
  const sum = (key: "bytes" | "floatBytes") => sizes.reduce((all, size) => all + size[key], 0);
  const data = { layers, output, bytes: sum("bytes"), floatBytes: sum("floatBytes") };
  return {
    ...data,
    toString: () => reportTable(data),
    toJSON: () => reportJson(data),
    toSvg: () => reportPicture(data.layers),
  };
}

/** a − b, also of infinite numbers. */
const larger = (a: number, b: number): number => (a === b ? 0 : a - b);
