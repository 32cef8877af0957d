/** Consumers that run the library as it is installed: Node, Bun and Deno. */

import { join } from "node:path";
import { run } from "../package/tarball.ts";
import { type Consumer, type Place, programs, programText, reportOf } from "./consumer.ts";

/** The path of a Node of that major, this one where it is. */
async function nodeOf(place: Place, major: number): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  return join(await place.packages({ node: String(major) }), "node_modules/.bin/node");
}

const firstLine = async (program: string, cwd: string): Promise<string> =>
  (await run(program, ["--version"], cwd)).split("\n")[0].replace(/^[a-z]+ |^v| .*$/g, "");

function node(major: number, format: "esm" | "cjs"): Consumer {
  return {
    name: `Node ${major}, ${format === "esm" ? "ESM" : "CommonJS"}`,
    threads: 2,
    async use(place) {
      const program = await nodeOf(place, major);
      const folder = await place.folder(
        { "main.js": programs[format] },
        format === "esm" ? "module" : "commonjs",
      );
      const printed = await run(program, ["main.js"], folder);
      return { versions: { Node: await firstLine(program, folder) }, report: reportOf(printed) };
    },
  };
}

function other(name: string, args: readonly string[], main: string, text: string, says = ""): Consumer {
  const tool = name.toLowerCase();
  return {
    name: `${name}${says}`,
    threads: 2,
    async use(place) {
      const program = join(await place.packages({ [tool]: "latest" }), "node_modules/.bin", tool);
      const folder = await place.folder({ [main]: text }, main.endsWith(".cjs") ? "commonjs" : "module");
      // Deno keeps what it compiles; a folder of its own leaves that of the user alone.
      const printed = await run(program, [...args, main], folder, {
        env: { DENO_DIR: join(folder, "deno") },
      });
      return { versions: { [name]: await firstLine(program, folder) }, report: reportOf(printed) };
    },
  };
}

/** The first is what the others are compared with. */
export const runtimes: readonly Consumer[] = [
  ...[20, 22, 24].flatMap((major) => [node(major, "esm"), node(major, "cjs")]),
  other("Bun", ["run"], "main.ts", programText, ", TypeScript"),
  other("Bun", ["run"], "main.cjs", programs.cjs, ", CommonJS"),
  other("Deno", ["run", "--allow-all", "--check"], "main.ts", programText, ", TypeScript, checked"),
  other("Deno", ["run", "--allow-all"], "main.cjs", programs.cjs, ", CommonJS"),
];
