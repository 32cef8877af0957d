/** Other libraries' names for weights, and how their layouts become ours. */

import { newArray } from "../dtype.ts";
import { FormatError, isFunction, isPlainObject, OptionError, show, synchronous } from "../errors.ts";
import type { Shape } from "../shape.ts";
import { type Tensor, wrap } from "../tensor.ts";

/** What becomes of a tensor of a file. */
export interface Renamed {
  /** Its name here; or the names of the equal parts that it is split into along axis 0, after the transpose. */
  readonly name: string | readonly string[];
  /** Exchanges the two axes of a matrix. */
  readonly transpose?: boolean;
}

/** Decides by name and shape; null leaves a tensor out. */
export type NameMap = (name: string, shape: Shape) => Renamed | string | null;

/** A NameMap, or names by name: "h.*.ln_1" renames what begins so, * being one segment; null leaves it out. */
export type Rename = NameMap | Readonly<Record<string, string | null>>;

/**
 * A NameMap from a table of prefixes, whole segments between dots, of which the first that fits is taken; each * in the new
 * name is what the same * of the old one stood for. `{ "h.*.ln_1": "blocks.*.norm1" }` takes h.3.ln_1.weight to
 * blocks.3.norm1.weight. Names that nothing fits stay. Throws OptionError for `**`, and for a new name with more stars than
 * the old one has.
 *
 * @example
 * ```ts
 * import { nameTable } from "bitgrad/io";
 *
 * const rename = nameTable({ "h.*.ln_1": "blocks.*.norm1", "h.*.attn.bias": null });
 * console.log(rename("h.3.ln_1.weight", [8]), rename("h.3.attn.bias", [1, 1, 8, 8])); // blocks.3.norm1.weight null
 * ```
 */
export function nameTable(table: Readonly<Record<string, string | null>>): NameMap {
  if (!isPlainObject(table))
    throw new OptionError(`rename: expected a function or a table, got ${show(table)}`);
  const rules = Object.entries(table).map(([from, to]) => {
    for (const name of [from, to]) {
      if (typeof name !== "string" || !name.includes("**")) continue;
      throw new OptionError(
        `rename: a star stands for one segment, got ${show(name)}; write a star for each, or a function`,
      );
    }
    const stars = from.split("*").length;
    if (to !== null && (typeof to !== "string" || to.split("*").length > stars)) {
      throw new OptionError(
        `rename: a new name has no more stars than the old one, got ${show(to)} for ${show(from)}`,
      );
    }
    const source = from.replace(/[\\^$.+?()[\]{}|]/g, "\\$&").replaceAll("*", "([^.]*)");
    return { pattern: new RegExp(`^${source}(?=\\.|$)`), to };
  });
  return (name) => {
    for (const { pattern, to } of rules) {
      const found = pattern.exec(name);
      if (found === null) continue;
      if (to === null) return null;
      let star = 0;
      return to.replace(/\*/g, () => found[++star]) + name.slice(found[0].length);
    }
    return name;
  };
}

/**
 * One map after another: each decides on the names that the one before it gave, and transposes add up.
 *
 * @example
 * ```ts
 * import { composeNames } from "bitgrad/io";
 *
 * const rename = composeNames({ model: "net" }, { "net.fc": "out" });
 * console.log(rename("model.fc.weight", [2, 4])); // { name: "out.weight", transpose: false }
 * ```
 */
export function composeNames(...maps: readonly Rename[]): NameMap {
  const steps = maps.map(asNameMap);
  return (name, shape) => {
    let names: readonly string[] = [name];
    let single = true;
    let transpose = false;
    for (const step of steps) {
      if (!single) {
        names = names.map((part) => {
          const next = asRenamed(step(part, shape));
          if (next === null || typeof next.name !== "string" || next.transpose) {
            throw new OptionError(`composeNames: parts of a split can only be renamed, got ${show(part)}`);
          }
          return next.name;
        });
        continue;
      }
      const next = asRenamed(step(names[0], shape));
      if (next === null) return null;
      single = typeof next.name === "string";
      names = typeof next.name === "string" ? [next.name] : next.name;
      transpose = transpose !== (next.transpose ?? false);
    }
    return { name: single ? names[0] : names, transpose };
  };
}

export const asNameMap = (rename: Rename): NameMap =>
  isFunction(rename) ? (rename as NameMap) : nameTable(rename as Exclude<Rename, NameMap>);

function asRenamed(given: Renamed | string | null): Renamed | null {
  if (given !== null && typeof given !== "string" && !isPlainObject(given)) {
    throw new OptionError(`rename: must give a name, { name } or null, got ${show(given)}`);
  }
  return typeof given === "string" ? { name: given } : given;
}

/**
 * Hugging Face's GPT-2 checkpoints: drops the prefix "transformer." and the causal masks that they store, and transposes the
 * Conv1D matrices (c_attn, c_proj, c_fc), which are [in, out] there. Other names stay GPT-2's own.
 *
 * @example
 * ```ts
 * import { gpt2Names } from "bitgrad/io";
 *
 * console.log(gpt2Names("transformer.h.0.mlp.c_fc.weight", [768, 3072]));
 * // { name: "h.0.mlp.c_fc.weight", transpose: true }
 * ```
 */
export const gpt2Names: NameMap = (name) => {
  if (typeof name !== "string") throw new OptionError(`gpt2Names: a name must be text, got ${show(name)}`);
  const short = name.replace(/^transformer\./, "");
  if (/^h\.\d+\.attn\.(masked_)?bias$/.test(short)) return null;
  return { name: short, transpose: /\.(c_attn|c_proj|c_fc)\.weight$/.test(short) };
};

/** The tensors under their new names. Throws FormatError where two come to one name or a shape does not allow the change. */
export function renameTensors(
  tensors: Readonly<Record<string, Tensor>>,
  rename: Rename,
): Record<string, Tensor> {
  const map = asNameMap(rename);
  const out: Record<string, Tensor> = Object.create(null);
  for (const [name, value] of Object.entries(tensors)) {
    const renamed = asRenamed(synchronous("rename", map(name, value.shape), "a map of names"));
    if (renamed === null) continue;
    const whole = renamed.transpose ? transposed(name, value) : value;
    const parts =
      typeof renamed.name === "string" ? { [renamed.name]: whole } : split(name, whole, renamed.name);
    for (const [key, part] of Object.entries(parts)) {
      if (key in out)
        throw new FormatError(
          `rename: two tensors come to one name, got ${show(key)} from ${show(name)} too`,
        );
      out[key] = part;
    }
  }
  return out;
}

function transposed(name: string, value: Tensor): Tensor {
  if (value.rank !== 2) {
    throw new FormatError(
      `rename: only matrices are transposed, got ${show([...value.shape])} for ${show(name)}`,
    );
  }
  const [rows, columns] = value.shape;
  const { data } = value;
  const out = newArray(value.dtype, value.size);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j];
  }
  return wrap(out, Object.freeze([columns, rows]), value.dtype);
}

function split(name: string, value: Tensor, names: readonly string[]): Record<string, Tensor> {
  const rows = value.rank === 0 ? 0 : value.shape[0] / names.length;
  if (names.length === 0 || value.rank === 0 || !Number.isInteger(rows)) {
    throw new FormatError(
      `rename: axis 0 does not split into ${names.length} equal parts, got ${show([...value.shape])} for ${show(name)}`,
    );
  }
  const step = value.size / names.length;
  const shape = Object.freeze([rows, ...value.shape.slice(1)]);
  const parts: Record<string, Tensor> = Object.create(null);
  names.forEach((part, i) => {
    if (part in parts)
      throw new FormatError(`rename: two parts come to one name, got ${show(part)} from ${show(name)}`);
    parts[part] = wrap(value.data.slice(i * step, (i + 1) * step), shape, value.dtype);
  });
  return parts;
}
