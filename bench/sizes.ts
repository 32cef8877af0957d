/** What a page loads: `npm run sizes` builds, bundles, and writes bench/results/size.json and the README's table. */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { encodeText } from "../kernels/wasm/text.ts";
import { resultsFolder } from "./results.ts";
import { replaced } from "./table.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const everyName = (...entries: string[]): string =>
  entries.map((entry, i) => `import * as all${i} from "${entry}"; globalThis.all${i} = all${i};`).join("\n");

/** What is bundled. */
export const programs = {
  "`bitgrad`: tensors and gradients, every name": everyName("bitgrad"),
  "a training: every name of `bitgrad`, `nn`, `optim`, `train`": everyName(
    ...["bitgrad", "bitgrad/nn", "bitgrad/optim", "bitgrad/train"],
  ),
  "`bitgrad/packed`: a packed model, run": everyName("bitgrad/packed"),
} as const;

export type Program = keyof typeof programs;

/** Bytes, gzipped: of the code alone, and with the compiled kernels that lie in it. */
export interface Size {
  readonly code: number;
  readonly whole: number;
}

// "\0asm" and the version, as every kernel begins; the text needs no escapes.
const begin = encodeText(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)).replace(/[^\w]/g, "\\$&");

/** The text of a compiled kernel, with its quotes. */
export const compiled = new RegExp(`(["'\`])${begin}[^"'\`]*\\1`, "g");

const gzipped = (text: string): number => gzipSync(text, { level: 9 }).length;

export const sizeOf = (code: string): Size => ({
  code: gzipped(code.replace(compiled, '""')),
  whole: gzipped(code),
});

export type Sizes = Record<Program, Size>;

/** `bundle` makes one minified text of a program. */
export async function measureSizes(bundle: (program: string) => Promise<string>): Promise<Sizes> {
  const sizes: [string, Size][] = [];
  for (const [name, program] of Object.entries(programs)) sizes.push([name, sizeOf(await bundle(program))]);
  return Object.fromEntries(sizes) as Sizes;
}

export const sizesFile = join(resultsFolder, "size.json");
export const readmePage = join(root, "README.md");

const kilobytes = (bytes: number): string => (bytes / 1024).toFixed(0);

/** The README with its table made new. */
export function renderSizes(page: string, sizes: Sizes): string {
  const rows = Object.entries(sizes).map(
    ([name, { code, whole }]) => `| ${name} | ${kilobytes(whole)} | ${kilobytes(code)} |`,
  );
  const head = ["| bundled, minified, gzipped | KB | without the compiled kernels |", "| --- | --- | --- |"];
  return replaced(page, "sizes", [...head, ...rows].join("\n"));
}

const byEsbuild = async (contents: string): Promise<string> => {
  const { outputFiles } = await build({
    // The package finds its own build by the names that users write; tsconfig.json would lead to the sources.
    stdin: { contents, resolveDir: root, loader: "js" },
    tsconfigRaw: {},
    bundle: true,
    minify: true,
    platform: "browser",
    format: "esm",
    write: false,
  });
  return outputFiles[0].text;
};

async function main(): Promise<void> {
  execFileSync("npm", ["run", "build", "--silent", "--", "--silent"], { cwd: root, stdio: "inherit" });
  const sizes = await measureSizes(byEsbuild);
  writeFileSync(sizesFile, `${JSON.stringify(sizes, null, 2)}\n`);
  writeFileSync(readmePage, renderSizes(readFileSync(readmePage, "utf8"), sizes));
  console.table(sizes);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
