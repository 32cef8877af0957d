/** SpecInputQuantizer: what quantizes the input of a layer. */

import { changing, repeatedRun } from "../changes.ts";
import { checkInteger, OptionError, ShapeError, StageError, show, synchronous } from "../errors.ts";
import { blank } from "../nn/blank.ts";
import type { BilinearProduct, InputQuantizer, WeightedLayer } from "../nn/packing.ts";
import { writeBuffer } from "../nn/state.ts";
import { straightThrough } from "../ops/binary.ts";
import { visitor } from "../ops/shapes-only.ts";
import type { PackedInput } from "../packed/products/input.ts";
import { isInstance } from "../state.ts";
import { noGrad } from "../tape.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { checkFinite, quantize } from "./contract.ts";
import { fakeQuantize, signsOf } from "./fake-quantize.ts";
import { alongAxis, integerProduct, integersOf } from "./integer.ts";
import { integersByKernel } from "./kernel-codes.ts";
import { floatsOf } from "./loops.ts";
import { checkObserver, type Observer } from "./observer.ts";
import { servesIntegers } from "./packable.ts";
import { paramsOf, type QuantParams, rangesOf } from "./params.ts";
import { checkSpec, isSigns, type QuantSpec, respec } from "./spec.ts";
import { frozenCodes } from "./transform.ts";

const brand: unique symbol = Symbol.for("bitgrad.inputQuantizer") as never;

/**
 * What stands before a layer's product. In training it fake-quantizes the input; frozen and in evaluation the layer is computed
 * the integer way, or with the values of codes where the input has a static scale for each channel.
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
  /**
   * How a position of a linear layer is quantized; a convolution takes one scale a sample, or as it was calibrated. Channels
   * that have a scale each are those of the layer's input, whichever axis they lie along.
   */
  readonly spec: QuantSpec;
  /** The same where axis 0 counts samples, and every one has a scale of its own. */
  private readonly _ofSamples: QuantSpec;
  readonly observer: Observer | null;
  /** Of a static input: a buffer of one number, or one a channel; 0 before calibration. */
  readonly scale: Tensor | null = null;
  readonly zeroPoint: Tensor | null = null;
  /** How far each batch of training moves the range towards its own; null for a range that stays as it was calibrated. */
  readonly momentum: number | null;
  /**
   * Where there is a momentum, the least and the largest number so far, or those that the calibrated scale reaches: a buffer
   * (2), or (channels, 2). 0 and 0 as long as there was nothing but zeros.
   */
  readonly range: Tensor | null = null;
  /** Whether each range has met another number than 0 at calibration. */
  private _met: readonly boolean[] = [];

  /**
   * Throws OptionError for a spec or an observer that is none, and for a momentum outside (0, 1] or without an observer.
   * Without an observer scales follow the input; signs have none. `channels` is how many the layer's input has, for an
   * observer of granularity "channel".
   */
  constructor(
    given: QuantSpec,
    observer: Observer | null,
    momentum: number | null = null,
    channels: number = 1,
  ) {
    checkSpec("input", given);
    checkInteger("input", "channels", channels, 0);
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
    if (this.byChannel && given.axis !== 0) {
      throw new OptionError(
        `input: channels lie along axis 0 of what an observer is given, got axis ${given.axis}`,
      );
    }
    const count = this.byChannel ? channels : 1;
    this.scale = blank([count]);
    if (given.zeroPoint !== "none") this.zeroPoint = blank([count]);
    if (momentum !== null) this.range = blank(this.byChannel ? [channels, 2] : [2]);
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isInstance(this, SpecInputQuantizer, brand, value);
  }

  get [brand](): true {
    return true;
  }

  /** Whether each channel has a static scale. */
  get byChannel(): boolean {
    return this.observer !== null && this.spec.granularity === "channel";
  }

  /** The spec of an input whose features lie along `axis`. */
  private specAlong(axis: number, { shape: { length } }: Tensor): QuantSpec {
    if (this.byChannel) return respec(this.spec, { axis });
    return axis === -1 || axis === length - 1 ? this.spec : this._ofSamples;
  }

  /** An input as ranges are found of it: as it is, or as a matrix (channels, numbers). */
  private observable(x: Tensor, axis: number): Tensor {
    if (!this.byChannel) return x.detach();
    const { shape, rank, size } = x;
    const at = axis < 0 ? axis + rank : axis;
    const channels = this.scale!.size;
    if (shape[at] !== channels) {
      throw new ShapeError(
        `input: needs ${channels} channels along axis ${at}, as many as have scales, got ${show(shape)}; prepare the layer anew by { replace: true }`,
      );
    }
    const others = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== at);
    const numbers = channels === 0 ? 0 : size / channels;
    return noGrad(() =>
      x
        .detach()
        .permute([at, ...others])
        .reshape([channels, numbers]),
    );
  }

  run(x: Tensor, layer: WeightedLayer, product: BilinearProduct, axis: number): Tensor {
    const { weight, bias } = layer;
    const how = this.specAlong(axis, x);
    const float = (y: Tensor): Tensor => {
      const sums = product(y, weight.effective());
      return bias ? sums.add(alongAxis(bias.effective(), sums, axis)) : sums;
    };
    // By shapes alone there is nothing to observe, no scale, and a layer is one product.
    if (visitor() && !isSigns(how)) return float(fakeQuantize(x, how));
    if (this.observing && !visitor()) {
      const y = float(x);
      this.observe(this.observable(x, axis));
      return y;
    }
    if (this.range && this.training && !this.frozen && !visitor()) this.follow(this.observable(x, axis));
    // Scales that differ within a sum cannot be taken out of it.
    const codes = visitor() || this.byChannel ? null : frozenCodes(weight);
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

  private observe(x: Tensor): void {
    synchronous("calibrate", this.observer?.observe(x) as unknown, "an observer");
    changing(this, ({ observed, _met }) => () => {
      Object.assign(this, { observed, _met });
    });
    this.observed = true;
    if (this.range === null) return;
    const met = x.notEqual(0).any(this.byChannel ? { axis: 1 } : {});
    this._met = Array.from(met.data, (some, k) => Boolean(some) || this._met[k] === true);
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

  /** Moves the ranges towards those of a batch, in float32 as PyTorch does, and takes the scales from them. */
  private follow(x: Tensor): void {
    if (repeatedRun()) {
      throw new StageError(
        "input: a range that follows the batches must see each once, got one inside checkpoint; leave out momentum there",
      );
    }
    if (x.size === 0) return;
    const { spec, momentum } = this;
    const moved = (from: number, to: number) =>
      Math.fround(from + Math.fround(momentum! * Math.fround(to - from)));
    const ranges = rangesOf(x, spec).map((seen, k) => {
      const [low, high] = this.rangeSoFar(k) ?? [seen.min, seen.max];
      return { ...seen, min: moved(low, seen.min), max: moved(high, seen.max) };
    });
    const found = paramsOf(ranges, x.shape, spec);
    changing(this, savedScales);
    writeBuffer(this.range!, (data) => data.set(ranges.flatMap(({ min, max }) => [min, max])));
    this.write(found);
  }

  /** Range k of the batches before, or else that of a scale from a state without ranges; null where there were but zeros. */
  private rangeSoFar(k: number): readonly [low: number, high: number] | null {
    const [low, high] = (this.range!.data as Float32Array).subarray(2 * k, 2 * k + 2);
    if (low !== 0 || high !== 0) return [low, high];
    const scale = Number(this.scale!.data[k]);
    // The scale of zeros is 1, and says nothing of what is to come.
    return scale === 0 || scale === 1 ? null : this.reach(k);
  }

  /** The least and the largest number that scale k reaches. */
  private reach(k: number): readonly [low: number, high: number] {
    const scale = Number(this.scale!.data[k]);
    const { qmin, qmax } = this.spec;
    const zero = Number(this.zeroPoint?.data[k] ?? 0);
    return [(qmin - zero) * scale, (qmax - zero) * scale];
  }

  private write({ scale, zeroPoint }: QuantParams): void {
    writeBuffer(this.scale!, (data) => data.set(scale.data));
    if (this.zeroPoint)
      writeBuffer(this.zeroPoint, (data) => (zeroPoint ? data.set(zeroPoint.data) : data.fill(0)));
  }

  /** Throws OptionError where numbers that were written to it are no static scale, or no zero point, of the layer `path`. */
  check(op: string, path: string): void {
    if (this.scale === null) return;
    const wrong = this.refusal({ scale: this.scale, zeroPoint: this.zeroPoint });
    if (wrong === null) return;
    const of = path && ` of ${show(path)}`;
    throw new OptionError(`${op}: a static input${of} must have ${wrong}; call calibrate, or load its state`);
  }

  /** Throws OptionError where no packed layer serves the input of the layer `path`. */
  checkPackable(path: string): void {
    if (!this.byChannel) return;
    throw new OptionError(
      `pack: packed sums of integers need one scale for all they add, got ${this.scale!.size} static scales, one a channel, for ${show(path)}; use granularity "tensor", with smoothQuant before calibrate to move the differences of channels into the weights`,
    );
  }

  /** What should stand in the place of the first that is no scale, or zero point, of this input, as its buffers hold it. */
  private refusal({ scale, zeroPoint }: QuantParams): string | null {
    for (let k = 0; k < scale.size; k++) {
      const wrong = this.refuses(Math.fround(Number(scale.data[k])), Number(zeroPoint?.data[k] ?? 0));
      if (wrong !== null) return this.byChannel ? `${wrong} for channel ${k}` : wrong;
    }
    return null;
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
    return this.scale === null || this.scale.data[0] !== 0;
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
    const count = this.scale!.size;
    for (const { size, shape } of zeroPoint ? [scale, zeroPoint] : [scale]) {
      if (size === count) continue;
      const want = this.byChannel ? `${count} scales, one a channel` : "one scale";
      throw new OptionError(`calibrate: an observer must give ${want}, got ${show(shape)}`);
    }
    const wrong = this.refusal({ scale, zeroPoint });
    if (wrong !== null) throw new OptionError(`calibrate: an observer must give ${wrong}`);
    return () => {
      this.write({ scale, zeroPoint });
      // A range of batches before is that of other numbers.
      const ranges = Array.from({ length: count }, (_, k) => (this._met[k] ? this.reach(k) : [0, 0]));
      if (this.range) writeBuffer(this.range, (data) => data.set(ranges.flat()));
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
