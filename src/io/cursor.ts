/** Reads little-endian numbers and texts one after another, never behind the end. */

import { FormatError, show } from "../errors.ts";
import { decodeUtf8 } from "../safetensors/utf8.ts";

export class Cursor {
  readonly op: string;
  readonly length: number;
  at = 0;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(op: string, bytes: Uint8Array) {
    this.op = op;
    this.bytes = bytes;
    this.length = bytes.length;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Throws FormatError unless so many bytes are left. */
  need(count: number): void {
    if (count <= this.length - this.at) return;
    throw new FormatError(
      `${this.op}: the file is cut off, got ${this.length - this.at} bytes at ${this.at} where ${count} belong`,
    );
  }

  skip(count: number): void {
    this.need(count);
    this.at += count;
  }

  /** The bytes that `skip` passes. */
  take(count: number): Uint8Array {
    this.skip(count);
    return this.bytes.subarray(this.at - count, this.at);
  }

  u32(): number {
    this.skip(4);
    return this.view.getUint32(this.at - 4, true);
  }

  i32(): number {
    return this.u32() | 0;
  }

  /** Throws FormatError from 2^53 on. */
  u64(): number {
    const [low, high] = [this.u32(), this.u32()];
    if (high < 2 ** 21) return high * 2 ** 32 + low;
    throw new FormatError(`${this.op}: a count or length must be below 2^53, got ${high} · 2^32 + ${low}`);
  }

  /** So many bytes as text, of at most `limit`. */
  text(length: number, limit: number): string {
    if (length > limit) {
      throw new FormatError(`${this.op}: a text has at most ${limit} bytes here, got ${show(length)}`);
    }
    return decodeUtf8(this.op, this.take(length));
  }
}
