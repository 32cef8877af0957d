/**
 * Serves the playground, and builds it into the site as static files that need no server: they open from their folder too.
 *
 *   npm run playground              serves it while it is worked on
 *   npm run playground -- build     writes docs/site/playground
 *   npm run playground -- preview   serves what was written
 */

import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const root = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** What the page may do. 'wasm-unsafe-eval' lets it compile kernels, and blob: make a worker of its own script. */
export const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self' blob:",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
].join("; ");

/**
 * The library as users name it, from its sources: `bitgrad/nn` is src/nn/index.ts, which installs methods where it is
 * loaded, and `*.node.ts` has a twin for browsers, as the condition of package.json has it.
 */
const library = (): Plugin => ({
  name: "library",
  enforce: "pre",
  async resolveId(source, importer) {
    const entry = /^bitgrad(?:\/(.+))?$/.exec(source);
    if (entry) return { id: root(`src/${entry[1] ? `${entry[1]}/` : ""}index.ts`), moduleSideEffects: true };
    if (!source.endsWith(".node.ts")) return null;
    const found = await this.resolve(source, importer, { skipSelf: true });
    return found?.id.replace(/\.node\.ts$/, ".browser.ts") ?? null;
  },
});

/** Modules and files asked for with CORS do not load from a folder: plain scripts and styles do. */
const fromAFolder = (): Plugin => ({
  name: "from-a-folder",
  apply: "build",
  enforce: "post",
  transformIndexHtml: {
    order: "post",
    handler: (html) =>
      html
        .replaceAll(" crossorigin", "")
        .replace('<script type="module"', "<script defer")
        .replace(
          '<meta charset="utf-8">',
          `<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="${policy}">`,
        ),
  },
});

export default defineConfig({
  root: root("examples/playground"),
  base: "./",
  plugins: [library(), fromAFolder()],
  worker: { format: "iife", plugins: () => [library()] },
  build: {
    outDir: root("docs/site/playground"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    // Styles in scripts would need a laxer policy.
    cssCodeSplit: false,
    chunkSizeWarningLimit: 2048,
    rolldownOptions: { output: { format: "iife" }, checks: { pluginTimings: false } },
  },
});
