import { copyFile, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { type BuildResult, build, type Platform } from "esbuild";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { compiled, measureSizes, sizeOf } from "../bench/sizes.ts";
import { decodeText } from "../kernels/wasm/text.ts";
import { checkTypes, install, pkg, publintMessages, root, run } from "./package/tarball.ts";

const fixtures = join(root, "test/package");

/**
 * Bytes that the whole of `bitgrad` may take in a browser, minified and gzipped, without wasm: docs/architecture.md, Size.
 * The last 8 KB are kernels, each as reference and as SIMD: sorting and selection, gathering, draws, types that meet,
 * reductions over any axis, products in double precision and batch norm.
 */
const budget = 72 * 1024;

/**
 * The same for `bitgrad/packed`: its own code, and with the kernels' JavaScript, their references among it. The last 4 KB
 * are zero points, pools, transposed convolutions and kinds from outside; 2 KB more check what layers and kinds are given
 * that a program runs or writes itself. Version 4 of the files, beside the older ones, and kernels of the heap take 3 KB.
 * Shapes that are found again, attention that reads heads where they lie, and what linear layers add take
 * 0.6 KB, Hadamard transforms 0.7 KB. The verbs of executors take 0.6 KB, features with outliers 0.8 KB,
 * what is told of runs elsewhere 0.1 KB.
 */
const packedBudget = { alone: 28.625 * 1024, withKernels: 57.375 * 1024 };

vi.setConfig({ testTimeout: 180_000 });

/** The entries as users write them: `bitgrad`, `bitgrad/nn`, … */
const entries = Object.keys(pkg.exports)
  .filter((path) => path !== "./package.json")
  .map((path) => `bitgrad${path.slice(1)}`);

/** An empty folder outside the repository, with the packed library installed in it. */
let home = "";
let tarball = "";

const node = (...args: string[]): Promise<string> => run(process.execPath, args, home);

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "bitgrad-package-"));
  tarball = await install(home);
  for (const name of ["rules.mjs", "names.mjs", "lazy.mjs"])
    await copyFile(join(fixtures, name), join(home, name));
}, 300_000);

afterAll(() => rm(home, { recursive: true, force: true }));

describe("the tarball", () => {
  it("holds the build, the licence and the two pages, and nothing else", async () => {
    const installed = join(home, "node_modules/bitgrad");
    expect((await readdir(installed)).sort()).toEqual([
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "dist",
      "package.json",
    ]);
    expect(pkg.dependencies).toEqual({ seedrandom: "3.0.5" });
  });

  it("holds every file that package.json points at", async () => {
    const targets = (value: unknown): string[] =>
      typeof value === "string" ? [value] : Object.values(value as object).flatMap(targets);
    const named = [pkg.main, pkg.module, pkg.types, ...targets(pkg.exports), ...targets(pkg.imports)];
    for (const path of named) await stat(join(home, "node_modules/bitgrad", path));
  });

  it("passes publint in strict mode", async () => {
    expect(await publintMessages(tarball)).toEqual([]);
  });

  it("has the right types for every way of resolving (attw)", async () => {
    await checkTypes(tarball, home);
  });
});

describe("the public names", () => {
  it("are the same by import and by require, and classes keep theirs", async () => {
    const found = JSON.parse(await node("names.mjs", ...entries));
    for (const entry of entries) {
      expect(found[entry].cjs, entry).toEqual(found[entry].esm);
      expect(found[entry].esm.length, `${entry} exports something`).toBeGreaterThan(0);
      for (const line of found[entry].esm) {
        const [, own, key] = /^class (\S*) as (\S+)$/.exec(line) ?? [];
        expect(own, `${entry}: ${line}`).toBe(key);
      }
    }
  });
});

describe.each(["esm", "cjs", "both", "swapped"])("loaded as %s", (mode) => {
  it.each([
    ["one tape rules all entries", "tape"],
    ["one heap rules all entries", "heap"],
    ["one pool of threads serves all entries", "threads"],
    ["one generator rules all entries", "generator"],
    ["tensors and errors of one entry are those of the others", "classes"],
  ])("%s", async (_, rule) => {
    await node("rules.mjs", mode, rule);
  });
});

describe("TypeScript", () => {
  const strict = { strict: true, noEmit: true, skipLibCheck: false, target: "ES2022" };
  const forNode = { lib: ["ES2022"], types: ["node"], typeRoots: [join(root, "node_modules/@types")] };
  const forBrowser = { lib: ["ES2022", "DOM", "DOM.Iterable"], types: [] };

  it.each([
    ["ESM by nodenext", "consumer.mts", { module: "nodenext", moduleResolution: "nodenext", ...forNode }],
    [
      "CommonJS by nodenext",
      "consumer.cts",
      { module: "nodenext", moduleResolution: "nodenext", ...forNode },
    ],
    [
      "a bundler's resolution",
      "consumer.ts",
      { module: "esnext", moduleResolution: "bundler", ...forBrowser },
    ],
  ])("compiles a strict program: %s", async (_, file, options) => {
    const folder = join(home, `types-${file}`);
    await mkdir(folder);
    await copyFile(join(fixtures, "consumer.ts"), join(folder, file));
    const config = { compilerOptions: { ...strict, ...options }, files: [file] };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
    await node(join(root, "node_modules/typescript/bin/tsc"), "-p", folder);
  });
});

const example = `
  import { grad, tensor } from "bitgrad";
  const x = tensor([[1, 2], [3, 4]]);
  const slope = grad((a) => a.matmul(a).sum())(x);
  console.log(JSON.stringify(slope.toArray()));`;

const bundle = (
  contents: string,
  platform: Platform,
  renamed = true,
): Promise<BuildResult<{ write: false; metafile: true }>> =>
  build({
    stdin: { contents, resolveDir: home, loader: "js" },
    bundle: true,
    minifySyntax: true,
    minifyWhitespace: true,
    minifyIdentifiers: renamed,
    platform,
    format: "esm",
    write: false,
    metafile: true,
    logLevel: "silent",
  });

const byEsbuild = async (contents: string, renamed = true): Promise<string> =>
  (await bundle(contents, "browser", renamed)).outputFiles[0].text;

async function byRolldown(contents: string, renamed = true): Promise<string> {
  const input = join(await mkdtemp(join(home, "source-")), "main.js");
  await writeFile(input, contents);
  const bundle = await rolldown({ input, platform: "browser", logLevel: "silent" });
  const { output } = await bundle.generate({ format: "esm", minify: { mangle: renamed } });
  await bundle.close();
  return output[0].code;
}

describe.each([
  ["esbuild", byEsbuild],
  ["rolldown", byRolldown],
])("bundled by %s", (_, codeOf) => {
  const printedBy = async (contents: string): Promise<string> => {
    const file = join(await mkdtemp(join(home, "bundle-")), "main.mjs");
    await writeFile(file, await codeOf(contents));
    return (await node(file)).trim();
  };

  it("matmul and its gradient work", async () => {
    expect(await printedBy(example)).toBe("[[7,11],[9,13]]");
  });

  it("the methods are there although no op is named", async () => {
    const program = `import { tensor } from "bitgrad"; console.log(tensor([1, 2]).mul(3).sum().item());`;
    expect(await printedBy(program)).toBe("9");
  });

  it("the methods are there although only another entry is imported", async () => {
    const program = `
      import { Linear } from "bitgrad/nn";
      const { weight } = new Linear(3, 2, { bias: false });
      console.log(weight.value.mul(0).add(2).sum().item());`;
    expect(await printedBy(program)).toBe("12");
  });

  it("an entry of which nothing is used adds nothing", async () => {
    const unused = entries.filter((entry) => entry !== "bitgrad");
    const imports = unused.map((entry, i) => `import "${entry}"; import * as unused${i} from "${entry}";`);
    // Names that are shortened otherwise would make it some bytes more or less.
    const [all, one] = [imports.join("\n") + example, example].map((program) => codeOf(program, false));
    expect((await all).length).toBeLessThanOrEqual((await one).length);
  });
});

describe("bundled", () => {
  const inputsOf = async (contents: string, platform: Platform): Promise<string> =>
    Object.keys((await bundle(contents, platform)).metafile.inputs).join("\n");

  it.each(entries)("%s needs nothing of Node in a browser", async (entry) => {
    const everything = `import * as all from "${entry}"; globalThis.all = all;`;
    expect(await inputsOf(everything, "browser")).not.toMatch(/\.node\.|node:/);
  });

  it("only bitgrad/testing needs fast-check", async () => {
    const users = [];
    for (const entry of entries) {
      const everything = `import * as all from "${entry}"; globalThis.all = all;`;
      if (/fast-check/.test(await inputsOf(everything, "browser"))) users.push(entry);
    }
    expect(users).toEqual(["bitgrad/testing"]);
  });

  it.each(["bitgrad/data", "bitgrad/io"])("%s reads files where the platform is Node", async (entry) => {
    const everything = `import * as all from "${entry}"; globalThis.all = all;`;
    expect(await inputsOf(everything, "node")).toMatch(/platform\.node/);
  });

  it.each([
    ["import", `await import("bitgrad/data"); await import("bitgrad/io");`],
    [
      "require",
      `const { createRequire } = await import("node:module");
      const require = createRequire(process.cwd() + "/x.js"); require("bitgrad/data"); require("bitgrad/io");`,
    ],
  ])("the browser half loads by %s", async (_, code) => {
    await node("--conditions=browser", "--input-type=module", "--eval", code);
  });

  it("the whole of bitgrad stays within its budget of bytes", async () => {
    const sizes = await measureSizes(byEsbuild);
    const packed = sizes["`bitgrad/packed`: a packed model, run"];
    expect(sizes["`bitgrad`: tensors and gradients, every name"].code).toBeLessThanOrEqual(budget);
    expect(sizeOf(await packedAlone()).code).toBeLessThanOrEqual(packedBudget.alone);
    expect(packed.code).toBeLessThanOrEqual(packedBudget.withKernels);
    // A page that runs a packed model loads less than one that trains.
    const training = sizes["a training: every name of `bitgrad`, `nn`, `optim`, `train`"];
    expect(packed.whole).toBeLessThan(training.whole);
    // The texts of compiled kernels compress about as the bytes do, to 1.16 of them; in base64 they take 1.75 times as much.
    expect(packed.whole - packed.code).toBeLessThan(1.25 * (await compiledSize("bitgrad/packed")));
  });

  it("the compiled kernels of all entries together stay within 120 KB, gzipped, and load nothing before their use", async () => {
    const all = entries.map(
      (entry, i) => `import * as all${i} from "${entry}"; globalThis.all${i} = all${i};`,
    );
    const kernels = [...(await byEsbuild(all.join("\n"))).matchAll(compiled)].map(([text]) =>
      decodeText(text.slice(1, -1)),
    );
    expect(kernels.length).toBeGreaterThan(20);
    for (const bytes of kernels) expect(Array.from(bytes.subarray(0, 4))).toEqual([0, 97, 115, 109]);
    expect(gzipSync(Buffer.concat(kernels), { level: 9 }).length).toBeLessThanOrEqual(120 * 1024);
    await node("lazy.mjs", ...entries);
  });
});

/** The bytes of the compiled kernels of an entry, gzipped. */
async function compiledSize(entry: string): Promise<number> {
  const bundle = await byEsbuild(`import * as all from "${entry}"; globalThis.all = all;`);
  const kernels = Array.from(bundle.matchAll(compiled), ([text]) => decodeText(text.slice(1, -1)));
  return gzipSync(Buffer.concat(kernels), { level: 9 }).length;
}

/** The entry from its sources, its imports from `kernels` and the threads left outside. */
async function packedAlone(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, "src/packed/index.ts")],
    bundle: true,
    minify: true,
    platform: "browser",
    format: "esm",
    write: false,
    plugins: [
      {
        name: "kernels-outside",
        setup({ onResolve }) {
          onResolve({ filter: /\/kernels\/|\/workers\// }, ({ path }) => ({ path, external: true }));
        },
      },
    ],
  });
  return outputFiles[0].text;
}
