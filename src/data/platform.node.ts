/** The platform in Node: files, the environment and the terminal. Only the node build contains this file. */

import { randomUUID } from "node:crypto";
import { appendFile, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { FormatError, show } from "../errors.ts";
import { type ByteSource, type Platform, refused } from "./platform.ts";

const isMissing = (error: unknown): boolean => {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return code === "ENOENT" || code === "ENOTDIR";
};

const isFolder = (path: string | URL, cause?: unknown): FormatError =>
  new FormatError(`open: a file is needed, got the folder ${show(String(path))}`, { cause });

async function writeChunks(path: string, chunks: Iterable<Uint8Array>): Promise<void> {
  const file = await open(path, "wx");
  try {
    for (const chunk of chunks) {
      for (let done = 0; done < chunk.length; ) done += (await file.write(chunk, done)).bytesWritten;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

export const platform: Platform = {
  dataFolder: () => process.env.BITGRAD_DATA || null,

  cacheFolder: () => join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "bitgrad"),

  async readFile(path) {
    try {
      const { buffer, byteOffset, length } = await readFile(path);
      return new Uint8Array(buffer, byteOffset, length);
    } catch (error) {
      if (isMissing(error)) return null;
      if ((error as NodeJS.ErrnoException).code === "EISDIR") throw isFolder(path, error);
      throw refused("open", "read", path, error);
    }
  },

  async openFile(path): Promise<ByteSource> {
    const file = await open(path, "r").catch((error) => {
      throw isMissing(error)
        ? new FormatError(`open: there is no such file, got ${show(String(path))}`, { cause: error })
        : error;
    });
    const about = await file.stat();
    if (about.isDirectory()) {
      await file.close();
      throw isFolder(path);
    }
    const { size } = about;
    return {
      size,
      async read(offset, length) {
        const bytes = new Uint8Array(length);
        for (let done = 0; done < length; ) {
          const { bytesRead } = await file.read(bytes, done, length - done, offset + done);
          if (bytesRead === 0) {
            throw new FormatError(
              `open: the file ended early, got ${offset + done} of ${size} bytes of ${show(String(path))}`,
            );
          }
          done += bytesRead;
        }
        return bytes;
      },
      close: () => file.close(),
    };
  },

  async writeFile(target, chunks) {
    try {
      const path = typeof target === "string" ? target : fileURLToPath(String(target));
      const folder = dirname(path);
      await mkdir(folder, { recursive: true });
      // Not named after the file, whose name may be as long as names can be.
      const draft = join(folder, `.${randomUUID()}.part`);
      try {
        await writeChunks(draft, chunks);
        await rename(draft, path);
      } catch (error) {
        await rm(draft, { force: true });
        throw error;
      }
    } catch (error) {
      throw refused("save", "written", String(target), error);
    }
  },

  async appendFile(path, chunks) {
    try {
      await mkdir(dirname(path), { recursive: true });
      await appendFile(path, Buffer.concat(chunks));
    } catch (error) {
      throw refused("log", "written", path, error);
    }
  },

  terminal() {
    const { stderr, env } = process;
    if (!stderr.isTTY || env.CI || env.NO_COLOR) return null;
    return (line) => void stderr.write(`\r${line}\u001b[K`);
  },
};
