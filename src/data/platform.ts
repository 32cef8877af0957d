/** What data sets and model files need of the outside world. Node's half is `platform.node.ts`, the browser's `platform.browser.ts`. */

import { BitgradError, FormatError, show } from "../errors.ts";

/** What the system refused, as an error of ours; our own and aborts pass as they are. */
export function refused(op: string, action: "read" | "written", place: unknown, error: unknown): unknown {
  const { code, name, message } = (error ?? {}) as { code?: unknown; name?: unknown; message?: unknown };
  if (error instanceof BitgradError || name === "AbortError") return error;
  const reason = typeof code === "string" ? code : show(message);
  return new FormatError(`${op}: a file cannot be ${action}, got ${reason} for ${show(place)}`, {
    cause: error,
  });
}

/** Bytes that can be read in pieces, so that a large file is never in memory whole. */
export interface ByteSource {
  readonly size: number;
  /** `length` bytes from `offset`, in a fresh or a shared buffer. The caller keeps within `size`. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface Platform {
  /** The folder that BITGRAD_DATA names; null where it is unset or there is no environment. */
  dataFolder(): string | null;
  /** Where downloads are kept; null where there are no files. */
  cacheFolder(): string | null;
  /** The whole file, or null if there is none. */
  readFile(path: string): Promise<Uint8Array | null>;
  /** Throws FormatError if there is no such file. */
  openFile(path: string | URL): Promise<ByteSource>;
  /** Writes a file, its folders too, so that it is there whole or not at all. */
  writeFile(path: string | URL, chunks: Iterable<Uint8Array>): Promise<void>;
  /** Adds to the end of a file, which is made where there is none, its folders too. */
  appendFile(path: string, chunks: readonly Uint8Array[]): Promise<void>;
  /** Draws one line over the last on a terminal; null where there is none or it is not wanted (CI, NO_COLOR). */
  terminal(): ((line: string) => void) | null;
}
