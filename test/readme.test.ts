import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { expect, it } from "vitest";

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
    const [, accuracy, bytes] = /^accuracy (\S+)\n(\d+) bytes\n$/.exec(printed) ?? [];
    expect(Number(accuracy), printed).toBeGreaterThan(0.9);
    expect(Number(bytes), printed).toBe(1676);
    expect(readme).toContain(`// ${Number(accuracy).toFixed(2)}`);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
});
