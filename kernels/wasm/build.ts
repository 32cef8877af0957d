/**
 * Compiles kernels/<product>/simd.as.ts to kernels/<product>/simd.wasm.ts: the bytes of the plain and of the relaxed build,
 * as text. A product whose sources have not changed is left alone. `npm run build:kernels`.
 */

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { hoistConstants } from "./hoist.ts";
import { encodeText } from "./text.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Paths are given to the compiler relative to the root, so that the bytes do not depend on where it lies.
const folder = "kernels";

const flags = [
  // Vectors pass between sources, never to JavaScript.
  ..."--disableWarning 112".split(" "),
  ..."--optimizeLevel 3 --shrinkLevel 0 --noAssert --runtime stub".split(" "),
  // Declared shared and as large as can be; load.ts clears the shared flag where the heap is not shared.
  ..."--importMemory --noExportMemory --sharedMemory --initialMemory 1 --maximumMemory 65536".split(" "),
  ..."--enable simd --enable threads".split(" "),
];

const read = (path: string): string => readFileSync(join(root, path), "utf8");

async function compile(source: string, extra: readonly string[]): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  const { error, stderr } = await asc.main([source, ...flags, ...extra, "--outFile", "out.wasm"], {
    readFile: (path) => (existsSync(join(root, path)) ? read(path) : null),
    writeFile: (_, contents) => {
      bytes = contents as Uint8Array;
    },
    listFiles: () => [],
  });
  if (error !== null || bytes === undefined) throw new Error(`${source}: ${stderr.toString() || error}`);
  return hoistConstants(bytes);
}

/** The texts of a source and of all that it imports, each once. */
function sources(path: string, seen = new Map<string, string>()): Map<string, string> {
  if (seen.has(path)) return seen;
  const text = read(path);
  seen.set(path, text);
  for (const [, imported] of text.matchAll(/ from "(\.[^"]+\.as)"/g))
    sources(join(path, "..", `${imported}.ts`), seen);
  return seen;
}

/** Builds what is stale and returns its sources. */
export async function buildKernels(): Promise<string[]> {
  const built: string[] = [];
  const builder = ["build.ts", "hoist.ts", "text.ts"]
    .map((name) => read(`${folder}/wasm/${name}`))
    .join("\0");
  for (const product of readdirSync(join(root, folder)).sort()) {
    const source = `${folder}/${product}/simd.as.ts`;
    if (!existsSync(join(root, source))) continue;
    const hash = createHash("sha256")
      .update([asc.version, builder, ...sources(source).values()].join("\0"))
      .digest("hex")
      .slice(0, 16);
    const target = join(root, folder, product, "simd.wasm.ts");
    const head = `// Built by \`npm run build:kernels\` from simd.as.ts (${hash}); not to be edited.\n`;
    if (existsSync(target) && readFileSync(target, "utf8").startsWith(head)) continue;
    const plain = encodeText(await compile(source, []));
    const relaxed = encodeText(await compile(source, ["--enable", "relaxed-simd"]));
    const text = `${head}export const bytes = {\n  plain: "${plain}",\n  relaxed: "${relaxed}",\n};\n`;
    // Two runs at once must never let a reader see half a file.
    writeFileSync(`${target}.${process.pid}`, text);
    renameSync(`${target}.${process.pid}`, target);
    built.push(source);
  }
  return built;
}

/** The global setup of the tests. */
export default async function setup(): Promise<void> {
  await buildKernels();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const source of await buildKernels()) console.log(`compiled ${source}`);
}
