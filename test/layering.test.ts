import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { circlesOf, exportsOf, type Import, importsOf, reachableFrom } from "./imports.ts";
import { layerOf, layers, lineLimit, only, packages, unitOf } from "./layers.ts";

function checkImport(path: string, { line, from, typeOnly }: Import): string | null {
  const at = `${path}:${line} imports ${from}`;
  if (from.startsWith("node:"))
    return path.endsWith(".node.ts") ? null : `${at}: node:* belongs in *.node.ts`;
  if (!from.startsWith(".")) {
    return packages[from]?.includes(path) ? null : `${at}: not a package this file may import`;
  }
  if (!from.endsWith(".ts")) return `${at}: relative imports carry the .ts extension`;
  const target = join(path, "..", from).replaceAll("\\", "/");
  const [unit, other] = [unitOf(path), unitOf(target)];
  const [layer, below] = [layerOf(unit), layerOf(other)];
  if (layer < 0) return `${at}: ${unit} is not in the layer table`;
  if (below < 0) return `${at}: ${other} is not in the layer table`;
  if (unit === other) return null;
  const { beside = [], types = [] } = layers[layer][unit];
  const allowed = only[unit]?.includes(other) ?? below < layer;
  if (allowed || beside.includes(other) || (typeOnly && types.includes(other))) return null;
  return `${at}: ${unit} (layer ${layer}) may not import ${other} (layer ${below})`;
}

/** Classes whose `instanceof` holds for their twins in other copies of the library: they say so by `Symbol.hasInstance`. */
const branded = new Set<string>();

/** Arrays that the library itself has made: kernels and loops are chosen by them. */
const arrays = /^((Float32|Float64|Int32|Uint32|Int8|Uint8|Uint16)Array|views)$/;

/** Neither classes of another copy nor built-in ones of another realm have this copy's prototypes. */
function checkInstances(path: string, text: string): string[] {
  return [...text.matchAll(/ instanceof ([\w.]+)/g)].flatMap(([, name]) =>
    branded.has(name) || arrays.test(name) || text.includes(`\nclass ${name} `)
      ? []
      : [`${path} asks for instances of ${name}, which has no brand`],
  );
}

function checkFile(path: string, text: string): string[] {
  const problems = importsOf(text).flatMap((item) => checkImport(path, item) ?? []);
  problems.push(...checkInstances(path, text));
  const lines = text.split("\n").length - 1;
  if (lines > lineLimit) problems.push(`${path}: ${lines} lines, more than ${lineLimit}; split it`);
  if (/^src\/(\w+\/)?index\.ts$/.test(path)) problems.push(...checkIndex(path, text));
  return problems;
}

/** A public entry is a list of names and nothing else. */
function checkIndex(path: string, text: string): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  return file.statements
    .filter((statement) => !(ts.isExportDeclaration(statement) && statement.moduleSpecifier))
    .filter((statement) => !(ts.isImportDeclaration(statement) && !statement.importClause))
    .map((statement) => {
      const line = file.getLineAndCharacterOfPosition(statement.getStart()).line + 1;
      return `${path}:${line} is not an 'export … from' line: a public entry holds no logic`;
    });
}

const filesOf = (root: string): string[] =>
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .map((name) => join(root, name).replaceAll("\\", "/"))
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"));

const files = ["src", "kernels"]
  .flatMap(filesOf)
  // Sources in AssemblyScript and what compiles them: no part of the library.
  .filter((path) => !path.endsWith(".as.ts") && !/^kernels\/wasm\/(build|hoist)\.ts$/.test(path))
  .sort();

for (const path of files) {
  const text = readFileSync(path, "utf8");
  for (const [, name, body] of text.matchAll(/^(?:export )?class (\w+)([\s\S]*?)^}/gm))
    if (body.includes("[Symbol.hasInstance]")) branded.add(name);
  // The errors inherit it.
  for (const [, name] of text.matchAll(/^export class (\w+) extends BitgradError/gm)) branded.add(name);
}

/** What the files import of one another, where `counts` says so. */
function graphOf(
  texts: ReadonlyMap<string, string>,
  counts: (path: string, target: string, typeOnly: boolean) => boolean,
): Map<string, string[]> {
  const targetsOf = (path: string, text: string): string[] =>
    importsOf(text)
      .map(({ from, typeOnly }) => ({ target: join(path, "..", from).replaceAll("\\", "/"), from, typeOnly }))
      .filter(({ from, target }) => from.startsWith(".") && texts.has(target))
      .filter(({ target, typeOnly }) => counts(path, target, typeOnly))
      .map(({ target }) => target);
  return new Map([...texts].map(([path, text]) => [path, targetsOf(path, text)]));
}

/** Circles of imports: of those that run anywhere, and inside a folder of types too. */
const circles = (texts: ReadonlyMap<string, string>): string[][] => [
  ...circlesOf(graphOf(texts, (_path, _target, typeOnly) => !typeOnly)),
  ...circlesOf(graphOf(texts, (path, target) => unitOf(path) === unitOf(target))),
];

const existing = new Set(files.map(unitOf));

/** The table of docs/architecture.md: the units that there are, the highest layer first. */
const layerTable = layers
  .map((layer, i) => [i, Object.keys(layer).filter((unit) => existing.has(unit))] as const)
  .filter(([, units]) => units.length > 0)
  .map(([i, units]) => `${i}  ${units.join("  ")}`)
  .reverse()
  .join("\n");

describe("the sources keep to the layers", () => {
  it.each(files)("%s", (path) => {
    expect(checkFile(path, readFileSync(path, "utf8"))).toEqual([]);
  });

  it("no file reaches itself by what it imports", () => {
    const all = [...files, ...filesOf("bench")];
    expect(circles(new Map(all.map((path) => [path, readFileSync(path, "utf8")])))).toEqual([]);
  });

  it("an entry that reaches tensors reaches the ops, which install the methods", () => {
    for (const entry of files.filter((path) => /^src\/(\w+\/)?index\.ts$/.test(path))) {
      const reached = reachableFrom(entry);
      expect(reached.has("src/ops/all.ts"), entry).toBe(reached.has("src/tensor.ts"));
    }
  });

  it("docs/architecture.md shows the table", () => {
    const page = "docs/architecture.md";
    const text = readFileSync(page, "utf8");
    const written = text.replace(/```\n[^`]*```/, `\`\`\`\n${layerTable}\n\`\`\``);
    if (process.env.BITGRAD_WRITE_DOCS) writeFileSync(page, written);
    else expect(text, "run this test with BITGRAD_WRITE_DOCS=1 to write it").toBe(written);
  });

  it("every file for Node has a twin for browsers that exports the same names", () => {
    for (const path of files.filter((name) => name.endsWith(".node.ts"))) {
      const twin = path.replace(/\.node\.ts$/, ".browser.ts");
      expect(existsSync(twin), twin).toBe(true);
      expect(exportsOf(readFileSync(twin, "utf8")), twin).toEqual(exportsOf(readFileSync(path, "utf8")));
    }
  });
});

describe("the layer check refuses", () => {
  it.each([
    [
      "an import of a higher layer",
      "src/nn/a.ts",
      'import { Gpt } from "../models/gpt.ts";',
      "nn (layer 3) may not import models (layer 6)",
    ],
    [
      "a sibling method",
      "src/quant/a.ts",
      'import { kdLoss } from "../distill/kd.ts";',
      "quant (layer 4) may not import distill",
    ],
    [
      "a type-only import upwards",
      "src/ops/a.ts",
      'import type { Linear } from "../nn/linear.ts";',
      "ops (layer 2) may not import nn",
    ],
    [
      "a re-export upwards",
      "src/shape.ts",
      'export { Tensor } from "./tensor.ts";',
      "shape (layer 0) may not import tensor",
    ],
    [
      "a dynamic import upwards",
      "src/tape.ts",
      'const x = await import("./nn/index.ts");',
      "tape (layer 2) may not import nn",
    ],
    [
      "an import type upwards",
      "src/tape.ts",
      'type L = import("./nn/index.ts").Linear;',
      "tape (layer 2) may not import nn",
    ],
    [
      "a value where only a type is granted",
      "src/tensor.ts",
      'import { record } from "./tape.ts";',
      "tensor (layer 2) may not import tape",
    ],
    [
      "a tensor in a kernel",
      "kernels/encode/a.ts",
      'import { Tensor } from "../../src/tensor.ts";',
      "kernels (layer 1) may not import tensor",
    ],
    [
      "randomness in a kernel",
      "kernels/encode/a.ts",
      'import { Rng } from "../../src/random/rng.ts";',
      "kernels (layer 1) may not import random",
    ],
    [
      "an entry inside the library",
      "src/nn/a.ts",
      'import { tensor } from "../index.ts";',
      "nn (layer 3) may not import index",
    ],
    [
      "a unit the table does not know",
      "src/misc/a.ts",
      'import { show } from "../errors.ts";',
      "misc is not in the layer table",
    ],
    [
      "node outside the Node half",
      "src/data/a.ts",
      'import { open } from "node:fs";',
      "node:* belongs in *.node.ts",
    ],
    ["a dynamic import of node", "src/io/a.ts", 'await import("node:fs");', "node:* belongs in *.node.ts"],
    ["a package", "src/nn/a.ts", 'import lodash from "lodash";', "not a package this file may import"],
    [
      "the library by its own name",
      "src/nn/a.ts",
      'import { add } from "bitgrad";',
      "not a package this file may import",
    ],
    ["a computed import", "src/nn/a.ts", "await import(name);", "not a package this file may import"],
    [
      "a path without its extension",
      "src/nn/a.ts",
      'import { show } from "../errors";',
      "carry the .ts extension",
    ],
    [
      "instances of a class without a brand",
      "src/nn/a.ts",
      "const found = x instanceof Linear;",
      "asks for instances of Linear, which has no brand",
    ],
    [
      "instances of a built-in class",
      "src/nn/a.ts",
      "const found = x instanceof Map;",
      "asks for instances of Map, which has no brand",
    ],
    ["logic in an entry", "src/nn/index.ts", "export const a = 1;", "a public entry holds no logic"],
    ["a long file", "src/nn/a.ts", "\n".repeat(lineLimit + 1), "351 lines, more than 350"],
  ])("%s", (_, path, text, problem) => {
    const found = checkFile(path, text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(path);
    expect(found[0]).toContain(problem);
  });

  it.each([
    [
      "of values",
      ['import { b } from "./b.ts";', 'import { c } from "../optim/c.ts";', 'import "../nn/a.ts";'],
      1,
    ],
    [
      "of types inside a folder",
      ['import type { B } from "./b.ts";', 'import { type A } from "./a.ts";', ""],
      1,
    ],
    [
      "and accepts one of types between folders",
      ['import type { C } from "../optim/c.ts";', "", 'import "../nn/a.ts";'],
      0,
    ],
    [
      "and accepts one file that two import",
      ['import "./b.ts"; import "../optim/c.ts";', 'import "../optim/c.ts";', ""],
      0,
    ],
  ])("a circle %s", (_, [a, b, c], count) => {
    const texts = new Map([
      ["src/nn/a.ts", a],
      ["src/nn/b.ts", b],
      ["src/optim/c.ts", c],
    ]);
    expect(circles(texts)).toHaveLength(count);
  });

  it("names the line", () => {
    expect(checkFile("src/nn/a.ts", '\n\nimport "../io/x.ts";\n')[0]).toMatch(/^src\/nn\/a\.ts:3 imports/);
  });
});

describe("the layer check accepts", () => {
  it.each([
    [
      "lower layers",
      "src/models/gpt.ts",
      'import { Linear } from "../nn/linear.ts"; import { show } from "../errors.ts";',
    ],
    ["a named neighbour", "src/optim/a.ts", 'import { Parameter } from "../nn/parameter.ts";'],
    [
      "a granted type",
      "src/tensor.ts",
      'import type { TapeNode } from "./tape.ts"; import { type Vjp } from "./tape.ts";',
    ],
    ["its own folder", "src/nn/a.ts", 'import { b } from "./b.ts"; export * from "./c/d.ts";'],
    ["node in the Node half", "src/data/platform.node.ts", 'import { open } from "node:fs";'],
    ["instances of a class with a brand", "src/nn/a.ts", "const found = x instanceof Parameter;"],
    [
      "seedrandom in the generator",
      "src/random/rng.ts",
      'import seedrandom from "seedrandom/seedrandom.js";',
    ],
  ])("%s", (_, path, text) => {
    expect(checkFile(path, text)).toEqual([]);
  });
});
