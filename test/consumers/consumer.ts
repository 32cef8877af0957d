/** What a consumer is, and the folders and tools that all of them use. */

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { transform } from "esbuild";
import { install, root, run } from "../package/tarball.ts";

/** What the program of a consumer prints; `error` where it failed. */
export interface Report {
  readonly error?: string;
  /** Which bits came out; the same for every consumer. */
  readonly results: unknown;
  readonly backend: string;
  readonly threads: number;
  readonly reason: string | null;
}

export interface Outcome {
  /** Of the tools that were used, by name. */
  readonly versions: Readonly<Record<string, string>>;
  /** Null where nothing runs, as where types alone are checked. */
  readonly report: Report | null;
}

/** A way to use the library: made in an empty folder, it throws what goes wrong, and `Missing` where it cannot be tried. */
export interface Consumer {
  readonly name: string;
  /** How many threads its program must get of the two that it asks for; left out where nothing runs. */
  readonly threads?: 1 | 2;
  readonly use: (place: Place) => Promise<Outcome>;
}

/** Thrown where a tool cannot be had. */
export class Missing extends Error {}

/** Versions of packages that a consumer is made with, newest of a major or of all. */
export type Packages = Readonly<Record<string, string>>;

/** The installed library and the tools, in folders outside of the repository. */
export class Place {
  readonly home: string;
  readonly tarball: string;
  private readonly tools: string;
  private readonly found = new Map<string, Promise<string>>();

  private constructor(home: string, tarball: string, tools: string) {
    this.home = home;
    this.tarball = tarball;
    this.tools = tools;
  }

  /** Tools and what npm downloads stay in the folder of BITGRAD_CONSUMERS, or one of the system's, for the next run. */
  static async open(): Promise<Place> {
    const tools = process.env.BITGRAD_CONSUMERS ?? join(tmpdir(), "bitgrad-consumers");
    await mkdir(tools, { recursive: true });
    const home = await mkdtemp(join(tmpdir(), "bitgrad-consumer-"));
    await mkdir(join(home, "installed"));
    return new Place(home, await install(join(home, "installed")), tools);
  }

  close(): Promise<void> {
    return rm(this.home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }

  /** A folder of its own with the library installed in it, and files by name. */
  async folder(
    files: Readonly<Record<string, string>>,
    type: "module" | "commonjs" = "module",
  ): Promise<string> {
    const folder = await mkdtemp(join(this.home, "folder-"));
    await cp(join(this.home, "installed/node_modules"), join(folder, "node_modules"), { recursive: true });
    const dependencies = { bitgrad: "*" };
    await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type, dependencies }));
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    return folder;
  }

  /** The folder of packages from the registry, newly looked up in every run. Throws `Missing` where they cannot be had. */
  packages(packages: Packages): Promise<string> {
    const specs = Object.entries(packages).map(([name, version]) => `${name}@${version}`);
    const key = specs.join("+").replaceAll("/", "-");
    const made = this.found.get(key) ?? this.download(join(this.tools, key), specs);
    this.found.set(key, made);
    return made;
  }

  private async download(folder: string, specs: readonly string[]): Promise<string> {
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "package.json"), JSON.stringify({ private: true }));
    const options = ["--no-audit", "--no-fund", "--prefer-online", "--cache", join(this.tools, "npm")];
    try {
      await run("npm", ["install", ...options, ...specs], folder);
    } catch (error) {
      const lines = (error as Error).message.split("\n");
      throw new Missing(
        `npm cannot install ${specs.join(", ")}: ${lines.find((line) => /npm error/.test(line)) ?? lines[0]}`,
      );
    }
    return folder;
  }
}

/** The version of an installed package. */
export async function versionOf(folder: string, name: string): Promise<string> {
  const text = await readFile(join(folder, "node_modules", name, "package.json"), "utf8");
  return JSON.parse(text).version;
}

/** The program as it stands, and as plain JavaScript for the two kinds of modules. */
export const programText = await readFile(join(root, "test/consumers/program.ts"), "utf8");
const options = { loader: "ts", target: "es2022" } as const;
export const programs = {
  esm: (await transform(programText, { ...options, format: "esm" })).code,
  cjs: (await transform(programText, { ...options, format: "cjs" })).code,
};

/** What a program printed last. */
export const reportOf = (printed: string): Report => JSON.parse(printed.trim().split("\n").at(-1)!) as Report;
