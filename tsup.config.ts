import { readFileSync, rmSync } from "node:fs";
import { defineConfig, type Options } from "tsup";

const pkg = JSON.parse(readFileSync("package.json", "utf8")) as {
  exports: Record<string, unknown>;
  imports: Record<string, unknown>;
};

/** The public entries, as package.json lists them: `bitgrad/nn` is src/nn/index.ts, built to dist/nn.js. */
const entries = Object.fromEntries(
  Object.keys(pkg.exports)
    .filter((path) => path !== "./package.json")
    .map((path) =>
      path === "." ? ["index", "src/index.ts"] : [path.slice(2), `src${path.slice(1)}/index.ts`],
    ),
);

/** Both halves of each module that differs by platform: `#data/platform` is src/data/platform.{node,browser}.ts. */
const halves = Object.fromEntries(
  Object.keys(pkg.imports).flatMap((path) =>
    ["node", "browser"].map((side) => [`${path.slice(1)}.${side}`, `src/${path.slice(1)}.${side}.ts`]),
  ),
);

type EsbuildPlugin = NonNullable<Options["esbuildPlugins"]>[number];
type Plugin = NonNullable<Options["plugins"]>[number];

/** Leaves the choice between the halves to package.json: an import of `*.node.ts` becomes the `#…` import it names. */
const choosePlatformLater: EsbuildPlugin = {
  name: "choose-platform-later",
  setup(build) {
    build.onResolve({ filter: /\.node\.ts$/ }, async ({ path, resolveDir, kind, pluginData }) => {
      if (kind === "entry-point" || pluginData === "resolved") return undefined;
      const found = await build.resolve(path, { resolveDir, kind, pluginData: "resolved" });
      const name = /\/src\/(.+)\.node\.ts$/.exec(found.path.replaceAll("\\", "/"))?.[1];
      return { path: `#${name}`, external: true };
    });
  },
};

/** Undoes esbuild's `var X = class _X`, so that a class keeps its name in messages and under debuggers. */
const keepClassNames: Plugin = {
  name: "keep-class-names",
  renderChunk(code) {
    const renamed = [...code.matchAll(/^var (\w+) = class _\1\b/gm)].map(([, name]) => name);
    if (renamed.length === 0) return undefined;
    return { code: code.replace(new RegExp(`\\b_(${renamed.join("|")})\\b`, "g"), "$1") };
  },
};

const common: Options = {
  entry: { ...entries, ...halves },
  target: "es2022",
  platform: "neutral",
  splitting: true,
  sourcemap: true,
  esbuildPlugins: [choosePlatformLater],
  plugins: [keepClassNames],
  esbuildOptions(options) {
    // package.json's `sideEffects` names this folder: the chunk that installs the tensor methods lies in it.
    options.chunkNames = "chunks/[name]-[hash]";
  },
};

// Three builds share the folder, so it is emptied here, once.
rmSync("dist", { recursive: true, force: true });

export default defineConfig([
  { ...common, format: "esm" },
  // With `treeshake` it is Rollup that turns the chunks into CommonJS; otherwise tsup lowers their syntax on the way.
  { ...common, format: "cjs", treeshake: true },
  {
    entry: entries,
    format: ["esm", "cjs"],
    dts: { only: true, banner: '/// <reference lib="esnext.disposable" />' },
  },
]);
