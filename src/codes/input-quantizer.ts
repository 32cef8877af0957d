/** SpecInputQuantizer: what quantizes the input of a layer. */

import { changing, repeatedRun } from "../changes.ts";
import { isFunction, OptionError, StageError, show, synchronous } from "../errors.ts";
import { blank } from "../nn/blank.ts";
import type { BilinearProduct, InputQuantizer, WeightedLayer } from "../nn/packing.ts";
import { writeBuffer } from "../nn/state.ts";
import { straightThrough } from "../ops/binary.ts";
import { visitor } from "../ops/shapes-only.ts";
import type { PackedInput } from "../packed/products/input.ts";
import { isInstance } from "../state.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { checkFinite, quantize } from "./contract.ts";
import { fakeQuantize, signsOf } from "./fake-quantize.ts";
import { alongAxis, integerProduct, integersOf } from "./integer.ts";
import { integersByKernel } from "./kernel-codes.ts";
import { floatsOf } from "./loops.ts";
import { servesIntegers } from "./packable.ts";
import { paramsOf, type QuantParams, rangesOf } from "./params.ts";
import { checkSpec, isSigns, type QuantSpec, respec } from "./spec.ts";
import { frozenCodes } from "./transform.ts";

/** Gathers ranges over batches, for scales that are fixed before inference. */
export interface Observer {
  readonly spec: QuantSpec;
  /** Takes in a batch. Its granularity must give the same number of scales every time: one a tensor, or one a channel. */
  observe(x: Tensor): void;
  /** Takes in what another has observed, as if its batches had come too; for observers that can. */
  merge?(other: Observer): void;
  /** The scale and zero point so far. Throws StageError before the first batch. */
  params(): QuantParams;
}

/** Throws OptionError for what is no observer. */
export function checkObserver(op: string, observer: Observer): Observer {
  if (isFunction(observer?.observe) && isFunction(observer.params)) return observer;
  throw new OptionError(
    `${op}: an observer needs the functions observe and params, got ${show(observer)}; use one such as minMax`,
  );
}

const brand: unique symbol = Symbol.for("bitgrad.inputQuantizer") as never;

/**
 * What stands before a layer's product. In training it fake-quantizes the input; frozen and in evaluation the layer is computed
 * the integer way.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { int8Dynamic, plan, prepare, SpecInputQuantizer } from "bitgrad/quant";
 *
 * const { inputQuantizer } = prepare(new Linear(4, 2), plan({ default: int8Dynamic() }));
 * console.log(inputQuantizer instanceof SpecInputQuantizer); // true
 * ```
 */
export class SpecInputQuantizer implements InputQuantizer {
  training = true;
  frozen = false;
  observing = false;
  /** Whether the observer has seen anything. */
  observed = false;
  /** How a position of a linear layer is quantized; a convolution takes one scale a sample, or as it was calibrated. */
  readonly spec: QuantSpec;
  /** The same where axis 0 counts samples, and every one has a scale of its own. */
  private readonly _ofSamples: QuantSpec;
  readonly observer: Observer | null;
  /** Of a static input: a buffer of one number, 0 before calibration. */
  readonly scale: Tensor | null = null;
  readonly zeroPoint: Tensor | null = null;
  /** How far each batch of training moves the range towards its own; null for a range that stays as it was calibrated. */
  readonly momentum: number | null;
  /** The least and the largest number so far, a buffer, where there is a momentum; 0 and 0 before the first batch. */
  readonly range: Tensor | null = null;

  /**
   * Throws OptionError for a spec or an observer that is none, and for a momentum outside (0, 1] or without an observer.
   * Without an observer scales follow the input; signs have none.
   */
  constructor(given: QuantSpec, observer: Observer | null, momentum: number | null = null) {
    checkSpec("input", given);
    if (momentum !== null && !(momentum > 0 && momentum <= 1 && observer)) {
      const want = observer ? "a number in (0, 1]" : "null where scales follow each input";
      throw new OptionError(`input: momentum must be ${want}, got ${show(momentum)}`);
    }
    this.momentum = momentum;
    if (observer !== null) checkObserver("input", observer);
    this.spec = given;
    this._ofSamples = respec(given, { granularity: observer ? "tensor" : "channel", axis: 0 });
    this.observer = observer;
    if (observer === null) return;
    this.scale = blank([1]);
    if (given.zeroPoint !== "none") this.zeroPoint = blank([1]);
    if (momentum !== null) this.range = blank([2]);
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, SpecInputQuantizer, brand, value);
  }

  get [brand](): true {
    return true;
  }

  run(x: Tensor, layer: WeightedLayer, product: BilinearProduct, axis: number): Tensor {
    const { weight, bias } = layer;
    const isLast = axis === -1 || axis === x.shape.length - 1;
    const how = isLast ? this.spec : this._ofSamples;
    const float = (y: Tensor): Tensor => {
      const sums = product(y, weight.effective());
      return bias ? sums.add(alongAxis(bias.effective(), sums, axis)) : sums;
    };
    // By shapes alone there is nothing to observe, no scale, and a layer is one product.
    if (visitor() && !isSigns(how)) return float(fakeQuantize(x, how));
    if (this.observing && !visitor()) {
      const y = float(x);
      synchronous("calibrate", this.observer?.observe(x.detach()) as unknown, "an observer");
      changing(this, ({ observed }) => () => {
        this.observed = observed;
      });
      this.observed = true;
      return y;
    }
    if (this.range && this.training && !this.frozen && !visitor()) this.follow(x.detach());
    const codes = visitor() ? null : frozenCodes(weight);
    if (this.frozen && !this.training && codes && servesIntegers(codes)) {
      const params = this.params();
      const given = integersByKernel(x, how, params) ?? integersOf(quantize(x, how, params));
      return integerProduct(given, codes, layer, product, axis);
    }
    if (!isSigns(how)) return float(fakeQuantize(x, how, this.params()));
    // The gradient of a sign passes within −1 … 1. Hubara et al., 2016, arXiv:1602.02830.
    if (!visitor() && x.dtype === "float32") return float(signsOf(x, how));
    if (!visitor()) checkFinite(floatsOf(x), how);
    return float(straightThrough(x.clip({ min: -1, max: 1 }), x.detach().less(0).where(-1, 1)));
  }

  /** Fixed scales, null where they follow the input. Throws StageError before calibration. */
  private params(): QuantParams | null {
    if (this.observer === null) return null;
    if (!this.calibrated) {
      throw new StageError("input: static scales must be calibrated, got none; call calibrate first");
    }
    this.check("input", "");
    return { scale: this.scale!, zeroPoint: this.zeroPoint };
  }

  /** Moves the range towards that of a batch, in float32 as PyTorch does, and takes the scale from it. */
  private follow(x: Tensor): void {
    if (repeatedRun()) {
      throw new StageError(
        "input: a range that follows the batches must see each once, got one inside checkpoint; leave out momentum there",
      );
    }
    if (x.size === 0) return;
    const { spec, momentum } = this;
    const [seen] = rangesOf(x, spec);
    const [low, high] = this.rangeSoFar() ?? [seen.min, seen.max];
    const moved = (from: number, to: number) =>
      Math.fround(from + Math.fround(momentum! * Math.fround(to - from)));
    const range = { ...seen, min: moved(low, seen.min), max: moved(high, seen.max) };
    const found = paramsOf([range], [1], spec);
    changing(this, savedScales);
    writeBuffer(this.range!, (data) => data.set([range.min, range.max]));
    this.write(found);
  }

  /** The range of the batches before, or else that which calibration found; null before both. */
  private rangeSoFar(): readonly [low: number, high: number] | null {
    const [low, high] = this.range!.data as Float32Array;
    if (low !== 0 || high !== 0) return [low, high];
    if (!this.calibrated) return null;
    const { qmin, qmax } = this.spec;
    const scale = this.scale!.item();
    const zero = this.zeroPoint?.item() ?? 0;
    return [(qmin - zero) * scale, (qmax - zero) * scale];
  }

  private write({ scale, zeroPoint }: QuantParams): void {
    writeBuffer(this.scale!, (data) => data.set(scale.data));
    if (this.zeroPoint) writeBuffer(this.zeroPoint, (data) => data.set(zeroPoint?.data ?? [0]));
  }

  /** Throws OptionError where numbers that were written to it are no static scale, or no zero point, of the layer `path`. */
  check(op: string, path: string): void {
    if (this.scale === null) return;
    const wrong = this.refuses(this.scale.item(), this.zeroPoint?.item() ?? 0);
    if (wrong === null) return;
    const of = path && ` of ${show(path)}`;
    throw new OptionError(`${op}: a static input${of} must have ${wrong}; call calibrate, or load its state`);
  }

  /** What numbers should be that are no scale and zero point of this input; null where they are. */
  private refuses(scale: number, zero: number): string | null {
    if (!(scale > 0 && scale < Infinity)) return `a positive scale, got ${scale}`;
    const { qmin, qmax } = this.spec;
    const least = Math.min(qmin, 0);
    const isCode = Number.isInteger(zero) && zero >= least && zero <= qmax && (zero === 0 || this.zeroPoint);
    return isCode ? null : `a zero point that is a code, got ${zero}`;
  }

  /** The largest magnitude of an integer that stands for a number. */
  get largest(): number {
    if (isSigns(this.spec)) return 1;
    return this.observer === null ? 127 : this.spec.qmax - this.spec.qmin;
  }

  /** Whether the scales are there, or follow the input. */
  get calibrated(): boolean {
    return this.scale === null || this.scale.item() !== 0;
  }

  /** Takes the scales from what was observed: checks them, and gives what writes them. */
  settle(): () => void {
    if (this.observer === null) return () => {};
    const found = synchronous("calibrate", this.observer.params(), "an observer");
    const { scale, zeroPoint = null } = Object(found) as Partial<QuantParams>;
    if (!isTensor(scale) || (zeroPoint !== null && !isTensor(zeroPoint))) {
      throw new OptionError(
        `calibrate: an observer must give { scale, zeroPoint } of tensors, got ${show(found)}`,
      );
    }
    if (scale.size !== 1) {
      throw new OptionError(`calibrate: an observer must give one scale, got ${show(scale.shape)}`);
    }
    // As the buffer holds it.
    const wrong = this.refuses(Math.fround(scale.item()), Number(zeroPoint?.data[0] ?? 0));
    if (wrong !== null) throw new OptionError(`calibrate: an observer must give ${wrong}`);
    return () => {
      // A range of batches before is that of other numbers.
      if (this.range) writeBuffer(this.range, (data) => data.fill(0));
      this.write({ scale, zeroPoint });
    };
  }

  toPacked(): PackedInput {
    if (!this.frozen)
      throw new StageError("pack: the input's scales must be fixed, got none; call freeze first");
    if (isSigns(this.spec)) return { kind: "signs" };
    const { bits, qmin, qmax } = this.spec;
    if (this.observer === null) return { kind: "dynamic", bits };
    const { scale, zeroPoint } = this.params()!;
    return {
      kind: "static",
      scale: scale.item(),
      zeroPoint: zeroPoint?.item() ?? 0,
      least: qmin,
      most: qmax,
    };
  }
}

/** What puts the scales of an input quantizer back. */
function savedScales({ scale, zeroPoint, range }: SpecInputQuantizer): () => void {
  const buffers = [scale, zeroPoint, range].filter((buffer) => buffer !== null);
  const kept = buffers.map(({ data }) => Float32Array.from(data as Float32Array));
  return () => {
    for (const [i, buffer] of buffers.entries()) writeBuffer(buffer, (data) => data.set(kept[i]));
  };
}
