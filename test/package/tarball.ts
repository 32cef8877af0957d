/** The library as npm would publish it, and what the registry's checkers say of it. */

import { execFile } from "node:child_process";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

export const root = resolve(import.meta.dirname, "../..");
export const pkg = JSON.parse(await readFile(join(root, "package.json"), "utf8"));

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Milliseconds, after which the program is ended; 5 minutes unless told otherwise. */
  readonly timeout?: number;
}

/** Runs a program to its end and returns what it printed; a failure shows all of it. */
export async function run(
  program: string,
  args: readonly string[],
  cwd: string,
  { env = {}, timeout = 300_000 }: RunOptions = {},
): Promise<string> {
  const options = { cwd, timeout, maxBuffer: 1 << 26, env: { ...process.env, ...env } };
  try {
    return (await promisify(execFile)(program, args, options)).stdout;
  } catch (error) {
    const { stdout, stderr, killed } = error as { stdout?: string; stderr?: string; killed?: boolean };
    const late = killed ? `\nended after ${timeout} ms` : "";
    throw new Error(`${program} ${args.join(" ")}\n${stdout ?? ""}${stderr ?? ""}${late}`);
  }
}

async function newestChange(path: string): Promise<number> {
  const { mtimeMs } = await stat(path);
  const names = (await stat(path)).isDirectory() ? await readdir(path) : [];
  return Math.max(mtimeMs, ...(await Promise.all(names.map((name) => newestChange(join(path, name))))));
}

export async function buildIfStale(): Promise<void> {
  const sources = ["src", "kernels", "package.json", "tsup.config.ts", "tsconfig.json"];
  const changed = await Promise.all(sources.map((name) => newestChange(join(root, name))));
  const built = await stat(join(root, "dist/index.d.cts")).then(
    ({ mtimeMs }) => mtimeMs,
    () => 0,
  );
  if (built < Math.max(...changed)) await run("npm", ["run", "build", "--silent"], root);
}

/** Packs a folder into `into` and returns the path of the tarball. */
export async function pack(folder: string, into: string): Promise<string> {
  const printed = await run(
    "npm",
    ["pack", folder, "--ignore-scripts", "--json", "--pack-destination", into],
    root,
  );
  return join(into, JSON.parse(printed)[0].filename);
}

/**
 * Installs the library from its tarball into the empty folder `home`, and returns the path of the tarball. What it depends
 * on, and the peer of `bitgrad/testing`, are packed from here too, so that no registry is asked.
 */
export async function install(home: string): Promise<string> {
  await buildIfStale();
  const tarball = await pack(root, home);
  const others: string[] = [];
  for (const name of ["seedrandom", "fast-check", "pure-rand"]) {
    others.push(await pack(join(root, "node_modules", name), home));
  }
  await writeFile(join(home, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund"];
  const alone = ["--offline", "--cache", join(home, "cache")];
  await run("npm", ["install", ...quiet, ...alone, tarball, ...others], home);
  return tarball;
}

/** What publint objects to, in strict mode. */
export async function publintMessages(tarball: string): Promise<(string | undefined)[]> {
  const bytes = await readFile(tarball);
  const { messages } = await publint({ strict: true, pack: { tarball: new Uint8Array(bytes).buffer } });
  return messages.map((message) => formatMessage(message, pkg));
}

/** Throws what "Are the types wrong" objects to, under every way of resolving of Node and of bundlers. */
export async function checkTypes(tarball: string, cwd: string): Promise<void> {
  const cli = join(root, "node_modules/@arethetypeswrong/cli/dist/index.js");
  await run(process.execPath, [cli, tarball, "--profile", "node16", "--no-emoji", "--no-color"], cwd);
}
