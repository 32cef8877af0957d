/** Text to train on: a file, or by default the repository's own documents and sources, so that nothing is downloaded. */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Refusal } from "../run.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The bytes of `file`, or of the repository's README, documents and sources in the order of their names. */
export function readCorpus(file?: string): Uint8Array {
  if (file !== undefined) {
    if (!existsSync(file)) throw new Refusal(`there is no file ${file}`);
    if (statSync(file).isDirectory()) throw new Refusal(`the text must be a file, got the folder ${file}`);
    return readFileSync(file);
  }
  const names = ["docs", "src", "kernels"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(md|ts)$/.test(name) && !/^api\b|\.wasm\./.test(name))
      .map((name) => join(folder, name)),
  );
  return Buffer.concat(["README.md", ...names.sort()].map((name) => readFileSync(join(root, name))));
}

/** The entropy of single bytes in nats: the loss of a model that knows how often each occurs, and nothing else. */
export function unigramEntropy(text: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of text) counts[byte]++;
  return counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / text.length) * Math.log(n / text.length)), 0);
}
