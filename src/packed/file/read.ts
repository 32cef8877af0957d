/** Layers of a file of version 4, whose numbers stand in the order in which it names them. */

import { FormatError, show } from "../../errors.ts";
import { widths } from "../../safetensors/formats.ts";
import type { Entry } from "../../safetensors/header.ts";
import { defaults, isOurs } from "../layers/kinds.ts";
import type { Fields } from "./layer.ts";
import { checkWeight, type Format, makeWeight, type Numbers, replaced, weightDefaults } from "./numbers.ts";

/** The tensors of a file and their dtypes, the widest first, so that each is aligned. */
export const tensors: Readonly<Record<string, Format>> = { float32: "F32", float16: "F16", codes: "U8" };

/** Names that tell numbers in objects without a kind; a field of such an object that has one is written with _ before it. */
export const telling = /^(rows|floats|same)$/;

/** What a description stands for. Throws FormatError for one that the numbers of its file do not fit. */
export function readOrdered(model: unknown, file: Uint8Array, entries: ReadonlyMap<string, Entry>): unknown {
  const none = file.subarray(0, 0);
  /** What has not been taken. */
  const left: Record<Format, Uint8Array> = { F32: none, F16: none, U8: none };
  const made: Numbers[] = [];

  for (const [name, { format, shape, from, to }] of entries) {
    if (tensors[name] !== format || shape.length !== 1) {
      throw new FormatError(`loadPacked: an unknown tensor, got ${show(name)}, ${format} ${show(shape)}`);
    }
    left[tensors[name]] = file.subarray(from, to);
  }

  function take(format: Format, count: unknown): ArrayBuffer {
    const bytes = left[format];
    const size = (count as number) * widths[format];
    if (!(Number.isInteger(count) && size >= 0 && size <= bytes.length)) {
      throw new FormatError(
        `loadPacked: the file lacks numbers of ${format}, got ${bytes.length} bytes for ${show(count)}`,
      );
    }
    left[format] = bytes.subarray(size);
    // A copy, so that the file may go, and that the numbers are aligned wherever it lay.
    return bytes.slice(0, size).buffer as ArrayBuffer;
  }

  /** What an object that describes numbers stands for; null for others. */
  function numbers(value: Fields): Numbers | null {
    const name = Object.keys(value).find((name) => telling.test(name));
    if (name === undefined) return null;
    const known = name === "rows" ? weightDefaults : { [name]: 0 };
    const odd = Object.keys(value).find((field) => !Object.hasOwn(known, field));
    if (odd !== undefined) {
      throw new FormatError(`loadPacked: an unknown field, got ${show(odd)} beside ${name}`);
    }
    const { same } = value;
    if (name === "same") {
      if (Number.isInteger(same) && made[same as number]) return made[same as number];
      throw new FormatError(
        `loadPacked: same must tell numbers before it, got ${show(same)} of ${made.length}`,
      );
    }
    const read =
      name === "floats"
        ? new Float32Array(take("F32", value.floats))
        : makeWeight(checkWeight({ ...weightDefaults, ...value }), (_, format, shape) =>
            take(
              format,
              shape.reduce((a, b) => a * b, 1),
            ),
          );
    made.push(read);
    return read;
  }

  const read = replaced(model, (value, isLayer, below) => {
    if (isLayer) return isOurs(value.kind) ? { ...defaults, ...below() } : below();
    return (
      numbers(value) ??
      Object.fromEntries(
        Object.entries(below()).map(([name, field]) => [name.replace(/^_(rows|floats|same)$/, "$1"), field]),
      )
    );
  });
  for (const [format, { length }] of Object.entries(left))
    if (length > 0)
      throw new FormatError(`loadPacked: numbers belong to no layer, got ${length} bytes of ${format}`);
  return read;
}
