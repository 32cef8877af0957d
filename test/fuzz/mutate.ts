/** Seeded damage to safetensors files, of what they say and of what they hold. */

import type { Rng } from "../../src/random/rng.ts";
import { exchanged, isExchanged, joinedText, plain, sealed, taken } from "./parts.ts";

export interface Mutated {
  readonly bytes: Uint8Array;
  /** What was done, for the report. */
  readonly how: string;
  /** Whether the checksum, where there is one, was made right again. */
  readonly sealed: boolean;
}

export const below = (rng: Rng, n: number): number => Math.floor(rng.next() * n);
export const pick = <T>(rng: Rng, from: readonly T[]): T => from[below(rng, from.length)];

const hostileNumbers = [
  0,
  -0,
  1,
  -1,
  2,
  3,
  0.5,
  7,
  8,
  31,
  32,
  127,
  128,
  255,
  256,
  1024,
  65535,
  65536,
  2 ** 24,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  1e-45,
  1e-38,
  1e15,
  1e30,
  3.4e38,
  1e300,
  -1e300,
  1e308,
] as const;
const hostileValues = [
  null,
  true,
  false,
  "",
  "x",
  "w",
  [],
  {},
  [[]],
  [1],
  "__proto__",
  "constructor",
] as const;
const hostileFloats = [
  0,
  -0,
  Number.NaN,
  Infinity,
  -Infinity,
  1e-45,
  1e-38,
  -1e30,
  3.4e38,
  1e19,
  2 ** -64,
  1,
];

type Container = Record<string | number, unknown>;

/** Every place of a value: what holds it, and its key. */
function places(root: unknown, found: [Container, string | number][] = []): [Container, string | number][] {
  if (typeof root !== "object" || root === null) return found;
  for (const key of Array.isArray(root) ? root.keys() : Object.keys(root)) {
    found.push([root as Container, key]);
    places((root as Container)[key], found);
  }
  return found;
}

/** Changes a value somewhere, and says how. */
function edit(root: unknown, rng: Rng): string {
  const all = places(root);
  if (all.length === 0) return "nothing";
  const [holder, key] = pick(rng, all);
  const way = below(rng, 7);
  if (way === 0) delete holder[key];
  else if (way === 1) {
    const [other, name] = pick(rng, all);
    [holder[key], other[name]] = [structuredClone(other[name]), structuredClone(holder[key])];
  } else if (way === 2) holder[key] = structuredClone(pick(rng, hostileValues));
  else if (way === 3 && Array.isArray(holder)) holder.push(structuredClone(holder[key as number]));
  else if (way === 4 && typeof holder[key] === "number") {
    (holder[key] as number) += pick(rng, [-1, 1, 8, 0.5]);
  } else if (way === 5) {
    // A value of the same kind from elsewhere.
    const like = all.filter(([from, name]) => typeof from[name] === typeof holder[key]);
    const [from, name] = pick(rng, like);
    holder[key] = structuredClone(from[name]);
  } else holder[key] = pick(rng, hostileNumbers);
  return `${key} ${["deleted", "exchanged", "of another kind", "repeated", "moved", "copied", "hostile"][way]}`;
}

const flipped = (file: Uint8Array, rng: Rng, from = 0): Uint8Array => {
  const bytes = new Uint8Array(file);
  for (let n = 1 + below(rng, 3); n > 0; n--) {
    bytes[from + below(rng, bytes.length - from)] ^= 1 << below(rng, 8);
  }
  return bytes;
};

/** Writes a number that floats seldom are over four or two bytes of the payload. */
function poisoned(file: Uint8Array, rng: Rng): Uint8Array {
  const bytes = new Uint8Array(file);
  const { entries, body } = taken(file);
  const floats = Object.values(entries).filter(({ dtype }) => dtype === "F32" || dtype === "F16");
  if (floats.length === 0) return bytes;
  const { dtype, data_offsets: at } = pick(rng, floats);
  const start = bytes.length - body.length;
  const view = new DataView(bytes.buffer);
  for (let n = 1 + below(rng, 3); n > 0; n--) {
    const width = dtype === "F32" ? 4 : 2;
    const count = (at[1] - at[0]) / width;
    if (count < 1) continue;
    const to = start + at[0] + width * below(rng, count);
    if (width === 4) view.setFloat32(to, pick(rng, hostileFloats), true);
    else view.setUint16(to, pick(rng, [0, 0x8000, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 1, 0x0400]), true);
  }
  return bytes;
}

/** Zero points: their bytes, dtype or shape, what the weights say of them, the version; or some where there are none. */
function rezeroed(file: Uint8Array, rng: Rng): Mutated {
  const { notes, entries, body } = taken(file);
  const names = Object.keys(entries).filter((name) => name.endsWith(".zero"));
  const way = below(rng, names.length === 0 ? 2 : 5);
  const told = jsonOf(notes["bitgrad.packed"] ?? "{}") as { version?: unknown };
  if (way === 0) told.version = pick(rng, [1, 2, 3, 4, 5, "3", null]);
  else if (way === 1) {
    const weights = places(told)
      .map(([holder, key]) => holder[key] as Container)
      .filter((value) => typeof value?.weight === "string" || Object.hasOwn(value ?? {}, "rows"));
    if (weights.length > 0)
      pick(rng, weights).zero = pick(rng, ["integer", "half", "float", null, 0, true, [], "constructor"]);
  } else {
    const entry = entries[pick(rng, names)];
    const [from, to] = entry.data_offsets;
    if (way === 2)
      for (let i = from; i < to; i++) body[i] = rng.next() < 0.5 ? below(rng, 256) : pick(rng, [0, 15, 255]);
    else if (way === 3) {
      entry.dtype = pick(rng, ["U8", "I8", "F32", "F16", "BOOL"]);
      if (rng.next() < 0.7) entry.shape = [entry.dtype === "F32" ? (to - from) >> 2 : to - from];
    } else entry.shape = pick(rng, [[], [...entry.shape, 1], [...entry.shape].reverse(), [to - from], [1]]);
  }
  if (notes["bitgrad.packed"] !== undefined)
    notes["bitgrad.packed"] = rewritten(notes["bitgrad.packed"], told);
  const how = ["version", "kind", "bytes", "dtype", "shape"][way];
  return { bytes: withHeader(notes, entries, body), how: `zero points: ${how}`, sealed: true };
}

/** The header as text with a piece of it repeated, cut out, or a key doubled. */
function retold(file: Uint8Array, rng: Rng): Uint8Array {
  const start = 8 + new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  let text = Buffer.from(file.subarray(8, start)).toString().trimEnd();
  const body = file.subarray(start);
  const [from, length] = [below(rng, text.length), 1 + below(rng, 30)];
  const way = below(rng, 3);
  if (way === 0) text = text.slice(0, from) + text.slice(from + length);
  else if (way === 1) text = text.slice(0, from) + text.slice(from, from + length) + text.slice(from);
  else {
    const keys = [...text.matchAll(/(["'])[\w.]+\1:/g)].map(([key]) => key);
    text = text.replace(pick(rng, keys), (key) => `${key}null,${key}`);
  }
  return joinedText(text, body);
}

/** The file with one to three things about it changed. */
export function mutated(file: Uint8Array, rng: Rng): Mutated {
  const way = below(rng, 13);
  const start = 8 + new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  switch (way) {
    case 0:
      return { bytes: flipped(file, rng), how: "bits", sealed: false };
    case 1:
      return { bytes: sealed(flipped(file, rng)), how: "bits, sealed", sealed: true };
    case 2:
      return { bytes: sealed(flipped(file, rng, start)), how: "bits of the payload, sealed", sealed: true };
    case 3: {
      const cut = new Uint8Array(file.subarray(0, below(rng, file.length)));
      const seal = rng.next() < 0.5;
      return { bytes: seal ? sealed(cut) : cut, how: "cut", sealed: seal };
    }
    case 4: {
      const bytes = new Uint8Array(file);
      const length = pick(rng, [
        0,
        1,
        7,
        8,
        start,
        start - 16,
        2 ** 31,
        2 ** 32 - 1,
        below(rng, file.length),
      ]);
      new DataView(bytes.buffer).setUint32(rng.next() < 0.8 ? 0 : 4, length >>> 0, true);
      return { bytes: sealed(bytes), how: "length", sealed: true };
    }
    case 5:
      return { bytes: retold(file, rng), how: "text of the header", sealed: true };
    case 6:
    case 7:
      return { bytes: sealed(poisoned(file, rng)), how: "floats", sealed: true };
    case 12:
      return rezeroed(file, rng);
    case 8: {
      const { notes, entries, body } = taken(file);
      const how = edit(entries, rng);
      return { bytes: withHeader(notes, entries, body), how: `entries: ${how}`, sealed: true };
    }
    default: {
      const { notes, entries, body } = taken(file);
      let how = "";
      const key = pick(
        rng,
        Object.keys(notes).filter((name) => !name.endsWith("crc32")),
      );
      if (key === undefined) how = edit(entries, rng);
      else {
        const value: unknown = jsonOf(notes[key]);
        for (let n = 1 + below(rng, 2); n > 0; n--) how += `${edit(value, rng)}; `;
        notes[key] = typeof value === "string" ? value : rewritten(notes[key], value);
      }
      return { bytes: withHeader(notes, entries, body), how: `description: ${how}`, sealed: true };
    }
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(plain(text));
  } catch {
    return { text };
  }
}

/** Another JSON in place of a note, with its quotation marks as there. */
function rewritten(note: string, value: unknown): string {
  const json = JSON.stringify(value);
  return isExchanged(note) ? exchanged(json) : json;
}

function withHeader(notes: object, entries: object, body: Uint8Array): Uint8Array {
  const { "bitgrad.crc32": sum, ...rest } = notes as Record<string, string>;
  const first = sum === undefined ? {} : { "bitgrad.crc32": "00000000" };
  return joinedText(JSON.stringify({ __metadata__: { ...first, ...rest }, ...entries }), body);
}
