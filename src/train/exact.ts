/** Plain data as JSON that loses nothing: tensors, and the numbers that JSON has not, stand as tags. */

import { FormatError, isPlainObject, OptionError, show } from "../errors.ts";
import { isTensor, type Tensor } from "../tensor.ts";

const NUMBER = "bitgrad.number";
const TENSOR = "bitgrad.tensor";

/** Levels of lists and objects in what is saved. */
const DEPTH = 32;

/**
 * What JSON writes of `value`, which `path` names. Its tensors go into `tensors`, by their paths. Throws OptionError for
 * what is neither plain data nor a tensor.
 */
export function toJson(
  op: string,
  value: unknown,
  path: string,
  tensors: Record<string, Tensor>,
  depth = 0,
): unknown {
  if (value === null || typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") {
    if (Number.isFinite(value) && !Object.is(value, -0)) return value;
    return { [NUMBER]: Object.is(value, -0) ? "-0" : String(value) };
  }
  if (isTensor(value)) {
    if (Object.hasOwn(tensors, path))
      throw new OptionError(`${op}: two tensors have one name, got ${show(path)}; rename a key`);
    tensors[path] = value;
    return { [TENSOR]: path };
  }
  if (depth === DEPTH || !(Array.isArray(value) || isPlainObject(value))) {
    throw new OptionError(
      `${op}: only plain data and tensors can be saved, got ${show(value)} for ${path}${depth === DEPTH ? `, ${DEPTH} levels deep` : ""}`,
    );
  }
  const below = (item: unknown, key: string | number) =>
    toJson(op, item, `${path}.${key}`, tensors, depth + 1);
  // A list with holes has undefined in them.
  if (Array.isArray(value)) return Array.from(value as unknown[], below);
  const reserved = Object.keys(value).find((key) => [NUMBER, TENSOR, "__proto__"].includes(key));
  if (reserved !== undefined)
    throw new OptionError(`${op}: a reserved key in what is saved, got ${show(reserved)} in ${path}`);
  const [symbol] = Object.getOwnPropertySymbols(value);
  if (symbol) throw new OptionError(`${op}: keys must be strings, got ${String(symbol)} in ${path}`);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, below(item, key)]));
}

/** The value again. Throws FormatError for tags that `toJson` does not write. */
export function fromJson(op: string, value: unknown, tensors: Readonly<Record<string, Tensor>>): unknown {
  if (Array.isArray(value)) return value.map((item) => fromJson(op, item, tensors));
  if (!isPlainObject(value)) return value;
  if (Object.hasOwn(value, NUMBER)) {
    const text = value[NUMBER];
    if (["-0", "NaN", "Infinity", "-Infinity"].includes(text as string)) return Number(text);
    throw new FormatError(`${op}: a number of a tag must be -0, NaN or infinite, got ${show(text)}`);
  }
  if (Object.hasOwn(value, TENSOR)) {
    const name = value[TENSOR];
    if (typeof name === "string" && Object.hasOwn(tensors, name)) return tensors[name];
    throw new FormatError(`${op}: the file lacks a tensor, got ${show(name)}`);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromJson(op, item, tensors)]));
}
