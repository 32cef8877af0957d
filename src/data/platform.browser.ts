/** The platform in a browser: a path is a URL to fetch, and there are no files to write. */

import { BackendError, FormatError, show } from "../errors.ts";
import { type ByteSource, type Platform, refused } from "./platform.ts";

async function readFile(path: string | URL): Promise<Uint8Array | null> {
  const response = await fetch(path).catch((error) => {
    throw refused("open", "read", String(path), error);
  });
  if (response.status === 404) return null;
  if (!response.ok)
    throw new FormatError(
      `fetch: the server refused, got status ${response.status} for ${show(String(path))}`,
    );
  return new Uint8Array(await response.arrayBuffer());
}

export const platform: Platform = {
  dataFolder: () => null,
  // The browser's own HTTP cache keeps downloads.
  cacheFolder: () => null,
  readFile,
  async openFile(path): Promise<ByteSource> {
    const bytes = await readFile(path);
    if (bytes === null) throw new FormatError(`open: there is no such file, got ${show(String(path))}`);
    return {
      size: bytes.length,
      read: async (offset, length) => bytes.subarray(offset, offset + length),
      close: async () => {},
    };
  },
  async writeFile(path) {
    throw new BackendError(
      `save: a browser has no files to write, got ${show(String(path))}; pass a WritableStream, or no sink to get the bytes`,
    );
  },
  async appendFile(path) {
    throw new BackendError(
      `log: a browser has no files to write, got ${show(path)}; pass a logger of your own`,
    );
  },
  terminal: () => null,
};
