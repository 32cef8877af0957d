/** The places a file can come from and go to. */

import { platform } from "../data/platform.node.ts";
import { type ByteSource, refused } from "../data/platform.ts";
import { bytesOf } from "../dtype.ts";
import { FormatError, isBuiltIn, OptionError, show } from "../errors.ts";

/** Node's FileHandle, or anything that reads like it. */
export interface FileHandleLike {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
  stat(): Promise<{ size: number }>;
}

/** A file that the browser's user has chosen. */
export interface BrowserFileHandle {
  getFile(): Promise<Blob>;
}

/** A path (in a browser a URL), a URL, bytes, a Blob or File, a fetch Response, or an open file, which stays open. */
export type Source =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Blob
  | Response
  | FileHandleLike
  | BrowserFileHandle;

/** A path, which is replaced whole or not at all, or a stream, which is closed at the end. */
export type Sink = string | URL | WritableStream<Uint8Array>;

const isRemote = (source: string | URL): boolean => /^https?:/i.test(String(source));

const has = <K extends string>(
  value: unknown,
  ...methods: K[]
): value is Record<K, (...rest: never) => unknown> =>
  typeof value === "object" &&
  value !== null &&
  methods.every((method) => typeof (value as Record<string, unknown>)[method] === "function");

/** `source` as bytes that can be read in pieces. Throws FormatError if there is no such file or the system refuses it. */
export async function openSource(op: string, source: Source): Promise<ByteSource> {
  const place = isBuiltIn("URL", source) ? String(source) : source;
  const typed = (error: unknown): never => {
    throw refused(op, "read", place, error);
  };
  const bytes = await open(op, source).catch(typed);
  return { ...bytes, read: (offset, length) => bytes.read(offset, length).catch(typed) };
}

async function open(op: string, source: Source): Promise<ByteSource> {
  if (typeof source === "string" || isBuiltIn("URL", source)) {
    return isRemote(source) ? fromResponse(op, await fetch(source)) : platform.openFile(source);
  }
  const bytes = bytesOf(source);
  if (bytes) return fromBytes(bytes);
  if (isBuiltIn("Blob", source) || isBuiltIn("File", source)) return fromBlob(source);
  if (isBuiltIn("Response", source)) return fromResponse(op, source);
  if (has(source, "getFile")) return fromBlob(await (source as BrowserFileHandle).getFile());
  if (has(source, "read", "stat")) return fromHandle(op, source as FileHandleLike);
  throw new OptionError(
    `${op}: a source must be a path, a URL, bytes, a Blob, a Response or an open file, got ${show(source)}`,
  );
}

const close = async (): Promise<void> => {};

const fromBytes = (bytes: Uint8Array): ByteSource => ({
  size: bytes.length,
  read: async (offset, length) => bytes.subarray(offset, offset + length),
  close,
});

const fromBlob = (blob: Blob): ByteSource => ({
  size: blob.size,
  read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  close,
});

async function fromResponse(op: string, response: Response): Promise<ByteSource> {
  if (!response.ok) {
    throw new FormatError(
      `${op}: the server refused, got status ${response.status} for ${show(response.url)}`,
    );
  }
  return fromBytes(new Uint8Array(await response.arrayBuffer()));
}

async function fromHandle(op: string, handle: FileHandleLike): Promise<ByteSource> {
  const { size } = await handle.stat();
  return {
    size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
        if (bytesRead === 0)
          throw new FormatError(`${op}: the file ended early, got ${offset + done} of ${size} bytes`);
        done += bytesRead;
      }
      return bytes;
    },
    close,
  };
}

/** Writes all chunks to `sink`. */
export async function writeSink(op: string, sink: Sink, chunks: Iterable<Uint8Array>): Promise<void> {
  if (typeof sink === "string" || isBuiltIn("URL", sink)) return platform.writeFile(sink, chunks);
  if (!has(sink, "getWriter")) {
    throw new OptionError(`${op}: a sink must be a path, a URL or a WritableStream, got ${show(sink)}`);
  }
  if ((sink as WritableStream).locked)
    throw new OptionError(`${op}: the stream has a writer, got one that is locked`);
  const writer = (sink as WritableStream<Uint8Array>).getWriter();
  try {
    for (const chunk of chunks) {
      await writer.ready;
      // A tensor's chunk is a view of memory that is shared or changes: sinks refuse the one and keep the other.
      await writer.write(chunk.slice());
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
}
