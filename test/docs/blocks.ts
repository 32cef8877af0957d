/** The programs of documents: what a reader copies from a page or an `@example`, as modules that can be checked and run. */

import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");

export interface Program {
  /** The page, or the file and line of an `@example`. */
  readonly name: string;
  /** What is type checked. Its lines stand where they stand in the document. */
  readonly text: string;
  /** What is run: without the blocks for a browser, and with what is printed held to what the comments say. */
  readonly run: string;
  /** Whether it reads the data sets of BITGRAD_DATA, as a block marked `ts data` does. */
  readonly needsData: boolean;
}

const pagesOf = (folder: string): string[] =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join(folder, name));

/** Every document that a reader meets. */
export const documents = [
  "README.md",
  "CONTRIBUTING.md",
  "examples/README.md",
  ...pagesOf("docs"),
  ...pagesOf("docs/guide"),
];

/** A page is one program: its blocks go on from one another. */
export function pages(): Program[] {
  return documents.flatMap((path) => {
    const lines = readFileSync(join(root, path), "utf8").split("\n");
    const text = blocksOf(path, lines, (info) => info === "ts" || info === "ts browser");
    return text.trim() === ""
      ? []
      : [
          program(
            path,
            text,
            blocksOf(path, lines, (info) => info === "ts"),
          ),
        ];
  });
}

/** Each `@example` is a program of its own. */
export function examples(): Program[] {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".ts"),
  );
  return files.flatMap((name) =>
    examplesOf(join("src", name), readFileSync(join(root, "src", name), "utf8")),
  );
}

export function examplesOf(path: string, text: string): Program[] {
  const lines = text.split("\n");
  return lines.flatMap((line, at) => {
    if (!/^\s*\* @example/.test(line)) return [];
    const end = lines.findIndex((other, i) => i > at && /^\s*\*(\/| @)/.test(other));
    const inside = lines.map((other, i) => (i > at && i < end ? other.replace(/^\s*\* ?/, "") : ""));
    const needsData = inside.includes("```ts data");
    const code = blocksOf(path, inside, (info) => info === (needsData ? "ts data" : "ts"));
    if (code.trim() === "") throw new Error(`${path}:${at + 1}: an @example needs a block of ts`);
    return [program(`${path}:${at + 1}`, code, code, needsData)];
  });
}

/** The lines of the blocks that are wanted, each where it stands, and nothing elsewhere. */
function blocksOf(path: string, lines: readonly string[], wanted: (info: string) => boolean): string {
  let info: string | null = null;
  const kept = lines.map((line) => {
    const fence = /^```([^`]*)$/.exec(line);
    if (fence === null) return info !== null && wanted(info) ? line : "";
    info = info === null ? fence[1].trim() : null;
    return "";
  });
  if (info !== null) throw new Error(`${path}: a block of ${info || "text"} has no end`);
  return kept.join("\n");
}

const program = (name: string, text: string, run: string, needsData = false): Program => ({
  name,
  needsData,
  text: `${text}\nexport {};\n`,
  run: holdPrinted(name.replace(/:\d+$/, ""), run),
});

/**
 * What `console.log(…);` prints is what the comment behind it says, or the comment lines right below it, but for a label, a
 * text in quotes before other values. A line with neither may print anything.
 */
function holdPrinted(path: string, text: string): string {
  const lines = text.split("\n");
  return lines
    .map((line, at) => {
      const [, indent, given, behind] =
        /^(\s*)console\.log\((?:"[^"]*", )?(.*)\);(?: \/\/ (.*))?$/.exec(line) ?? [];
      if (given === undefined) return line;
      const said = behind ?? linesBelow(lines, at);
      const place = JSON.stringify(`${path}:${at + 1}`);
      return said === "" ? line : `${indent}globalThis.says(${place}, ${JSON.stringify(said)})(${given});`;
    })
    .join("\n");
}

function linesBelow(lines: readonly string[], at: number): string {
  const said: string[] = [];
  for (let i = at + 1; /^\s*\/\/ /.test(lines[i] ?? ""); i++) said.push(lines[i].trim().slice(3));
  return said.join(" ");
}

/** Links of a document to files that are not there, and to headings that no document has. */
export function brokenLinks(path: string): string[] {
  const prose = blockless(readFileSync(join(root, path), "utf8"));
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [file, heading] = link.split("#");
    const target = file === "" ? path : relative(root, resolve(root, path, "..", file));
    try {
      const headings = target.endsWith(".md") ? headingsOf(readFileSync(join(root, target), "utf8")) : [];
      return heading === undefined || headings.includes(heading) ? [] : [`${path}: ${link}`];
    } catch {
      return [`${path}: ${link}`];
    }
  });
}

const blockless = (text: string): string => text.replace(/^```[^`\n]*\n.*?^```$/gms, "");

const headingsOf = (text: string): string[] =>
  [...blockless(text).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\- ]/gu, "")
      .replaceAll(" ", "-"),
  );
