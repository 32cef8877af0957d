/** Packed files as they were written once, with what they made of an input then. */

import { readFileSync } from "node:fs";
import type { Values } from "bitgrad/packed";

export interface StoredFile {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Ids are numbers too. */
  readonly input: Values;
  readonly told?: object;
  readonly output: { readonly data: readonly number[]; readonly shape: readonly number[] };
}

/** Those of a version. */
export function storedFiles(version: number): StoredFile[] {
  const json = readFileSync(new URL(`../fixtures/packed-${version}.json`, import.meta.url), "utf8");
  const all: (Omit<StoredFile, "bytes"> & { readonly file: string })[] = JSON.parse(json);
  return all.map(({ file, input: { data, shape }, ...rest }) => ({
    ...rest,
    bytes: Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0)),
    input: { data: Float32Array.from(data), shape },
  }));
}
