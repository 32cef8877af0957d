/** Consumers that bundle the library, for Node and for pages. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../package/tarball.ts";
import { type Packages, type Place, programs, versionOf } from "./consumer.ts";

export type Target = "node" | "page" | "worker";

export interface Bundle {
  /** The folder that a page is served from, or Node runs in. */
  readonly folder: string;
  /** The script that is run. */
  readonly script: string;
  readonly version: string;
}

export interface Bundler {
  readonly name: string;
  /** Bundles the program; for "worker", what starts it as a module worker, in the bundler's own way where it has one. */
  readonly bundle: (place: Place, target: Target) => Promise<Bundle>;
}

/** Starts the program in a worker: bundlers with an answer to this pattern make a script of their own for it. */
const starter = `new Worker(new URL("./main.js", import.meta.url), { type: "module" });`;
/** Where they have none, the bundle itself is what the worker runs. */
const served = `new Worker("/main.js", { type: "module" });`;

interface Tool {
  readonly name: string;
  /** The tool first, then its plugins. */
  readonly packages: Packages;
  /** Whether it makes scripts of workers. */
  readonly workers: boolean;
  readonly config: (target: Target) => Readonly<Record<string, string>>;
  readonly args: (target: Target) => readonly string[];
}

function bundler({ name, packages, workers, config, args }: Tool): Bundler {
  const made = new Map<Target, Promise<Bundle>>();
  const make = async (place: Place, target: Target): Promise<Bundle> => {
    const tools = await place.packages(packages);
    const tool = Object.keys(packages)[0];
    const files = { "main.js": programs.esm, "start.js": starter, ...config(target) };
    const folder = await place.folder(files);
    const bin = join(tools, "node_modules/.bin", tool === "webpack" ? "webpack-cli" : tool);
    // The configurations, which lie beside the program, find plugins there.
    await run(bin, args(target), folder, { env: { TOOLS: join(tools, "node_modules") } });
    const out = join(folder, "out");
    if (target === "worker" && !workers) await writeFile(join(out, "start.js"), served);
    if (target === "node") await writeFile(join(out, "package.json"), JSON.stringify({ type: "module" }));
    const script = `${target === "worker" ? "start" : "main"}.js`;
    return { folder: out, script, version: await versionOf(tools, tool) };
  };
  return {
    name,
    bundle(place, target) {
      const bundle = made.get(target) ?? make(place, target);
      made.set(target, bundle);
      return bundle;
    },
  };
}

/** Of bundlers that make scripts of workers. */
const entryOf = (target: Target): string => (target === "worker" ? "start" : "main");

const esbuild: Tool = {
  name: "esbuild",
  packages: { esbuild: "latest" },
  workers: false,
  config: () => ({}),
  args: (target) => [
    ..."main.js --bundle --minify --format=esm --outfile=out/main.js".split(" "),
    `--platform=${target === "node" ? "node" : "browser"}`,
  ],
};

const rollup: Tool = {
  name: "Rollup",
  packages: {
    rollup: "latest",
    "@rollup/plugin-node-resolve": "latest",
    "@rollup/plugin-commonjs": "latest",
  },
  workers: false,
  config: (target) => ({
    "rollup.config.cjs": `
      const plugin = (name) => require(process.env.TOOLS + "/@rollup/plugin-" + name).default;
      const browser = ${target !== "node"};
      module.exports = {
        input: "main.js",
        output: { file: "out/main.js", format: "es" },
        // What seedrandom asks of Node it asks where it may fail.
        plugins: [
          plugin("node-resolve")({ browser, preferBuiltins: !browser }),
          plugin("commonjs")({ ignore: ["crypto"] }),
        ],
      };`,
  }),
  args: () => ["--config", "rollup.config.cjs", "--failAfterWarnings"],
};

const webpack: Tool = {
  name: "webpack",
  packages: { webpack: "latest", "webpack-cli": "latest" },
  workers: true,
  config: (target) => ({
    "webpack.config.cjs": `
      const output = { path: __dirname + "/out", filename: "[name].js" };
      const kind = ${
        target === "node"
          ? '{ target: "node", experiments: { outputModule: true }, output: { ...output, module: true } }'
          : '{ target: "web", output }'
      };
      const entry = { ${entryOf(target)}: "./${entryOf(target)}.js" };
      module.exports = { mode: "production", entry, performance: { hints: false }, ...kind };`,
  }),
  args: () => ["--config", "webpack.config.cjs"],
};

const vite: Tool = {
  name: "Vite",
  packages: { vite: "latest" },
  workers: true,
  config: (target) => ({
    "index.html": `<!doctype html><script type="module" src="/${entryOf(target)}.js"></script>`,
    "vite.config.mjs": `
      export default {
        build: {
          outDir: "out",
          ${target === "node" ? 'ssr: "main.js",' : ""}
          rollupOptions: { output: { entryFileNames: "${entryOf(target)}.js" } },
        },
        worker: { format: "es" },
        ssr: { noExternal: true },
      };`,
  }),
  args: () => ["build", "--logLevel", "warn"],
};

export const bundlers: readonly Bundler[] = [esbuild, rollup, webpack, vite].map(bundler);
