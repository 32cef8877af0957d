/**
 * The typed errors and the checks at the public boundary. Every message reads
 * `<op>: <what is wrong>, got <values>[; <what to do>]`.
 */

const brand: unique symbol = Symbol.for("bitgrad.error") as never;

/**
 * The root of all errors of the library. `instanceof` holds for the errors of every copy of the library in the process.
 *
 * @example
 * ```ts
 * import { BitgradError, zeros } from "bitgrad";
 *
 * try {
 *   zeros([2, 3]).matmul(zeros([2, 3]));
 * } catch (error) {
 *   if (error instanceof BitgradError) console.log(error.code); // SHAPE
 * }
 * ```
 */
export class BitgradError extends Error {
  readonly code: string;
  constructor(message: string, code = "BITGRAD", options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }

  get [brand](): true {
    return true;
  }

  /** A class with a code of its own holds the errors of that code; a class derived from it outside, its own instances. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== "object" || value === null || !(brand in value)) return false;
    if (this === BitgradError) return true;
    const { code } = this as { code?: string };
    if (code !== undefined && Object.hasOwn(this, "code")) return (value as BitgradError).code === code;
    return Function.prototype[Symbol.hasInstance].call(this, value);
  }
}

/** Shapes, axes or sizes that do not fit. */
export class ShapeError extends BitgradError {
  static readonly code = "SHAPE";
  constructor(message: string, options?: ErrorOptions) {
    super(message, ShapeError.code, options);
  }
}

/** An element type that the operation does not take. */
export class DTypeError extends BitgradError {
  static readonly code = "DTYPE";
  constructor(message: string, options?: ErrorOptions) {
    super(message, DTypeError.code, options);
  }
}

/** Misuse of autograd: nothing to differentiate, a freed graph, a stale value. */
export class GradError extends BitgradError {
  static readonly code = "GRAD";
  constructor(message: string, options?: ErrorOptions) {
    super(message, GradError.code, options);
  }
}

/** A backend, device or capability that is not there. */
export class BackendError extends BitgradError {
  static readonly code = "BACKEND";
  constructor(message: string, options?: ErrorOptions) {
    super(message, BackendError.code, options);
  }
}

/** Steps of a procedure taken out of order. */
export class StageError extends BitgradError {
  static readonly code = "STAGE";
  constructor(message: string, options?: ErrorOptions) {
    super(message, StageError.code, options);
  }
}

/** A file or byte sequence that breaks its format. */
export class FormatError extends BitgradError {
  static readonly code = "FORMAT";
  constructor(message: string, options?: ErrorOptions) {
    super(message, FormatError.code, options);
  }
}

/** An option or argument value outside its domain. */
export class OptionError extends BitgradError {
  static readonly code = "OPTION";
  constructor(message: string, options?: ErrorOptions) {
    super(message, OptionError.code, options);
  }
}

/** A value as it should appear in a message: shapes as (2, 3), strings quoted, long arrays cut. */
export const show = (value: unknown): string => shown(value, 0);

function shown(value: unknown, depth: number): string {
  if (Array.isArray(value)) {
    if (depth > 1) return value.length > 0 ? "(…)" : "()";
    const parts = value.slice(0, 8).map((item) => shown(item, depth + 1));
    if (value.length > 8) parts.push(`… ${value.length} in all`);
    return `(${parts.join(", ")})`;
  }
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  if (typeof value === "function") return value.name || "a function";
  if (value !== null && typeof value === "object") {
    const shape = (value as { shape?: unknown }).shape;
    if (Array.isArray(shape)) return show(shape);
    // Parsed files may hold anything under these names.
    const name: unknown = value.constructor?.name;
    return typeof name === "string" && name !== "" ? name : "object";
  }
  return Object.is(value, -0) ? "-0" : String(value);
}

/** `toJSON` of what a file holds and text would not: NaN, types, gigabytes. */
export function refuseJson(value: unknown): never {
  throw new OptionError(
    `JSON.stringify: tensors and packed models have no JSON, got ${show(value)}; use save of bitgrad/io, or toArray() of a tensor`,
  );
}

/**
 * True for `{…}` option bags, false for tensors, arrays, typed arrays and other class instances. Another realm's bags have an
 * `Object.prototype` of their own: what nothing lies behind.
 */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (value === null || typeof value !== "object") return false;
  const proto = Object.getPrototypeOf(value);
  return proto === Object.prototype || proto === null || Object.getPrototypeOf(proto) === null;
}

interface BuiltIns {
  ArrayBuffer: ArrayBuffer;
  Blob: Blob;
  File: File;
  Map: Map<unknown, unknown>;
  Promise: Promise<unknown>;
  RegExp: RegExp;
  Response: Response;
  Set: Set<unknown>;
  URL: URL;
}

/** `instanceof` of a built-in class, whichever realm (a frame, a context of `node:vm`) made the value. */
export function isBuiltIn<K extends keyof BuiltIns>(kind: K, value: unknown): value is BuiltIns[K] {
  const tag = Object.prototype.toString.call(value);
  // The lengths differ nearly always, and to compare them takes no new text.
  return tag.length === kind.length + 9 && tag === `[object ${kind}]`;
}

/** A function that may be called; classes may not, and their prototype is not writable. */
export const isFunction = (value: unknown): value is (...args: never[]) => unknown =>
  typeof value === "function" &&
  (Object.getOwnPropertyDescriptor(value, "prototype")?.writable !== false ||
    !/^class\b/.test(Function.prototype.toString.call(value)));

/** Whether a value is what an async callback gives, which the caller refuses: nobody else hears of a promise's rejection. */
export function isThenable(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { then } = value as { then?: unknown };
  if (typeof then !== "function") return false;
  if (isBuiltIn("Promise", value)) then.call(value, undefined, () => {});
  return true;
}

/** `value`, unless an async callback gave it: then StageError. */
export function synchronous<T>(op: string, value: T, what = "the callback"): T {
  if (!isThenable(value)) return value;
  throw new StageError(`${op}: ${what} must be synchronous, got a promise`);
}

/** Throws OptionError unless `value` is an integer of at least `least`. */
export function checkInteger(op: string, name: string, value: unknown, least = -Infinity): void {
  if (Number.isInteger(value) && (value as number) >= least) return;
  const bound = least === -Infinity ? "" : ` of at least ${least}`;
  throw new OptionError(`${op}: ${name} must be an integer${bound}, got ${show(value)}`);
}

/** Throws OptionError unless `value` is one of those that are known. */
export function checkChoice(op: string, name: string, value: unknown, known: readonly string[]): void {
  if ((known as readonly unknown[]).includes(value)) return;
  throw new OptionError(`${op}: ${name} must be one of ${known.join(", ")}, got ${show(value)}`);
}

/** Throws OptionError unless 0 ≤ `value` ≤ 1. */
export function checkShare(op: string, name: string, value: unknown): void {
  if (typeof value === "number" && value >= 0 && value <= 1) return;
  throw new OptionError(`${op}: ${name} must lie between 0 and 1, got ${show(value)}`);
}

/** Options that mean the same wherever they stand. */
const everywhere = /* @__PURE__ */ new Map<string, readonly [want: string, is: (value: never) => boolean]>([
  [
    "eps",
    [
      "finite and not negative",
      (value: unknown) => typeof value === "number" && value >= 0 && value < Infinity,
    ],
  ],
  [
    "rng",
    [
      "an Rng such as new Rng(1)",
      // Iterators have `next` too.
      (value: { fork?: unknown } | null) => value === null || typeof value.fork === "function",
    ],
  ],
]);

/**
 * `given` laid over `defaults`, whose keys are the only legal names. Unknown names, NaN numbers, values of another primitive
 * type than a non-null default, and null where the default is undefined are errors.
 */
export function readOptions<T extends object>(op: string, given: Partial<T> | undefined, defaults: T): T {
  if (given === undefined) return defaults;
  if (!isPlainObject(given)) {
    throw new OptionError(`${op}: options must be a plain object, got ${show(given)}`);
  }
  const merged = { ...defaults } as Record<string, unknown>;
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(defaults, key)) {
      const known = Object.keys(defaults);
      throw new OptionError(
        `${op}: unknown option, got ${show(key)}; ${known.length ? `known options are ${known.join(", ")}` : "it takes none"}`,
      );
    }
    const value = (given as Record<string, unknown>)[key];
    if (value === undefined) continue;
    const fallback = merged[key];
    const type = typeof fallback;
    if ((type === "number" || type === "boolean" || type === "string") && typeof value !== type) {
      throw new OptionError(`${op}: option ${key} must be a ${type}, got ${show(value)}`);
    }
    if (Number.isNaN(value)) throw new OptionError(`${op}: option ${key} must be a number, got NaN`);
    if (value === null && fallback === undefined) {
      throw new OptionError(`${op}: option ${key} may be left out, got null`);
    }
    const rule = everywhere.get(key);
    if (rule && !rule[1](value as never)) {
      throw new OptionError(`${op}: option ${key} must be ${rule[0]}, got ${show(value)}`);
    }
    merged[key] = value;
  }
  return merged as T;
}
