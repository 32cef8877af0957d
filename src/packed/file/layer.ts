/** PackedLayer: a layer for inference alone, on typed arrays; and the checks its fields go through when a file is read. */

import { isFloat32Array } from "../../dtype.ts";
import { FormatError, isPlainObject, show } from "../../errors.ts";
import type { Values } from "../values.ts";
import { PackedWeight } from "./weight.ts";

/**
 * What a packed layer is to files: a kind, and fields of numbers, text, weights and further layers. Fields are own properties;
 * those whose names begin with "_" are left out.
 */
export interface PackedLayer {
  readonly kind: string;
  /** Numbers that an id becomes, in layers that read ids; missing or null in others. */
  readonly idWidth?: number | null;
  /** Gives back what it holds of the SIMD heap; the next run takes it again. */
  dispose?(): void;
}

/** A layer that takes one array and gives one. */
export interface PackedStep extends PackedLayer {
  forward(x: Values, call?: object): Values;
}

/** Fields as a file gives them: nothing is known of them. */
export type Fields = Readonly<Record<string, unknown>>;

/** A class of packed layers: all that files and `PackedModel` know of it. */
export interface PackedKind {
  /** That of its layers, by which files name it. */
  readonly kind: string;
  /**
   * What `forward` can be told beside x, by name: "ids" or "values" for arrays, `{ data, shape }`, null where they are not told,
   * and the default of anything else.
   */
  readonly options?: Readonly<Record<string, unknown>>;
  /** Fields come from a file, layers among them made: a FieldReader checks them, and throws FormatError. */
  new (fields: Fields): PackedLayer;
}

/** What is wrong with an object of fields that lies in those of `above`; null for nothing. */
export function endless(value: object, above: readonly object[], most: number): string | null {
  if (above.includes(value)) return "fields must not hold themselves";
  return above.length < most ? null : `fields must lie at most ${most} deep`;
}

const fail = (kind: string, name: string, want: string, got: unknown): never => {
  throw new FormatError(`${kind}: ${name} must be ${want}, got ${show(got)}`);
};

type Pair = readonly [number, number];

const isPair = (v: unknown, least: number): v is Pair =>
  Array.isArray(v) && v.length === 2 && v.every((n) => Number.isInteger(n) && n >= least && n < 65536);

/**
 * Reads the fields of one layer, each checked.
 *
 * @example
 * ```ts
 * import { FieldReader } from "bitgrad/packed";
 *
 * const read = new FieldReader("scaled", { by: 2, clipped: true });
 * console.log(read.number("by", 0), read.flag("clipped")); // 2 true
 * ```
 */
export class FieldReader {
  private readonly kind: string;
  private readonly fields: Fields;

  constructor(kind: string, fields: Fields) {
    if (!isPlainObject(fields)) throw new FormatError(`${kind}: needs fields by name, got ${show(fields)}`);
    this.kind = kind;
    this.fields = fields;
  }

  private take<T>(name: string, want: string, is: (value: unknown) => value is T): T {
    const value = this.fields[name];
    return is(value) ? value : fail(this.kind, name, want, value);
  }

  count(name: string, least = 1): number {
    const is = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) >= least;
    return this.take(name, `an integer of at least ${least}`, is);
  }

  number(name: string, least: number): number {
    const is = (v: unknown): v is number => Number.isFinite(v) && (v as number) >= least;
    return this.take(name, `a finite number of at least ${least}`, is);
  }

  flag(name: string): boolean {
    return this.take(name, "true or false", (v): v is boolean => typeof v === "boolean");
  }

  choice<T extends string>(name: string, known: readonly T[]): T {
    return this.take(name, `one of ${known.join(", ")}`, (v): v is T => known.includes(v as T));
  }

  /** A pair of integers, which stay far from where products of them overflow. */
  pair(name: string, least: number): Pair {
    const is = (v: unknown): v is Pair => isPair(v, least);
    return this.take(name, `two integers of ${least} … 65535`, is);
  }

  /** Pairs of what lies before and behind, for rows and for columns. */
  sides(name: string): readonly [rows: Pair, columns: Pair] {
    const is = (v: unknown): v is [Pair, Pair] =>
      Array.isArray(v) && v.length === 2 && v.every((pair) => isPair(pair, 0));
    return this.take(name, "two integers of 0 … 65535 for each axis", is);
  }

  weight(name: string): PackedWeight {
    return this.take(name, "a weight", (v): v is PackedWeight => v instanceof PackedWeight);
  }

  /** float32 numbers, as many as `length` says where it is given. */
  numbers(name: string, length?: number): Float32Array {
    const is = (v: unknown): v is Float32Array => isFloat32Array(v) && v.length === (length ?? v.length);
    return this.take(name, `${length ?? "some"} numbers`, is);
  }

  /** The same, or null where there are none. */
  floats(name: string, length?: number): Float32Array | null {
    return this.fields[name] === null ? null : this.numbers(name, length);
  }

  value(name: string): unknown {
    return this.fields[name];
  }

  /** A layer of one of the kinds, or where none is named, of any. */
  layer<T extends PackedLayer>(name: string, ...kinds: string[]): T {
    const is = (v: unknown): v is T => isLayerOf(v, kinds);
    return this.take(name, `a ${kinds.join(" or ") || "packed"} layer`, is);
  }

  layers<T extends PackedLayer>(name: string, ...kinds: string[]): readonly T[] {
    const is = (v: unknown): v is T[] => Array.isArray(v) && v.every((item) => isLayerOf(item, kinds));
    return this.take(name, `a list of ${kinds.join(" or ") || "packed"} layers`, is);
  }

  optionalLayer<T extends PackedLayer>(name: string, ...kinds: string[]): T | null {
    return (this.fields[name] ?? null) === null ? null : this.layer<T>(name, ...kinds);
  }
}

function isLayerOf(value: unknown, kinds: readonly string[]): boolean {
  const { kind, forward } = Object(value) as Partial<PackedStep>;
  return kinds.length > 0 ? kinds.includes(kind!) : typeof forward === "function";
}
