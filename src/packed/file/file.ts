/**
 * Packed models as safetensors files, written in version 4: docs/formats.md draws every bit. The layers are JSON in the
 * metadata, with " and ' exchanged, since every " would be escaped there.
 */

import { bytesOf } from "../../dtype.ts";
import { FormatError, OptionError, show } from "../../errors.ts";
import { widths } from "../../safetensors/formats.ts";
import { headerLength, readHeader } from "../../safetensors/header.ts";
import { readJsonObject } from "../../safetensors/json.ts";
import { crc32 } from "./crc.ts";
import type { PackedLayer } from "./layer.ts";
import { readNamed } from "./named.ts";
import { readOrdered, tensors } from "./read.ts";
import { described } from "./write.ts";

const key = "bitgrad.packed";
const checksum = "bitgrad.crc32";
/** What the header begins with; the eight digits of the checksum follow. */
const opening = `{"__metadata__":{"${checksum}":"`;
const digitsAt = 8 + opening.length;
const noDigits = "00000000";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
/** The text with " and ' exchanged. */
const exchanged = (text: string): string => text.replace(/["']/g, (mark) => (mark === '"' ? "'" : '"'));

/** The CRC-32 of some bytes after others, in eight digits. */
const checksumOf = (...parts: readonly Uint8Array[]): string =>
  parts
    .reduce((crc, bytes) => crc32(bytes, crc), 0)
    .toString(16)
    .padStart(8, "0");

/** That of a whole file, its own digits being 0. */
const checksumOfFile = (file: Uint8Array): string =>
  checksumOf(file.subarray(0, digitsAt), utf8(noDigits), file.subarray(digitsAt + noDigits.length));

/** The bytes of a file that holds a packed layer and all below it. */
export function writePacked(root: PackedLayer): Uint8Array {
  const { model, numbers } = described(root);
  const description = exchanged(JSON.stringify({ version: 4, model }));
  const header: Record<string, unknown> = { __metadata__: { [checksum]: noDigits, [key]: description } };
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [name, dtype] of Object.entries(tensors)) {
    const size = numbers[dtype].reduce((sum, bytes) => sum + bytes.length, 0);
    if (size > 0) header[name] = { dtype, shape: [size / widths[dtype]], data_offsets: [at, at + size] };
    parts.push(...numbers[dtype]);
    at += size;
  }
  const json = utf8(JSON.stringify(header));
  // With the header padded to eight bytes every tensor is aligned.
  const start = 8 + Math.ceil(json.length / 8) * 8;
  const file = new Uint8Array(start + at).fill(0x20, 8, start);
  file.set(json, 8);
  new DataView(file.buffer).setUint32(0, start - 8, true);
  let to = start;
  for (const bytes of parts) {
    file.set(bytes, to);
    to += bytes.length;
  }
  file.set(utf8(checksumOfFile(file)), digitsAt);
  return file;
}

/**
 * What the layers of a file are made of. Throws FormatError for a file that is broken in any way, or of another version than
 * 1 to 4.
 */
export function readPacked(bytes: Uint8Array | ArrayBuffer): unknown {
  const file = bytesOf(bytes);
  if (!file) {
    throw new OptionError(`loadPacked: expected the bytes of a file, got ${show(bytes)}`);
  }
  const start = 8 + headerLength(file, file.length);
  const { entries, metadata } = readHeader(file.subarray(8, start), file.length - start);
  if (!Object.hasOwn(metadata, key)) {
    throw new FormatError(`loadPacked: not a packed model, got metadata ${show(Object.keys(metadata))}`);
  }
  const numbers = file.subarray(start);
  const text = metadata[key];
  const isExchanged = text.startsWith("{'");
  const json = readJsonObject("loadPacked", utf8(isExchanged ? exchanged(text) : text));
  const { version, model } = json as { version?: number; model?: unknown };
  if (!(isExchanged ? [4] : [1, 2, 3]).includes(version!)) {
    throw new FormatError(
      `loadPacked: reads versions 1 to 3, and 4 in exchanged quotes, got ${show(version)}`,
    );
  }
  const sum = metadata[checksum];
  let found = sum;
  if (version! > 1) {
    const opened = utf8(opening).every((byte, i) => byte === file[8 + i]);
    found = opened ? checksumOfFile(file) : "missing at its place";
  } else if (sum !== undefined) {
    // Of the description and the numbers, where another program did not leave it out.
    found = checksumOf(utf8(text), numbers);
  }
  if (sum !== found) {
    throw new FormatError(
      `loadPacked: the file is damaged: its CRC-32 is ${found}, got ${show(sum)} in its header`,
    );
  }
  if (isExchanged) return readOrdered(model, numbers, entries);
  return readNamed(model, numbers, entries, version!);
}
