/** Test files as a page loads them. */

import { readFile } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { build, type Plugin } from "esbuild";
import { browserHalves } from "../pages.ts";

const root = join(import.meta.dirname, "../../..");

/** In each module `import.meta.url` is where the server has its source. */
const addresses: Plugin = {
  name: "addresses",
  setup({ onLoad }) {
    onLoad({ filter: /\/test\/.*\.ts$/ }, async ({ path }) => {
      const text = await readFile(path, "utf8");
      const url = `new URL("/${relative(root, path)}", location.href).href`;
      return { contents: text.replaceAll("import.meta.url", url), loader: "ts" };
    });
  },
};

/** Scripts by their paths; /stdin.js starts. */
export async function builtSuite(files: readonly string[]): Promise<Map<string, string>> {
  const here = (file: string) => join(import.meta.dirname, file);
  const { outputFiles } = await build({
    stdin: {
      contents: `import { runSuite } from "./page.ts";
runSuite({${files.map((file) => `"${file}": () => import("../../../${file}")`)}});`,
      resolveDir: import.meta.dirname,
    },
    tsconfig: join(root, "tsconfig.json"),
    plugins: [browserHalves, addresses],
    alias: { vitest: here("vitest.ts"), "node:fs": here("node-fs.ts") },
    define: { "process.env": "environment" },
    keepNames: true,
    bundle: true,
    splitting: true,
    outdir: "/",
    platform: "browser",
    format: "esm",
    write: false,
    logLevel: "error",
  });
  return new Map(outputFiles.map(({ path, text }) => [`/${basename(path)}`, text]));
}
