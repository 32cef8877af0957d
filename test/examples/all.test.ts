/** Every example runs in its quick form, and examples/README.md tells of all of them what they say of themselves. */

import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { findChromium } from "../browser/pages.ts";

const root = resolve(import.meta.dirname, "../..");
const folder = join(root, "examples");
const names = readdirSync(folder)
  .filter((name) => /^\d\d-/.test(name))
  .sort();
const source = (name: string): string => readFileSync(join(folder, name, "main.ts"), "utf8");

/** Rows of the table of examples/README.md. */
const rows = readFileSync(join(folder, "README.md"), "utf8")
  .split("\n")
  .flatMap((line) => {
    const [, name, path, , data, time] = /^\| \[(.*)\]\((.*)\) \| (.*) \| (.*) \| (.*) \|$/.exec(line) ?? [];
    return name === undefined ? [] : [{ name, path, data, time }];
  });

describe("examples/README.md", () => {
  it("lists every example, in order", () => {
    expect(rows.map(({ name }) => name)).toEqual(names);
    expect(rows.map(({ path }) => path)).toEqual(names.map((name) => `${name}/main.ts`));
    expect(names.map((name) => name.slice(0, 2))).toEqual(
      names.map((_, i) => String(i + 1).padStart(2, "0")),
    );
  });

  it.each(rows)("says of $name what its header says", ({ name, data, time }) => {
    const header = source(name)
      .split("*/")[0]
      .replaceAll(/\s*\n \* /g, " ");
    expect(header).toContain("You learn: ");
    expect(header).toContain(`npx tsx examples/${name}/main.ts`);
    expect(/ Time: (.*?)\. Data: (.*?)\./.exec(header)?.slice(1)).toEqual([
      time,
      expect.stringMatching(new RegExp(`^${data === "none" ? "none$" : data}`, "i")),
    ]);
  });
});

/** What a program of the folder printed, and how it ended. */
function run(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const [file, ...rest] = args;
  const job = spawn(process.execPath, ["--import", "tsx", join(folder, file), ...rest], {
    cwd: root,
    env: { ...process.env, NO_COLOR: "1" },
  });
  let [out, err] = ["", ""];
  job.stdout.on("data", (chunk) => {
    out += chunk;
  });
  job.stderr.on("data", (chunk) => {
    err += chunk;
  });
  return new Promise((done) => job.on("close", (code) => done({ code, out, err })));
}

const hasData = existsSync(process.env.BITGRAD_DATA ?? "");

describe("examples", { timeout: 120_000 }, () => {
  it.each(names)("%s has at most 120 lines, and ends with what it has shown", (name) => {
    for (const file of readdirSync(join(folder, name)).filter((file) => file.endsWith(".ts"))) {
      const lines = readFileSync(join(folder, name, file), "utf8")
        .trimEnd()
        .split("\n");
      expect(lines.length, file).toBeLessThanOrEqual(120);
    }
    const last = source(name).slice(source(name).lastIndexOf("\nassert"));
    expect(last).toMatch(/^\nassert/);
    expect(last).toMatch(/\nconsole\.log\(\s*`shown: [^;]*;?[^;]*`,?\s*\);\n$/);
  });

  for (const { name, data } of rows) {
    const lacks = (data !== "none" && !hasData) || (name === "13-page" && findChromium() === null);
    it.skipIf(lacks)(`${name} shows what it says, in its quick form`, async () => {
      const { code, out, err } = await run(`${name}/main.ts`, "--quick");
      expect(err).toBe("");
      expect(code).toBe(0);
      expect(out.trimEnd().split("\n").at(-1)).toMatch(/^shown: /);
    });
  }

  it("are started by their numbers", async () => {
    const { code, out } = await run("start.ts", "01", "--quick");
    expect([code, out.trimEnd().split("\n").at(-1)]).toEqual([0, expect.stringMatching(/^shown: /)]);
  });

  it.each(["", "99", "0"])("are listed where %j is asked for", async (asked) => {
    const { code, out, err } = await run("start.ts", asked);
    expect([code, out, err.trimEnd().split("\n").slice(1)]).toEqual([1, "", names]);
  });
});
