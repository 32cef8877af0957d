import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const seeded = "Math.random cannot be seeded";
const halfEven = "Math.round rounds halves up";

/** A description, the file, its text and the complaint expected. */
const cases: readonly [name: string, path: string, text: string, complaint: string | null][] = [
  ["Math.random", "src/a.ts", "export const x = Math.random();", seeded],
  ["Math.random as a value", "examples/b.ts", "export const x = [1].map(Math.random);", seeded],
  ["Math.random by a string", "test/c.ts", 'export const x = Math["random"]();', seeded],
  ["Math.random of globalThis", "bench/d.ts", "export const x = globalThis.Math.random();", seeded],
  ["random taken out of Math", "kernels/e.ts", "export const { random: x } = Math;", seeded],
  ["Math.round in src", "src/nn/f.ts", "export const x = Math.round(2.5);", halfEven],
  ["Math.round in kernels", "kernels/encode/g.ts", "export const x = [2.5].map(Math.round);", halfEven],
  [
    "another object's random",
    "src/h.ts",
    "export const f = (rng: { random(): number }) => rng.random();",
    null,
  ],
  ["the rest of Math", "src/i.ts", "export const x = Math.floor(2.5);", null],
  ["Math.round outside the library", "test/j.ts", "export const x = Math.round(2.5);", null],
];

const root = resolve(import.meta.dirname, "..");
let home = "";
let complaints: string[] = [];

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "bitgrad-lint-"));
  const { $schema, vcs, ...config } = JSON.parse(readFileSync(join(root, "biome.json"), "utf8"));
  writeFileSync(join(home, "biome.json"), JSON.stringify(config));
  cpSync(join(root, "lint"), join(home, "lint"), { recursive: true });
  for (const [, path, text] of cases) {
    mkdirSync(dirname(join(home, path)), { recursive: true });
    writeFileSync(join(home, path), `${text}\n`);
  }
  const biome = join(root, "node_modules/@biomejs/biome/bin/biome");
  const options = { cwd: home, encoding: "utf8" } as const;
  const { stdout } = spawnSync(process.execPath, [biome, "lint", "--reporter=github", "."], options);
  complaints = stdout.split("\n").filter((line) => line.startsWith("::"));
});

afterAll(() => rmSync(home, { recursive: true, force: true }));

describe("lint", () => {
  it.each(cases)("judges %s rightly", (_, path, __, complaint) => {
    const own = complaints.filter((line) => line.includes(`${path},`));
    if (complaint === null) return expect(own).toEqual([]);
    expect(own).toHaveLength(1);
    expect(own[0]).toMatch(/^::error /);
    expect(own[0]).toContain(complaint);
  });
});
