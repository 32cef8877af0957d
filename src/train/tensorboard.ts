/**
 * TensorBoard's event files: records of a length, the data and their checksums (TFRecord), the data being protocol buffers
 * of type Event. What fields mean is said by tensorflow/core/util/event.proto and framework/summary.proto.
 */

import { OptionError, readOptions, show } from "../errors.ts";
import { shared } from "../state.ts";
import { appending, type Logger } from "./loggers.ts";

const table = /* @__PURE__ */ (() => {
  const made = new Int32Array(256);
  for (let n = 0; n < 256; n++) {
    let crc = n;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
    made[n] = crc;
  }
  return made;
})();

/** The CRC-32C of `bytes`, turned and shifted, since data may hold checksums itself. */
function checksum(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  crc = ~crc;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

function record(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(16 + data.length);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, checksum(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, checksum(data), true);
  return out;
}

// Fields of a protocol buffer: a key of number and wire type, then the value.
const [VARINT, EIGHT, LENGTH, FOUR] = [0, 1, 2, 5];

function varint(n: number): number[] {
  const out: number[] = [];
  for (; n >= 128; n = Math.floor(n / 128)) out.push((n % 128) + 128);
  return [...out, n];
}

const joined = (parts: readonly Uint8Array[]): Uint8Array => {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

const count = (field: number, n: number): Uint8Array => Uint8Array.of((field << 3) | VARINT, ...varint(n));

const bytes = (field: number, data: Uint8Array): Uint8Array =>
  joined([Uint8Array.of((field << 3) | LENGTH, ...varint(data.length)), data]);

const text = (field: number, value: string): Uint8Array => bytes(field, new TextEncoder().encode(value));

function double(field: number, value: number): Uint8Array {
  const out = Uint8Array.of((field << 3) | EIGHT, ...Array<number>(8).fill(0));
  new DataView(out.buffer).setFloat64(1, value, true);
  return out;
}

function float(field: number, value: number): Uint8Array {
  const out = Uint8Array.of((field << 3) | FOUR, 0, 0, 0, 0);
  new DataView(out.buffer).setFloat32(1, value, true);
  return out;
}

function doubles(field: number, values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  for (const [i, value] of values.entries()) view.setFloat64(8 * i, value, true);
  return bytes(field, new Uint8Array(view.buffer));
}

const BUCKETS = 64;

/** A HistogramProto of the finite values: 64 buckets of one width, from the least to the largest. */
function histogram(values: ArrayLike<number>): Uint8Array {
  let [min, max, num, sum, squares] = [Infinity, -Infinity, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    num++;
    sum += value;
    squares += value * value;
  }
  if (num === 0) [min, max] = [0, 0];
  const width = (max - min) / BUCKETS;
  const counts = Array<number>(width > 0 ? BUCKETS : 1).fill(0);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    counts[width > 0 ? Math.min(Math.floor((values[i] - min) / width), BUCKETS - 1) : 0]++;
  }
  const limits = counts.map((_, i) => (i === counts.length - 1 ? max : min + width * (i + 1)));
  return joined([
    ...[min, max, num, sum, squares].map((value, i) => double(i + 1, value)),
    doubles(6, limits),
    doubles(7, counts),
  ]);
}

const scalarValue = (tag: string, value: number): Uint8Array => joined([text(1, tag), float(2, value)]);

const histogramValue = (tag: string, values: ArrayLike<number>): Uint8Array =>
  joined([text(1, tag), bytes(5, histogram(values))]);

const now = (): Uint8Array => double(1, Date.now() / 1000);

const event = (step: number, values: readonly Uint8Array[]): Uint8Array =>
  record(joined([now(), count(2, step), bytes(5, joined(values.map((value) => bytes(1, value))))]));

export interface TensorBoardOptions {
  /** Steps between two histograms of every weight and gradient; none unless told otherwise. */
  histograms: number | null;
}

const files = shared("tensorBoard", () => ({ count: 0 }));

/**
 * An event file in `folder`, for `tensorboard --logdir`: `loss`, `lr` and `validation/…` as scalars, and with `histograms`
 * the `weights/…` and `gradients/…` of every parameter. Each logger has a file of its own, so that runs in one folder go on
 * in one curve. Throws FormatError where the file cannot be written.
 *
 * @example
 * ```ts
 * import { tensorBoard } from "bitgrad/train";
 *
 * const logger = tensorBoard("runs/first", { histograms: 100 });
 * await logger.log({ step: 1, of: null, epoch: 0, values: { loss: 2.3, lr: 0.001 } });
 * await logger.close?.();
 * ```
 */
export function tensorBoard(folder: string, options?: Partial<TensorBoardOptions>): Logger {
  const op = "tensorBoard";
  const { histograms } = readOptions<TensorBoardOptions>(op, options, { histograms: null });
  if (histograms !== null && !(Number.isInteger(histograms) && histograms >= 1))
    throw new OptionError(`${op}: histograms must be a positive integer, got ${show(histograms)}`);
  if (typeof folder !== "string" || folder === "")
    throw new OptionError(`${op}: needs the path of a folder, got ${show(folder)}`);
  const time = Date.now();
  const name = `events.out.tfevents.${Math.floor(time / 1000)}.bitgrad.${time % 1000}.${files.count++}`;
  const file = appending(op, `${folder}/${name}`);
  let begun = false;
  const add = (data: Uint8Array) => {
    const head = begun ? [] : [record(joined([now(), text(3, "brain.Event:2")]))];
    begun = true;
    return file.add(joined([...head, data]));
  };
  return {
    log({ step, values }) {
      const scalars = Object.entries(values).map(([name, value]) =>
        scalarValue(name.replace(/^validation\./, "validation/"), value),
      );
      return add(event(step, scalars));
    },
    gradients({ step, parameters }) {
      if (histograms === null || step % histograms !== 0) return undefined;
      const values = parameters.flatMap(([name, { value, grad }]) => [
        histogramValue(`weights/${name}`, value.data),
        ...(grad ? [histogramValue(`gradients/${name}`, grad.data)] : []),
      ]);
      return add(event(step, values));
    },
    close: file.flush,
  };
}
