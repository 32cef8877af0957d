/** Finds a file of a named data set, or downloads, checks and keeps it. */

import { BitgradError, FormatError, OptionError, show } from "../../errors.ts";
import { collect, gunzip, isGzip, sha256 } from "../bytes.ts";
import { platform } from "../platform.node.ts";

export interface DataFile {
  /** Below the data folder, such as "mnist/t10k-labels-idx1-ubyte.gz". */
  readonly path: string;
  /** Size unpacked, in bytes; absent for a file that only a user's own folder can have. */
  readonly bytes?: number;
  /** Of the unpacked bytes, so that any mirror's gzip will do. */
  readonly sha256?: string;
  /** Where it can be downloaded, tried in order; none for a set made for this library's data folder. */
  readonly urls: readonly string[];
}

export interface FetchOptions {
  /** Looked in first, and where downloads are kept; else the user's cache folder. In a browser, a URL to look below. */
  dir?: string;
  /** Called as a download goes on: bytes so far, all bytes if the server says, and the file's name. */
  onProgress?: (bytes: number, total: number | undefined, name: string) => void;
  /** Draws the progress on the terminal, if there is one and CI and NO_COLOR are unset. */
  progress?: boolean;
  signal?: AbortSignal;
}

export const fetchDefaults: FetchOptions = {
  dir: undefined,
  onProgress: undefined,
  progress: false,
  signal: undefined,
};

/** The most a download may have beyond the unpacked size: a mirror may gzip badly, but not serve something else. */
const SLACK = 2 ** 20;
const LOCAL_LIMIT = 2 ** 31;

/** The unpacked bytes of a file. Throws BitgradError (code "DATA") if it is nowhere, FormatError if it is not the right one. */
export async function fetchFile(op: string, file: DataFile, options: FetchOptions): Promise<Uint8Array> {
  options.signal?.throwIfAborted();
  const keep = options.dir ?? platform.cacheFolder();
  for (const folder of [options.dir, platform.dataFolder(), keep]) {
    if (!folder) continue;
    for (const path of new Set([file.path, file.path.replace(/\.gz$/, "")])) {
      const bytes = await platform.readFile(`${folder}/${path}`);
      if (bytes !== null) return unpack(op, file, bytes, `${folder}/${path}`);
    }
  }
  if (file.urls.length === 0) {
    throw new BitgradError(
      `${op}: there is no upstream file to download, got no ${file.path}; set BITGRAD_DATA to a folder that has it`,
      "DATA",
    );
  }
  const failures: unknown[] = [];
  for (const url of file.urls) {
    let packed: Uint8Array;
    let bytes: Uint8Array;
    try {
      packed = await download(op, file, url, options);
      bytes = await unpack(op, file, packed, url);
    } catch (error) {
      options.signal?.throwIfAborted();
      failures.push(error);
      continue;
    }
    if (keep && platform.cacheFolder() !== null) await platform.writeFile(`${keep}/${file.path}`, [packed]);
    return bytes;
  }
  const reasons = failures.map((error) => String((error as Partial<Error> | null)?.message ?? error));
  throw new BitgradError(
    `${op}: could not download, got ${reasons.map(show).join(" and ")}; set BITGRAD_DATA to a folder that has ${file.path}`,
    "DATA",
    { cause: failures[0] },
  );
}

async function unpack(op: string, file: DataFile, packed: Uint8Array, from: string): Promise<Uint8Array> {
  const bytes = isGzip(packed) ? await gunzip(op, packed, file.bytes ?? LOCAL_LIMIT) : packed;
  if (file.sha256 !== undefined) {
    const hash = await sha256(bytes);
    if (hash !== file.sha256) {
      throw new FormatError(
        `${op}: not the file it should be, got sha256 ${hash} of ${from} unpacked where ${file.sha256} belongs; delete or replace it`,
      );
    }
  }
  return bytes;
}

async function download(op: string, file: DataFile, url: string, options: FetchOptions): Promise<Uint8Array> {
  const response = await fetch(url, { signal: options.signal ?? null });
  if (!response.ok || response.body === null) {
    throw new BitgradError(`${op}: the server refused, got status ${response.status} for ${url}`, "DATA");
  }
  // Under a content encoding the length counts the encoded bytes, and the stream gives the decoded ones.
  const encoded = response.headers.get("content-encoding") !== null;
  const total = encoded ? undefined : Number(response.headers.get("content-length")) || undefined;
  const name = file.path.slice(file.path.lastIndexOf("/") + 1);
  const draw = options.progress ? platform.terminal() : null;
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  const limit = file.bytes === undefined ? LOCAL_LIMIT : file.bytes + SLACK;
  try {
    return await collect(op, response.body, limit, (bytes) => {
      options.onProgress?.(bytes, total, name);
      draw?.(`${name} ${megabytes(bytes)}${total === undefined ? "" : ` of ${megabytes(total)}`}`);
    });
  } finally {
    draw?.("");
  }
}

/** `split` if the set has it, else an OptionError that names those it has. */
export function checkSplit<S extends string>(op: string, split: S, splits: readonly S[]): S {
  if (!splits.includes(split)) {
    throw new OptionError(`${op}: no such split, got ${show(split)}; the splits are ${splits.join(", ")}`);
  }
  return split;
}
