/** Packed files taken apart and put together again, right or wrong. */

import { crc32 } from "../../src/packed/file/crc.ts";

export interface TensorEntry {
  dtype: string;
  shape: number[];
  data_offsets: number[];
}

/** The metadata and the entries of a header, in their order, and the bytes behind it. */
export interface Parts {
  notes: Record<string, string>;
  entries: Record<string, TensorEntry>;
  body: Uint8Array;
}

const headerBytes = (file: Uint8Array): number =>
  new DataView(file.buffer, file.byteOffset).getUint32(0, true);

export function taken(file: Uint8Array): Parts {
  const start = 8 + headerBytes(file);
  const { __metadata__: notes = {}, ...entries } = JSON.parse(
    new TextDecoder().decode(file.subarray(8, start)),
  );
  return { notes, entries, body: file.slice(start) };
}

const opening = '{"__metadata__":{"bitgrad.crc32":"';
/** Where the digits of the checksum of a file are, from version 2 on. */
export const digitsAt = 8 + opening.length;

/** The file with the right checksum, where it has the place of one. */
export function sealed(file: Uint8Array): Uint8Array {
  const out = new Uint8Array(file);
  if (out.length < digitsAt + 8 || new TextDecoder().decode(out.subarray(8, digitsAt)) !== opening)
    return out;
  out.fill(0x30, digitsAt, digitsAt + 8);
  out.set(new TextEncoder().encode(crc32(out).toString(16).padStart(8, "0")), digitsAt);
  return out;
}

/** A file with such a header; the checksum comes first and is right. */
export function joined({ notes, entries, body }: Parts): Uint8Array {
  const { "bitgrad.crc32": _, ...rest } = notes;
  return joinedText(
    JSON.stringify({ __metadata__: { "bitgrad.crc32": "00000000", ...rest }, ...entries }),
    body,
  );
}

/** The same for a header of any text. */
export function joinedText(text: string, body: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(text);
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(start + body.length).fill(0x20, 8, start);
  new DataView(file.buffer).setUint32(0, start - 8, true);
  file.set(json, 8);
  file.set(body, start);
  return sealed(file);
}

/** Whether a description has its quotation marks exchanged, as in version 4. */
export const isExchanged = (note: string): boolean => note.startsWith("{'");
/** The same text with its quotation marks exchanged. */
export const exchanged = (text: string): string =>
  text.replace(/["']/g, (mark) => (mark === '"' ? "'" : '"'));
/** The JSON of a description. */
export const plain = (note: string): string => (isExchanged(note) ? exchanged(note) : note);

/** What a file says of its layers. */
export const description = (file: Uint8Array): unknown =>
  JSON.parse(plain(taken(file).notes["bitgrad.packed"]));

/** The file with its description changed. */
export function edited(file: Uint8Array, edit: (description: never) => unknown): Uint8Array {
  const parts = taken(file);
  const note = parts.notes["bitgrad.packed"];
  const json = JSON.stringify(edit(JSON.parse(plain(note)) as never));
  return joined({ ...parts, notes: { "bitgrad.packed": isExchanged(note) ? exchanged(json) : json } });
}

/** A file of tensors laid one after another, and a description that need not fit them. */
export function composed(
  model: unknown,
  tensors: Record<string, { data: Float32Array | Uint8Array; shape: readonly number[] }> = {},
  version = 2,
): Uint8Array {
  const entries: Record<string, TensorEntry> = {};
  let at = 0;
  for (const [name, { data, shape }] of Object.entries(tensors)) {
    const dtype = data instanceof Float32Array ? "F32" : "U8";
    entries[name] = { dtype, shape: [...shape], data_offsets: [at, at + data.byteLength] };
    at += data.byteLength;
  }
  const body = new Uint8Array(at);
  for (const [name, { data }] of Object.entries(tensors))
    body.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), entries[name].data_offsets[0]);
  const json = JSON.stringify({ version, model });
  return joined({ notes: { "bitgrad.packed": version === 4 ? exchanged(json) : json }, entries, body });
}
