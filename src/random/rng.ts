/**
 * The seeded generator. seedrandom, or a hash for texts that it confuses, turns a seed into a 64-bit key, and every draw is a
 * pure function of (key, counter): Threefry-2x32 with 20 rounds (Salmon et al., 2011, "Parallel random numbers: as easy as 1,
 * 2, 3"), which needs 32-bit adds, rotates and xors alone, so that every backend can compute the same bits in parallel.
 *
 * A fill takes a block of whole counters. With c the counter before the call, element i of an array comes from
 * - word i mod 2 of counter c + ⌊i / 2⌋, where one 32-bit word is enough, and
 * - both words of counter c + i, for float64 uniforms and normals.
 * So one fill of n + m equals a fill of n and then one of m when n is even, and for float64 always. No function of the
 * engine that may differ between engines (log, cos, …) is called: the same seed gives the same bits everywhere.
 */

import seedrandom from "seedrandom/seedrandom.js";
import { normalQuantile } from "../../kernels/random/quantile.ts";
import { TWO_32, threefry } from "../../kernels/random/threefry.ts";
import { bernoulli, words as makeWords, normals } from "../backend.ts";
import { changing } from "../changes.ts";
import { dtypeOfArray, type FloatArray } from "../dtype.ts";
import { checkShare, isPlainObject, OptionError, show } from "../errors.ts";
import { block, drawBlock, RandomStream, saveStream, unit53 } from "./threefry.ts";

/** A generator's whole state, plain data that JSON keeps exactly. */
export interface RngState {
  readonly algorithm: "threefry2x32-20";
  /** Two unsigned 32-bit words. */
  readonly key: readonly [number, number];
  /** The next unused counter, below 2^53. */
  readonly counter: number;
}

const ALGORITHM = "threefry2x32-20";

/**
 * Whether seedrandom tells a text from every other: it reads the low byte of each character, the text over and over until
 * there are 256, and mixes what stands behind those.
 */
function isPlain(text: string): boolean {
  if (!/^\p{ASCII}{0,256}$/u.test(text) || text.includes("\0")) return false;
  for (let n = 1; n < text.length; n++) {
    let i = 0;
    while (i < 256 && text[i % text.length] === text[i % n]) i++;
    if (i === 256) return false;
  }
  return true;
}

/** The key that seedrandom makes of a number or a plain text; of others a hash of length and UTF-16, four units a block. */
function keyOf(seed: string | number): [number, number] {
  if (typeof seed === "number" || isPlain(seed)) {
    // seedrandom itself marks every seed that is not a string by this suffix.
    const source = seedrandom(typeof seed === "string" ? seed : `${seed}\0`);
    return [source.int32() >>> 0, source.int32() >>> 0];
  }
  block.set([seed.length, 0]);
  // Behind the end charCodeAt gives NaN, of which | makes 0.
  const word = (at: number): number => seed.charCodeAt(at) | (seed.charCodeAt(at + 1) << 16);
  for (let at = 0; at < seed.length; at += 4) threefry(block[0], block[1], word(at), word(at + 2), block);
  return [block[0], block[1]];
}

/**
 * A seeded stream of random numbers. Two generators of equal state produce equal bits in every engine.
 *
 * @example
 * ```ts
 * import { Rng, rand } from "bitgrad";
 *
 * const rng = new Rng("data");
 * const state = rng.state;
 * const first = rand([2], { rng }).toArray();
 * rng.state = state;
 * console.log(String(rand([2], { rng }).toArray()) === String(first)); // true
 * ```
 */
export class Rng extends RandomStream {
  /**
   * The stream of a seed: any string, or any finite number; other seeds give other streams. As in seedrandom a number and its
   * text are different seeds: `new Rng(1)` is not `new Rng("1")`. Equal numbers are one seed, 0 and -0 too.
   */
  constructor(seed: string | number) {
    if (typeof seed !== "string" && !(typeof seed === "number" && Number.isFinite(seed))) {
      throw new OptionError(`Rng: a seed must be a string or a finite number, got ${show(seed)}`);
    }
    super(keyOf(seed));
  }

  /** A copy of the state; assigning one resumes the sequence exactly where it was read. */
  get state(): RngState {
    return { algorithm: ALGORITHM, key: [this.key[0], this.key[1]], counter: this.counter };
  }

  set state(state: RngState) {
    const { key, counter } = checkState(state);
    changing(this, saveStream);
    this.key = [key[0], key[1]];
    this.counter = counter;
  }

  /** Fills `out` with uniform 32-bit words. */
  fillUint32(out: Uint32Array): void {
    checkArray("fillUint32", out, "uint32");
    const start = this.take("fillUint32", Math.ceil(out.length / 2));
    eachChunk(this, start, out.length, (words, from) => out.set(words, from));
  }

  /**
   * Fills `out` with uniforms in [lo, hi), or with lo where the bounds are equal: 24 random bits an element in float32, 53
   * in float64. The bounds are first rounded to the array's type; no element rounds up to hi.
   */
  fillUniform(out: FloatArray, lo = 0, hi = 1): void {
    const single = checkArray("fillUniform", out, "float32 float64") === "float32";
    const fits = typeof lo === "number" && typeof hi === "number";
    const low = single && fits ? Math.fround(lo) : lo;
    const high = single && fits ? Math.fround(hi) : hi;
    const span = fits ? high - low : -1;
    if (!(span >= 0 && span < Infinity)) {
      throw new OptionError(
        `fillUniform: bounds must be finite and in order, got ${show(lo)} and ${show(hi)}`,
      );
    }
    const top = span === 0 ? low : nextBelow(high, single);
    if (single) {
      const start = this.take("fillUniform", Math.ceil(out.length / 2));
      eachChunk(this, start, out.length, (words, from) => {
        for (let i = 0; i < words.length; i++) {
          out[from + i] = Math.min(low + span * ((words[i] >>> 8) * 2 ** -24), top);
        }
      });
    } else {
      const start = this.take("fillUniform", out.length);
      eachChunk(this, start, 2 * out.length, (words, from) => {
        for (let i = 0; i < words.length; i += 2) {
          out[(from + i) / 2] = Math.min(low + span * unit53(words[i], words[i + 1]), top);
        }
      });
    }
  }

  /**
   * Fills `out` with normals by the inverse of the distribution function, evaluated in double: of 32 random bits in float32
   * (out to 6.3 standard deviations), of 52 in float64 (8.2).
   */
  fillNormal(out: FloatArray, mean = 0, std = 1): void {
    const single = checkArray("fillNormal", out, "float32 float64") === "float32";
    if (!Number.isFinite(mean) || !Number.isFinite(std) || std < 0) {
      throw new OptionError(
        `fillNormal: the mean must be finite and the deviation finite and not negative, got ${show(mean)} and ${show(std)}`,
      );
    }
    if (single) {
      const start = this.take("fillNormal", Math.ceil(out.length / 2));
      normals(out as Float32Array, this.key, start, mean, std);
    } else {
      const start = this.take("fillNormal", out.length);
      eachChunk(this, start, 2 * out.length, (words, from) => {
        for (let i = 0; i < words.length; i += 2) {
          const p = ((words[i] >>> 6) * 2 ** 26 + (words[i + 1] >>> 6) + 0.5) * 2 ** -52;
          out[(from + i) / 2] = mean + std * normalQuantile(p);
        }
      });
    }
  }

  /** Fills `out` with integers in [lo, hi), each equally likely. The array's type must hold lo and hi - 1. */
  fillInt(out: Int32Array | Uint32Array | Int8Array | Uint8Array, lo: number, hi: number): void {
    if (!Number.isInteger(lo) || !Number.isInteger(hi) || lo >= hi) {
      throw new OptionError(`fillInt: bounds must be integers with lo < hi, got ${show(lo)} and ${show(hi)}`);
    }
    checkArray("fillInt", out, "int32 uint32 int8 uint8");
    const ends = out.slice(0, 0).constructor as new (values: number[]) => typeof out;
    const [least, most] = new ends([lo, hi - 1]);
    if (least !== lo || most !== hi - 1) {
      throw new OptionError(`fillInt: bounds do not fit ${show(out)}, got ${show(lo)} and ${show(hi)}`);
    }
    const start = this.take("fillInt", Math.ceil(out.length / 2));
    const range = hi - lo;
    // Words below this lie in a whole cycle for sure; division and floor are quicker than the remainder, and exact here.
    const sure = TWO_32 - range;
    eachChunk(this, start, out.length, (words, from) => {
      for (let i = 0; i < words.length; i++) {
        const word = words[i];
        const rest = word - range * Math.floor(word / range);
        out[from + i] = lo + (word < sure ? rest : below(this, start, from + i, word, range));
      }
    });
  }

  /** Fills `out` with 1 at probability `p` (in steps of 2^-32) and 0 otherwise. */
  fillBernoulli(out: Uint8Array | FloatArray, p: number): void {
    checkArray("fillBernoulli", out, "uint8 float32 float64");
    checkShare("fillBernoulli", "a probability", p);
    const start = this.take("fillBernoulli", Math.ceil(out.length / 2));
    bernoulli(out, this.key, start, p);
  }

  /** Shuffles a list in place, every order equally likely (Fisher and Yates), and returns it. */
  shuffle<T extends unknown[] | Int32Array | Uint32Array>(list: T): T {
    if (!Array.isArray(list)) checkArray("shuffle", list, "int32 uint32");
    const start = this.take("shuffle", Math.ceil(list.length / 2));
    eachChunk(this, start, list.length, (words, from) => {
      for (let i = 0; i < words.length; i++) {
        const last = list.length - 1 - from - i;
        const pick = below(this, start, from + i, words[i], last + 1);
        const moved = list[last];
        list[last] = list[pick];
        list[pick] = moved;
      }
    });
    return list;
  }

  /** The numbers 0 to n - 1 in a random order. */
  permutation(n: number): Int32Array {
    if (!Number.isInteger(n) || n < 0 || n >= 2 ** 31) {
      throw new OptionError(`permutation: the length must be an integer in [0, 2^31), got ${show(n)}`);
    }
    return this.shuffle(Int32Array.from({ length: n }, (_, i) => i));
  }

  /** A generator with a stream of its own, keyed by the next counter of this one. */
  fork(): Rng {
    drawBlock(this, this.take("fork", 1));
    const child = new Rng(0);
    child.state = { algorithm: ALGORITHM, key: [block[0], block[1]], counter: 0 };
    return child;
  }
}

/** The dtype of an array that is filled in place, one of `dtypes`. */
function checkArray(op: string, out: ArrayBufferView, dtypes: string): string {
  const dtype = ArrayBuffer.isView(out) ? dtypeOfArray(out) : null;
  if (dtype !== null && dtypes.split(" ").includes(dtype)) return dtype;
  throw new OptionError(`${op}: needs a typed array of ${dtypes.replaceAll(" ", ", ")}, got ${show(out)}`);
}

function checkState(state: unknown): RngState {
  const isWord = (value: unknown): boolean => Number.isInteger(value) && (value as number) >>> 0 === value;
  if (isPlainObject(state) && state.algorithm === ALGORITHM) {
    const { key, counter } = state;
    const validKey = Array.isArray(key) && key.length === 2 && isWord(key[0]) && isWord(key[1]);
    if (validKey && Number.isSafeInteger(counter) && (counter as number) >= 0)
      return state as unknown as RngState;
  }
  throw new OptionError(
    `Rng: a state must be { algorithm: "${ALGORITHM}", key: two 32-bit words, counter }, got ${
      isPlainObject(state) ? show(Object.entries(state)) : show(state)
    }`,
  );
}

const chunk = new Uint32Array(8192);

/** The `count` words from counter `start` on, in pieces: visit(words, from) gets the words numbered from, from + 1, … */
function eachChunk(
  rng: Rng,
  start: number,
  count: number,
  visit: (words: Uint32Array, from: number) => void,
): void {
  for (let from = 0; from < count; from += chunk.length) {
    const words = chunk.subarray(0, Math.min(chunk.length, count - from));
    makeWords(words, rng.key, start + from / 2);
    visit(words, from);
  }
}

/**
 * An unbiased integer in [0, range) for element i of the block at `start`, whose word is `word`. Words in the incomplete
 * last cycle of `range` are refused; the retry numbers the attempt in the counter, so other elements are not disturbed.
 */
function below(rng: Rng, start: number, i: number, word: number, range: number): number {
  const limit = TWO_32 - (TWO_32 % range);
  for (let attempt = 1; word >= limit; attempt++) {
    drawBlock(rng, start + Math.floor(i / 2), attempt);
    word = block[i & 1];
  }
  return word % range;
}

const bits = new Uint32Array(2);
const doubles = new Float64Array(bits.buffer);
const singles = new Float32Array(bits.buffer);
/** Index of the word that holds a double's sign and exponent. */
const HIGH = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 1 : 0;

/** The largest float below a finite `x`, in float32 or float64. */
function nextBelow(x: number, single: boolean): number {
  if (x === 0) return single ? -(2 ** -149) : -(2 ** -1074);
  const step = x > 0 ? -1 : 1;
  if (single) {
    singles[0] = x;
    bits[0] += step;
    return singles[0];
  }
  doubles[0] = x;
  const low = bits[1 - HIGH];
  bits[1 - HIGH] = low + step;
  if (low === (step < 0 ? 0 : 0xffffffff)) bits[HIGH] += step;
  return doubles[0];
}
