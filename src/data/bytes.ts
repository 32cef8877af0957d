/** Bytes to text and back, gzip and sha256, by what Node and browsers share. */

import { BackendError, FormatError, OptionError, show } from "../errors.ts";
import { decodeUtf8 } from "../safetensors/utf8.ts";

/** A decoder that gives U+FFFD for what is not UTF-8, of a text that comes in parts. */
export const looseDecoder = (): TextDecoder => new TextDecoder("utf-8", { ignoreBOM: true });

const looseUtf8 = looseDecoder();
const encoder = new TextEncoder();

/** UTF-8 bytes as text, U+FFFD where they are not UTF-8: a run of tokens may begin or end inside a character. */
export const decodeUtf8Loosely = (bytes: Uint8Array): string => looseUtf8.decode(bytes);

/** A text without the byte order mark that it may begin with. */
export const unmarked = (text: string): string => (text.startsWith("\uFEFF") ? text.slice(1) : text);

/** UTF-8 bytes as text, without a byte order mark. Throws FormatError for bytes that are not UTF-8. */
export const decodeText = (op: string, bytes: Uint8Array): string => unmarked(decodeUtf8(op, bytes));

/** The lines of a text, without a byte order mark; they end in \n, \r\n or \r, and a last end begins no further line. */
export function linesOf(content: string): string[] {
  const lines = unmarked(content).split(/\r\n?|\n/);
  if (lines[lines.length - 1] === "") lines.pop();
  return lines;
}

/** ISO 8859-1: byte n is the character U+00nn. (TextDecoder's "latin1" is windows-1252, which differs.) */
export function decodeLatin1(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return text;
}

/** Text as UTF-8 bytes. Throws OptionError for half a surrogate pair, which has no UTF-8 form. */
export function encodeUtf8(op: string, text: string): Uint8Array {
  if (typeof text !== "string") throw new OptionError(`${op}: expected text, got ${show(text)}`);
  const half = text.search(/\p{Surrogate}/u);
  if (half !== -1) {
    throw new OptionError(
      `${op}: the text holds half a surrogate pair, got U+${text.charCodeAt(half).toString(16).toUpperCase()} at index ${half}; use toWellFormed()`,
    );
  }
  return encoder.encode(text);
}

export const isGzip = (bytes: Uint8Array): boolean =>
  bytes.length > 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;

/** The bytes of a stream joined; FormatError as soon as there are more than `limit`. */
export async function collect(
  op: string,
  stream: ReadableStream<Uint8Array>,
  limit: number,
  onBytes?: (bytes: number) => void,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > limit) {
      await reader.cancel().catch(() => {});
      throw new FormatError(`${op}: there are too many bytes, got more than ${limit}`);
    }
    chunks.push(value);
    onBytes?.(size);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Unpacks gzip. Throws FormatError for corrupt bytes and for more than `limit` bytes unpacked. */
export async function gunzip(op: string, bytes: Uint8Array, limit = 2 ** 30): Promise<Uint8Array> {
  const source = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  try {
    return await collect(op, source.pipeThrough(new DecompressionStream("gzip")), limit);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(`${op}: corrupt gzip, got ${bytes.length} bytes`, { cause: error });
  }
}

/** sha256 as 64 hexadecimal digits. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (subtle === undefined) {
    throw new BackendError(
      "sha256: this page has no crypto.subtle, got an insecure context; serve it over https or from localhost",
    );
  }
  const hash = new Uint8Array(await subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
