import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { agrees } from "./docs/agrees.ts";
import { brokenLinks, documents, examples, examplesOf, type Program, pages } from "./docs/blocks.ts";

const root = resolve(import.meta.dirname, "..");

const programs = { pages: pages(), examples: examples() };
const all = [...programs.pages, ...programs.examples];
const place = (program: Program): string => `m${all.indexOf(program)}`;

describe("the programs of the documents", () => {
  let home = "";

  beforeAll(async () => {
    // Here, so that they find what the library depends on.
    home = await mkdtemp(join(root, "node_modules/.docs-"));
    for (const program of all) await writeFile(join(home, `${place(program)}.ts`), program.run);
    await build({
      entryPoints: [
        join(root, "test/docs/runner.ts"),
        ...all.map((program) => join(home, `${place(program)}.ts`)),
      ],
      entryNames: "[name]",
      outdir: join(home, "out"),
      outExtension: { ".js": ".mjs" },
      tsconfig: join(root, "tsconfig.json"),
      bundle: true,
      splitting: true,
      platform: "node",
      target: "node20",
      format: "esm",
      packages: "external",
      alias: aliases(),
    });
  });
  afterAll(() => rm(home, { recursive: true, force: true }));

  async function problemsOf(list: readonly Program[]): Promise<string[]> {
    const modules = list.map((program) => ({
      name: program.name,
      file: join(home, "out", `${place(program)}.mjs`),
      places: [...program.run.matchAll(/globalThis\.says\("(.*?)"/g)].map(([, at]) => at),
    }));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [join(home, "out/runner.mjs"), JSON.stringify(modules)],
      { cwd: await mkdtemp(join(home, "cwd-")), maxBuffer: 2 ** 26 },
    );
    return JSON.parse(stdout.trim().split("\n").at(-1)!) as string[];
  }

  it.each(programs.pages)("$name runs and prints what it says", async (program) => {
    expect(await problemsOf([program])).toEqual([]);
  });

  it("every @example runs and prints what it says", async () => {
    expect(await problemsOf(programs.examples.filter(({ needsData }) => !needsData))).toEqual([]);
  });

  it.skipIf(!process.env.BITGRAD_DATA)("and those of data sets do (need BITGRAD_DATA)", async () => {
    const reading = programs.examples.filter(({ needsData }) => needsData);
    expect(reading.length).toBeGreaterThan(10);
    expect(await problemsOf(reading)).toEqual([]);
  });
});

describe("the types of the documents", () => {
  const checked = checkedProgram();

  it.each(programs.pages)("$name", (program) => {
    expect(diagnosticsOf(checked, program)).toEqual([]);
  });

  it("every @example", () => {
    expect(programs.examples.flatMap((program) => diagnosticsOf(checked, program))).toEqual([]);
  });

  it.each(entries())("every class and function of %s has an @example", (entry) => {
    expect(withoutExample(checked, entry)).toEqual([]);
  });
});

it.each(documents)("the links of %s lead somewhere", (path) => {
  expect(brokenLinks(path)).toEqual([]);
});

it("a program that says something else is found out", () => {
  expect(agrees("[ 0.1234, 'a' ]", '[0.12, "a"]')).toBe(true);
  expect(agrees("0.126", "0.12")).toBe(false);
  expect(agrees("7.3", "7")).toBe(false);
  expect(agrees("seven 7", "eight 7")).toBe(false);
  const [example] = examplesOf("a.ts", "/**\n * @example\n * ```ts\n * console.log(1); // 2\n * ```\n */");
  expect(example.run).toContain('globalThis.says("a.ts:4", "2")(1);');
  expect(() => examplesOf("a.ts", "/**\n * @example\n * f();\n */")).toThrow("a.ts:2: an @example needs");
});

/** Names of entries as users import them, which no file beside the programs maps for esbuild. */
function aliases(): Record<string, string> {
  return Object.fromEntries(
    entries().map((entry) => [entry, join(root, entry.replace(/^bitgrad/, "src"), "index.ts")]),
  );
}

function entries(): string[] {
  return ts.sys
    .readDirectory(join(root, "src"), [".ts"], [], ["index.ts", "*/index.ts"])
    .map((file) => `bitgrad/${file.slice(root.length + 5)}`.replace(/\/index\.ts$/, ""));
}

/** One program over all texts, which need not be files. */
function checkedProgram(): ts.Program {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, files: [], include: [] }, ts.sys, root);
  // A program may stop where the reader goes on.
  Object.assign(options, { noUnusedLocals: false, noUnusedParameters: false });
  const texts = new Map(
    all.map((program) => [join(root, "test/docs", `${place(program)}.ts`), program.text]),
  );
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.readFile = (name) => texts.get(name) ?? readFile(name);
  host.fileExists = (name) => texts.has(name) || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    texts.has(name) ? ts.createSourceFile(name, texts.get(name)!, rest[0]) : getSourceFile(name, ...rest);
  const indices = entries().map((entry) => aliases()[entry]);
  return ts.createProgram([...texts.keys(), ...indices], options, host);
}

function diagnosticsOf(checked: ts.Program, program: Program): string[] {
  const file = checked.getSourceFile(join(root, "test/docs", `${place(program)}.ts`))!;
  return [...checked.getSyntacticDiagnostics(file), ...checked.getSemanticDiagnostics(file)].map(
    ({ start, messageText }) => {
      const line = file.getLineAndCharacterOfPosition(start ?? 0).line + 1;
      return `${program.name.replace(/:\d+$/, "")}:${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
    },
  );
}

/**
 * The classes and functions of an entry whose doc comments have no `@example`. Ops that are methods have their rows in
 * docs/ops.md, and the example of BitgradError serves the kinds of errors.
 */
function withoutExample(checked: ts.Program, entry: string): string[] {
  const checker = checked.getTypeChecker();
  const exportsOf = (file: string) =>
    checker
      .getExportsOfModule(checker.getSymbolAtLocation(checked.getSourceFile(file)!)!)
      .map((exported) => ({
        name: exported.name,
        symbol: exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported,
      }));
  const elsewhere = new Set(exportsOf(join(root, "src/ops/methods.ts")).map(({ symbol }) => symbol));
  return exportsOf(aliases()[entry]).flatMap(({ name, symbol }) => {
    const declaration = symbol.valueDeclaration;
    if (declaration === undefined || elsewhere.has(symbol) || isErrorKind(declaration)) return [];
    const type = checker.getTypeOfSymbolAtLocation(symbol, declaration);
    const callable = type.getCallSignatures().length > 0 || type.getConstructSignatures().length > 0;
    const hasExample = symbol.getJsDocTags(checker).some(({ name }) => name === "example");
    return callable && !hasExample ? [name] : [];
  });
}

const isErrorKind = (declaration: ts.Declaration): boolean =>
  ts.isClassDeclaration(declaration) &&
  declaration.heritageClauses?.some(({ types }) =>
    types.some((type) => type.getText() === "BitgradError"),
  ) === true;
