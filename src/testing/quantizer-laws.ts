/** What holds of quantizers: that training, storing and packed inference see the same numbers, and which those are. */

import { dequantize, type QTensor } from "../codes/contract.ts";
import { fakeQuantize } from "../codes/fake-quantize.ts";
import { checkQuantizer, type Quantizer } from "../codes/quantizer.ts";
import { type QuantizedTransform, quantized } from "../codes/transform.ts";
import { BitgradError, isFunction, OptionError, readOptions, show } from "../errors.ts";
import { clone } from "../nn/clone.ts";
import { Embedding } from "../nn/embedding.ts";
import { Parameter } from "../nn/parameter.ts";
import { parametrize } from "../nn/parametrize.ts";
import { namedParameters } from "../nn/tree.ts";
import { loadPacked, type PackedModel } from "../packed/model.ts";
import { freeze, pack } from "../quant/steps.ts";
import { Rng } from "../random/rng.ts";
import { noGrad } from "../tape.ts";
import { type Tensor, tensor } from "../tensor.ts";
import type { Law } from "./optimizer-laws.ts";

export interface QuantizerLawOptions {
  /** Whether each number takes its nearest level, as it does where a quantizer brings no codes of its own. */
  nearest: boolean;
  /** Whether twice the weights have the same codes: of all whose scales follow from the weights alone. */
  scaleFree: boolean;
  /** Names of laws that need not hold of it, for a reason that the caller knows. */
  except: readonly string[];
}

/** Makes the quantizer of a parameter under a path, as a plan does. */
export type MakeQuantizer = (parameter: Parameter, path: string) => Quantizer;

/**
 * The laws of a quantizer, one test each: `for (const { name, check } of laws.quantizer(() => bwn())) it(name, check)`. It
 * trains with the numbers that it stores, and packed inference computes with them, also after a file was written and read;
 * the gradient is that of its surrogate, and finite, also of what it learns; rows have codes of their own where scales do;
 * zeros stay zeros; NaN, and infinity unless it is clamped, are refused by a typed error; a copy gives the same bits. They
 * are tried on normal numbers of many magnitudes and ragged sizes, ties, −0, denormals, outliers and equal numbers. `make`
 * makes the quantizer anew each time. A check throws BitgradError of code "LAW"; the call throws OptionError for what is no
 * quantizer.
 *
 * @example
 * ```ts
 * import { chooseParams, type Quantizer, spec } from "bitgrad/quant";
 * import { laws } from "bitgrad/testing";
 *
 * const own = spec({ bits: 3, granularity: "channel" });
 * const make = (): Quantizer => ({ name: "own", spec: own, params: (x) => chooseParams(x, own) });
 * for (const { check } of laws.quantizer(make, { nearest: true, scaleFree: true })) check();
 * ```
 */
export function quantizerLaws(make: MakeQuantizer, options?: Partial<QuantizerLawOptions>): Law[] {
  const op = "laws.quantizer";
  const { nearest, scaleFree, except } = readOptions<QuantizerLawOptions>(op, options, {
    nearest: false,
    scaleFree: false,
    except: [],
  });
  if (!Array.isArray(except))
    throw new OptionError(`${op}: except must be a list of laws, got ${show(except)}`);
  if (!isFunction(make))
    throw new OptionError(`${op}: needs a function that makes a quantizer, got ${show(make)}`);
  const { spec } = checkQuantizer(op, make(new Parameter(samples().normal), "weight"));
  const list: [name: string, holds: (trial: Trial) => void, applies?: boolean][] = [
    ["trains with the numbers that it stores", storesWhatTrains],
    ["gives the same numbers packed, written and read", packsWhatTrains],
    ["takes the nearest level", takesNearest, nearest],
    ["passes the gradient of its surrogate", passesGradient],
    ["gives each row codes of its own", knowsRowsApart, ofRows(spec)],
    ["gives twice the weights the same codes", isScaleFree, scaleFree],
    ["keeps zeros 0", keepsZeros],
    ["refuses NaN and infinity", refusesOdd],
    ["gives the same bits again, and in a copy", repeats],
  ];
  const unknown = except.find((name) => !list.some(([known]) => known === name));
  if (unknown !== undefined)
    throw new OptionError(`${op}: there is no such law to except, got ${show(unknown)}`);
  return list
    .filter(([name, , applies = true]) => applies && !except.includes(name))
    .map(([name, holds]) => ({ name, check: () => new Trial(make, name).holds(holds) }));
}

/** Whether rows of a matrix share no scale. */
function ofRows({ granularity, axis }: Quantizer["spec"]): boolean {
  if (typeof granularity === "string")
    return granularity === "token" || (granularity === "channel" && axis % 2 === 0);
  return "block" in granularity ? granularity.block[0] === 1 : Math.abs(axis) === 1;
}

/** Matrices of numbers that quantizers stumble over, by name. */
function samples(most = 1e30): Readonly<Record<string, Tensor>> {
  const normal = (rows: number, columns: number, size = 1): Tensor => {
    const data = new Float32Array(rows * columns);
    new Rng(`weights ${rows} ${columns}`).fillNormal(data);
    return tensor(
      data.map((value) => value * size),
      { shape: [rows, columns] },
    );
  };
  const each = (of: (i: number) => number): Tensor =>
    tensor(
      Float32Array.from({ length: 3 * 33 }, (_, i) => of(i)),
      { shape: [3, 33] },
    );
  return {
    normal: normal(3, 40),
    "one number": normal(1, 1),
    "ragged rows": normal(5, 37),
    "large numbers": normal(2, 16, most),
    "small numbers": normal(2, 16, 1 / most),
    "halves and whole numbers": each((i) => (i % 33) / 2 - 8),
    "positive numbers": each((i) => 1 + (i % 7) / 10),
    "one outlier": each((i) => (i === 40 ? 1000 : ((i * 7) % 11) / 11 - 0.5)),
    "equal numbers": each(() => -0.7),
    "zeros of both signs": each((i) => (i % 3 === 0 ? -0 : i % 3 === 1 ? 0 : 0.25)),
    denormals: each((i) => (i - 50) * 1e-42),
  };
}

/** A quantizer on trial: layers that hold it. */
class Trial {
  readonly make: MakeQuantizer;
  readonly law: string;

  constructor(make: MakeQuantizer, law: string) {
    this.make = make;
    this.law = law;
  }

  /** Whatever a quantizer throws breaks the law. */
  holds(check: (trial: Trial) => void): void {
    try {
      check(this);
    } catch (error) {
      if (error instanceof BitgradError && error.code === "LAW") throw error;
      this.fail(`the error "${(error as Error)?.message ?? error}"`, error);
    }
  }

  /** Calls `visit` with every sample. */
  each(visit: (x: Tensor, name: string) => void): void {
    const half = this.of(samples().normal).quantizer.spec.scaleDtype === "float16";
    for (const [name, x] of Object.entries(samples(half ? 100 : 1e30))) visit(x, name);
  }

  /** A table of `x` that trains through the quantizer. */
  of(x: Tensor): { table: Embedding; quantizer: Quantizer } {
    const [rows, columns] = x.shape;
    const table = new Embedding(rows, columns);
    table.weight = new Parameter(x);
    parametrize(table, "weight", (parameter, path) => quantized(this.make(parameter, path))(parameter, path));
    return { table, quantizer: (table.weight.transforms[0] as QuantizedTransform).quantizer };
  }

  trained(x: Tensor): Tensor {
    return noGrad(() => this.of(x).table.weight.effective());
  }

  stored(x: Tensor): QTensor {
    const { table } = this.of(x);
    return (freeze(table).weight.transforms[0] as QuantizedTransform).codes!;
  }

  fail(what: string, cause?: unknown): never {
    const { name } = this.make(new Parameter(samples().normal), "weight");
    const message = `laws.quantizer: ${name} breaks its law, "${this.law}", got ${what}`;
    throw new BitgradError(message, "LAW", { cause });
  }

  /** Fails unless both are the same numbers; −0 is 0. */
  same(sample: string, found: Tensor | Float32Array, wanted: Tensor | Float32Array, what: string): void {
    const [a, b] = [numbers(found), numbers(wanted)];
    if (a.length !== b.length) this.fail(`${a.length} numbers for ${b.length} of ${sample}`);
    const at = Array.from(a).findIndex((value, i) => value !== b[i]);
    if (at >= 0) this.fail(`${a[at]} in the place of ${b[at]} at ${at} of ${sample}: ${what}`);
  }
}

const numbers = (x: Tensor | Float32Array): ArrayLike<number> =>
  x instanceof Float32Array ? x : (x.data as ArrayLike<number>);

function storesWhatTrains(trial: Trial): void {
  trial.each((x, name) => {
    trial.same(
      name,
      dequantize(trial.stored(x)),
      trial.trained(x),
      "the stored number against the trained one",
    );
  });
}

function packsWhatTrains(trial: Trial): void {
  trial.each((x, name) => {
    const rows = Array.from({ length: x.shape[0] }, (_, i) => i);
    const run = (model: PackedModel) => model.forward({ data: rows, shape: [rows.length] }).data.slice();
    const packed = pack(freeze(trial.of(x).table));
    trial.same(name, run(packed), trial.trained(x), "the packed number against the trained one");
    trial.same(name, run(loadPacked(packed.toBytes())), trial.trained(x), "the number read from a file");
  });
}

function takesNearest(trial: Trial): void {
  trial.each((x, name) => {
    const kept = trial.stored(x);
    const { qmin, qmax } = kept.spec;
    const given = numbers(x.reshape(kept.codes.shape));
    const levels = (step: number): ArrayLike<number> => {
      const moved = (kept.codes.data as Int8Array).map((code) => {
        const next = kept.spec.bits === 1 && qmin < 0 ? code * (step === 0 ? 1 : -1) : code + step;
        return Math.min(qmax, Math.max(qmin, next));
      });
      return numbers(dequantize({ ...kept, codes: tensor(moved, { shape: kept.codes.shape }) as never }));
    };
    const own = levels(0);
    for (const step of [-1, 1]) {
      const others = levels(step);
      for (let i = 0; i < own.length; i++) {
        const [off, other] = [Math.abs(given[i] - own[i]), Math.abs(given[i] - others[i])];
        // Quotients, products and scales are rounded to float32.
        const slack = 1e-5 * Math.max(Math.abs(own[i] - others[i]), Math.abs(own[i]));
        if (off > other + slack)
          trial.fail(`${own[i]} for ${given[i]} of ${name}, to which ${others[i]} is nearer`);
      }
    }
  });
}

function passesGradient(trial: Trial): void {
  trial.each((x, name) => {
    const { table, quantizer } = trial.of(x);
    table.weight.effective().sum().backward();
    const found = table.weight.grad;
    if (!found) trial.fail(`no gradient for ${name}`);
    const odd = Array.from(numbers(found)).findIndex((value) => !Number.isFinite(value));
    if (odd >= 0) trial.fail(`the gradient ${numbers(found)[odd]} at ${odd} of ${name}`);
    for (const [path, { grad }] of namedParameters(quantizer)) {
      if (!grad || !Array.from(numbers(grad)).every(Number.isFinite))
        trial.fail(`no finite gradient for ${path}, which is learned, of ${name}`);
    }
    if (namedParameters(quantizer).length > 0) return;
    const { spec, soft, boundary } = quantizer;
    const leaf = tensor(x, { requiresGrad: true });
    const rows = typeof spec.granularity === "object" ? leaf.reshape([x.shape[0], -1]) : leaf;
    const params = quantizer.params(rows.detach());
    const stated = soft ? soft(rows, params) : fakeQuantize(rows, spec, params, boundary && { boundary });
    stated.sum().backward();
    trial.same(name, found, leaf.grad!, "the gradient against that of the surrogate");
  });
}

function knowsRowsApart(trial: Trial): void {
  trial.each((x, name) => {
    const turned = (t: Tensor): Tensor => t.flip(0);
    trial.same(name, turned(trial.trained(turned(x))), trial.trained(x), "rows in another order");
  });
}

function isScaleFree(trial: Trial): void {
  trial.each((x, name) => {
    if (name === "denormals" || name === "small numbers" || name === "large numbers") return;
    trial.same(name, trial.trained(x.mul(2)).div(2), trial.trained(x), "half of what twice the weights give");
  });
}

function keepsZeros(trial: Trial): void {
  const zeros = tensor(new Float32Array(16), { shape: [2, 8] });
  trial.same("zeros", trial.trained(zeros), zeros, "the trained number");
}

function refusesOdd(trial: Trial): void {
  const { spec } = trial.of(samples().normal).quantizer;
  for (const odd of spec.onNonFinite === "clamp" ? [Number.NaN] : [Number.NaN, Infinity, -Infinity]) {
    const x = tensor([
      [1, odd, 0.5],
      [1, 2, 3],
    ]);
    for (const run of [() => trial.trained(x), () => trial.stored(x)]) {
      try {
        run();
      } catch (error) {
        if (error instanceof BitgradError) continue;
        throw error;
      }
      trial.fail(`numbers for ${odd}`);
    }
  }
}

function repeats(trial: Trial): void {
  trial.each((x, name) => {
    const { table } = trial.of(x);
    const copy = clone(table);
    const first = noGrad(() => table.weight.effective());
    trial.same(
      name,
      noGrad(() => table.weight.effective()),
      first,
      "a second time",
    );
    trial.same(
      name,
      noGrad(() => copy.weight.effective()),
      first,
      "in a copy",
    );
  });
}
