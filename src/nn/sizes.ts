/** Checks of the sizes that layers and models are made with. */

import { type DType, isFloat } from "../dtype.ts";
import { DTypeError, OptionError, readOptions, show } from "../errors.ts";

const listed = (words: readonly string[]): string =>
  words.length < 2 ? (words[0] ?? "none") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;

/** As `readOptions`, where some must be given: throws OptionError that names all that are missing. */
export function readConfig<T extends object, K extends keyof T & string>(
  op: string,
  given: Partial<T>,
  required: readonly K[],
  defaults: Omit<T, K>,
): T {
  const needed = Object.fromEntries(required.map((name) => [name, undefined]));
  const config = readOptions<Partial<T>>(op, given, { ...needed, ...defaults } as Partial<T>) as T;
  const missing = required.filter((name) => config[name] === undefined);
  if (missing.length > 0) {
    const names = Object.entries(given ?? {}).flatMap(([name, value]) => (value === undefined ? [] : name));
    throw new OptionError(
      `${op}: ${listed(missing)} ${missing.length > 1 ? "are" : "is"} missing, got ${listed(names)}`,
    );
  }
  return config;
}

/** A configuration as plain JSON, which a model keeps, frozen: all but the generator, and lists of its own. */
export function plainConfig<T extends { rng?: unknown }>(settings: T): Readonly<Omit<T, "rng">> {
  const { rng: _, ...given } = settings;
  const config = structuredClone(given);
  for (const value of Object.values(config)) Object.freeze(value);
  return Object.freeze(config) as Omit<T, "rng">;
}

/** One number for every layer, or a list of one for each. */
export type PerLayer = number | readonly number[];

/** The number of layer `i`. */
export const ofLayer = (sizes: PerLayer, i: number): number => (typeof sizes === "number" ? sizes : sizes[i]);

/** As `checkSizes` of all; those `perLayer` may be lists, and OptionError tells of one that is not of `layers` numbers. */
export function checkLayerSizes(
  op: string,
  layers: number,
  sizes: Readonly<Record<string, unknown>>,
  perLayer: Readonly<Record<string, unknown>>,
): void {
  const single = Object.entries(perLayer).flatMap(([name, value]): [string, unknown][] =>
    Array.isArray(value) ? [...value].map((size, i) => [`${name}[${i}]`, size]) : [[name, value]],
  );
  checkEach(op, [...Object.entries(sizes), ...single]);
  for (const [name, value] of Object.entries(perLayer)) {
    if (Array.isArray(value) && value.length !== layers)
      throw new OptionError(
        `${op}: ${name} must be one number, or one for each of ${layers} layers, got ${show(value)}`,
      );
  }
}

/** Throws OptionError, which names those that are not, unless every value is a positive integer that can be a length. */
export const checkSizes = (op: string, sizes: Readonly<Record<string, unknown>>): void =>
  checkEach(op, Object.entries(sizes));

function checkEach(op: string, sizes: readonly [name: string, value: unknown][]): void {
  const odd = sizes.filter(([, value]) => !Number.isInteger(value) || (value as number) < 1).slice(0, 8);
  if (odd.length > 0) {
    const want = odd.length > 1 ? "positive integers" : "a positive integer";
    throw new OptionError(
      `${op}: ${listed(odd.map(([name]) => name))} must be ${want}, got ${listed(odd.map(([, value]) => show(value)))}`,
    );
  }
  for (const [name, value] of sizes)
    if ((value as number) >= 2 ** 31)
      throw new OptionError(`${op}: ${name} must be below 2^31, got ${show(value)}`);
}

/** Throws DTypeError unless `dtype` is one of floats. */
export function checkFloat(op: string, dtype: DType): void {
  if (!isFloat(dtype)) throw new DTypeError(`${op}: needs a float dtype, got ${show(dtype)}`);
}

/** Throws OptionError unless `groups` divides the named channel counts. */
export function checkGroups(op: string, groups: number, channels: Readonly<Record<string, number>>): void {
  checkSizes(op, { groups });
  for (const [name, count] of Object.entries(channels)) {
    if (count % groups !== 0) {
      throw new OptionError(`${op}: groups must divide ${name}, got ${groups} for ${count}`);
    }
  }
}

/** What `make` makes `count` times, one by one: a count that is too large meets its error before a list of that length. */
export function times<T>(count: number, make: (i: number) => T): T[] {
  const made: T[] = [];
  for (let i = 0; i < count; i++) made.push(make(i));
  return made;
}
