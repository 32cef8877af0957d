import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { expect, it } from "vitest";
import { readmePage, renderSizes, type Sizes, sizesFile } from "../bench/sizes.ts";

const root = resolve(import.meta.dirname, "..");

it("the programs of the README run and reach what they say", async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const [first, second] = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  // The second goes on from the first; its imports may stand anywhere in a module.
  const { outputFiles } = await build({
    stdin: { contents: first + second, resolveDir: root, loader: "ts" },
    tsconfig: join(root, "tsconfig.json"),
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    write: false,
  });
  // Here, so that it finds what the library depends on.
  const home = await mkdtemp(join(root, "node_modules/.readme-"));
  try {
    await writeFile(join(home, "main.mjs"), outputFiles[0].text);
    const printed = execFileSync(process.execPath, [join(home, "main.mjs")], { encoding: "utf8" });
    // What each line prints is what the comment behind it says.
    const said = [...readme.matchAll(/console\.log\("(.*?)", .*\); \/\/ (\S+)$/gm)].map(([, name, value]) => [
      name,
      Number(value),
    ]);
    const got = printed
      .trim()
      .split("\n")
      .map((line) => /^(.*) (\S+)$/.exec(line)!.slice(1))
      .map(([name, value]) => [name, Number(Number(value).toFixed(2))]);
    expect(got).toEqual(said);
    expect(said).toHaveLength(5);
    expect(said[0][1]).toBeGreaterThan(0.9);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});

it("the README's table of sizes is the stored one", async () => {
  const page = await readFile(readmePage, "utf8");
  expect(renderSizes(page, JSON.parse(await readFile(sizesFile, "utf8")) as Sizes)).toBe(page);
});
