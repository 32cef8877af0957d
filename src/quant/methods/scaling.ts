/**
 * What SmoothQuant, AWQ and equalization share: the weights of a model's pairs as they are scaled so far, and the one write
 * at the end, so that an error before it leaves the model as it was.
 */

import { SpecInputQuantizer } from "../../codes/input-quantizer.ts";
import { quantizedTransform } from "../../codes/transform.ts";
import { newArray } from "../../dtype.ts";
import { isFunction, OptionError, StageError, show } from "../../errors.ts";
import { isParameter, type Parameter } from "../../nn/parameter.ts";
import type { PathPattern } from "../../nn/pattern.ts";
import { matrixLayers } from "../../nn/statistics.ts";
import { findParameters } from "../../nn/tree.ts";
import { checkLive } from "../steps.ts";
import { declaredPairs, forElements, type Pair, type Part, type Refuses, read, refusal } from "./pairs.ts";

/** What became of one pair of `scalePairs()`. */
export interface PairProgress {
  /** Path of the layer that makes the channels; null for a quantized layer that no pair reads into. */
  readonly producer: string | null;
  /** Paths of the layers that read them. */
  readonly consumers: readonly string[];
  /** What the consumers were multiplied by, and the producer divided, per channel; null for a pair that is left as it is. */
  readonly factors: readonly number[] | null;
  /** Why the pair is left as it is; null for one that is scaled. */
  readonly skipped: string | null;
  /** How many are done, of how many. */
  readonly done: number;
  readonly of: number;
}

export interface ScalingOptions {
  /** Paths of layers, or patterns of `matchPath`: pairs that none of them reads stay as they are. null for all. */
  layers: PathPattern | readonly PathPattern[] | null;
  /** Hears of each pair when it is done, and of those that are left as they are, with the reason. */
  onPair: ((progress: PairProgress) => void) | null;
}

/** Throws StageError where static scales were found for channels as they are. */
function checkUncalibrated(op: string, { consumers }: Pair): void {
  for (const { owner, layer } of consumers) {
    const { inputQuantizer: input } = owner as { inputQuantizer?: unknown };
    if (!(input instanceof SpecInputQuantizer) || input.observer === null) continue;
    if (!input.observed && !input.calibrated) continue;
    throw new StageError(
      `${op}: static inputs must not be calibrated before, got ${show(layer)} calibrated; prepare anew by { replace: true }, and calibrate afterwards`,
    );
  }
}

/** What may be scaled of a model, and how far it is. */
export class Scaling {
  /** The pairs that may be scaled, in the order in which they are declared. */
  readonly pairs: readonly Pair[];
  private readonly op: string;
  private readonly hear: ((progress: PairProgress) => void) | null;
  private readonly values = new Map<Parameter, Float64Array>();
  private readonly factors = new Map<Pair, Float64Array>();
  private readonly of: number;
  private done = 0;

  /**
   * Throws StageError for a model that is not prepared, frozen, or calibrated before, OptionError for one without pairs, and
   * where none of them can be scaled.
   */
  constructor(op: string, model: object, { layers, onPair }: ScalingOptions, refuses: Refuses = () => null) {
    if (onPair !== null && !isFunction(onPair)) {
      throw new OptionError(`${op}: option onPair must be a function, got ${show(onPair)}`);
    }
    checkLive(op, model);
    this.op = op;
    this.hear = onPair;
    const named = new Map<string, [Parameter, object]>();
    const names = new Map<Parameter, string[]>();
    for (const { path, item, owner } of findParameters(model)) {
      named.set(path, [item, owner]);
      names.set(item, [...(names.get(item) ?? []), path]);
    }
    const chosen = matrixLayers(op, model, layers);
    const all = declaredPairs(op, model, named);
    const pairs = all.filter(({ consumers }) => consumers.some(({ layer }) => chosen.has(layer)));
    const reasons = pairs.map((pair): string | null => {
      const { producer, consumers } = pair;
      if (!consumers.some(({ parameter }) => quantizedTransform(parameter))) {
        return "none of its consumers is quantized";
      }
      for (const part of [...producer, ...consumers]) {
        const reason = refusal(part, names);
        if (reason) return reason;
      }
      return refuses(pair);
    });
    const read = new Set(all.flatMap(({ consumers }) => consumers.map(({ owner }) => owner)));
    const alone = [...chosen].filter(([, owner]) => {
      const { weight } = owner as { weight?: unknown };
      return !read.has(owner) && isParameter(weight) && quantizedTransform(weight);
    });
    this.pairs = pairs.filter((_, i) => reasons[i] === null);
    this.of = pairs.length + alone.length;
    for (const pair of this.pairs) checkUncalibrated(op, pair);
    for (const [i, pair] of pairs.entries()) if (reasons[i] !== null) this.report(pair, null, reasons[i]);
    for (const [layer] of alone) this.report(null, null, "no pair reads into it", [layer]);
    if (this.pairs.length > 0) return;
    const [first] = pairs;
    const why = first
      ? `${pairs.length} skipped, the first to ${show(first.consumers[0].layer)}: ${reasons[0]}`
      : `no pair that reads into ${show([...chosen.keys()])}`;
    throw new OptionError(`${op}: no pair can be scaled, got ${why}`);
  }

  /** The numbers of a part as scaled so far, behind masks and other transforms in front of its quantizer. */
  weight(part: Part): Float64Array {
    const values = read(part, this.latent(part.parameter));
    const odd = values.findIndex((v) => !Number.isFinite(v));
    if (odd < 0) return values;
    throw new OptionError(`${this.op}: weights must be finite, got ${values[odd]} in ${show(part.name)}`);
  }

  private latent(parameter: Parameter): Float64Array {
    const values = this.values.get(parameter) ?? Float64Array.from(parameter.value.data);
    this.values.set(parameter, values);
    return values;
  }

  /** The largest magnitude of each channel in parts of a pair. */
  absmax({ channels }: Pair, parts: readonly Part[]): Float64Array {
    const most = new Float64Array(channels);
    for (const part of parts) {
      const weight = this.weight(part);
      forElements(part, (i, c) => {
        most[c] = Math.max(most[c], Math.abs(weight[i]));
      });
    }
    return most;
  }

  /** Multiplies the consumers of a pair by factors above 0, and divides its producer by them. */
  scale(pair: Pair, factors: Float64Array): void {
    const total = this.factors.get(pair) ?? new Float64Array(pair.channels).fill(1);
    this.factors.set(
      pair,
      total.map((factor, c) => factor * factors[c]),
    );
    for (const part of pair.consumers) {
      const values = this.latent(part.parameter);
      forElements(part, (i, c) => {
        values[i] *= factors[c];
      });
    }
    for (const part of pair.producer) {
      const values = this.latent(part.parameter);
      forElements(part, (i, c) => {
        values[i] /= factors[c];
      });
    }
  }

  /** Says that a pair is done. */
  tell(pair: Pair): void {
    this.report(pair, this.factors.get(pair)!, null);
  }

  private report(
    pair: Pair | null,
    factors: Float64Array | null,
    skipped: string | null,
    layers: readonly string[] = [],
  ): void {
    const consumers = pair ? pair.consumers.map(({ layer }) => layer) : layers;
    this.hear?.({
      producer: pair?.producer[0]?.layer ?? null,
      consumers,
      factors: factors && [...factors],
      skipped,
      done: ++this.done,
      of: this.of,
    });
  }

  /** Writes the scaled numbers into the parameters, all or none. Gives what puts all back, with codes that were held. */
  write(): () => void {
    const changed = [...this.values].flatMap(([parameter, values]) => {
      const { data, dtype } = parameter.value;
      const before = Float64Array.from(data);
      const next = newArray(dtype as "float32" | "float64", values.length);
      next.set(values);
      if (next.every((v, i) => v === before[i])) return [];
      const odd = next.findIndex((v) => !Number.isFinite(v));
      if (odd >= 0) {
        throw new OptionError(`${this.op}: scaled weights must be finite in ${dtype}, got ${next[odd]}`);
      }
      const transform = quantizedTransform(parameter);
      return [{ parameter, before, next, transform, codes: transform?.codes ?? null }];
    });
    for (const { parameter, next } of changed) parameter.update((data) => data.set(next));
    return () => {
      for (const { parameter, before, transform, codes } of changed) {
        parameter.update((data) => data.set(before));
        if (codes) transform!.hold(codes);
      }
    };
  }
}
