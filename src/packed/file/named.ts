/** Layers of a file of version 1 to 3, in which numbers stand by the name of their tensor. */

import { FormatError, show } from "../../errors.ts";
import type { Entry } from "../../safetensors/header.ts";
import type { Fields } from "./layer.ts";
import { checkWeight, makeWeight, type Numbers, replaced } from "./numbers.ts";

/** What a description stands for. Throws FormatError for one that the tensors of its file do not fit. */
export function readNamed(
  model: unknown,
  file: Uint8Array,
  entries: ReadonlyMap<string, Entry>,
  version: number,
): unknown {
  /** By name and description: in memory once, however many layers name them. */
  const made = new Map<string, Numbers>();
  /** What was said of each tensor that was read. */
  const described = new Map<string, string>();

  /** The bytes of a tensor, of which its entry and all who name it must say the same. */
  function bytes(name: string, format: string, shape: readonly number[], use: string): ArrayBuffer {
    const entry = entries.get(name);
    if (entry?.format !== format) {
      throw new FormatError(`loadPacked: the file lacks a tensor of ${format}, got ${show(name)}`);
    }
    const before = described.get(name);
    if (before || shape.join() !== entry.shape.join()) {
      const [one, other] = before ? [before, use] : [show(entry.shape), show(shape)];
      throw new FormatError(
        `loadPacked: two descriptions of one tensor, got ${one} and ${other} for ${show(name)}`,
      );
    }
    described.set(name, use);
    // A copy, so that the file may go, and that the numbers are aligned wherever it lay.
    return file.slice(entry.from, entry.to).buffer as ArrayBuffer;
  }

  function once(name: string, use: string, make: () => Numbers): Numbers {
    // A use is JSON, so that its end is seen.
    const numbers = made.get(use + name) ?? make();
    made.set(use + name, numbers);
    return numbers;
  }

  function weight(name: string, given: Fields): Numbers {
    const { rows, columns, bits, signed, group = null, codebook = null, zero = null } = given;
    if (zero !== null && version !== 3) {
      throw new FormatError(`loadPacked: zero must be null before version 3, got ${show(zero)}`);
    }
    // How many scales there are, and of what dtype, is said by their tensor.
    const { format, shape } = entries.get(`${name}.scale`) ?? {};
    const scales = group === null && shape?.[0] === 1 ? "one" : null;
    const scaleType = format === "F16" ? "float16" : "float32";
    const type = checkWeight({ rows, columns, bits, signed, group, codebook, zero, scales, scaleType });
    const use = JSON.stringify(type);
    return once(name, use, () =>
      makeWeight(type, (part, format, shape) => bytes(name + part, format, shape, use)),
    );
  }

  return replaced(model, (value, isLayer, below) => {
    if (!isLayer && Object.hasOwn(value, "weight") && typeof value.weight === "string")
      return weight(value.weight, value);
    if (isLayer || !Object.hasOwn(value, "tensor")) return below();
    const name = String(value.tensor);
    const entry = entries.get(name);
    const shape = [entry ? (entry.to - entry.from) / 4 : 0];
    return once(name, '"numbers"', () => new Float32Array(bytes(name, "F32", shape, '"numbers"')));
  });
}
