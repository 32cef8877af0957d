/** Consumers that check the tarball and compile against its types. */

import { cp, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { checkTypes, publintMessages, root, run } from "../package/tarball.ts";
import { type Consumer, programText, reportOf, versionOf } from "./consumer.ts";

const publint: Consumer = {
  name: "publint, strict",
  async use({ tarball }) {
    const messages = await publintMessages(tarball);
    if (messages.length > 0) throw new Error(messages.join("\n"));
    return { versions: { publint: await versionOf(root, "publint") }, report: null };
  },
};

const attw: Consumer = {
  name: "are the types wrong",
  async use({ tarball, home }) {
    await checkTypes(tarball, home);
    return { versions: { attw: await versionOf(root, "@arethetypeswrong/cli") }, report: null };
  },
};

interface Resolution {
  readonly says: string;
  readonly file: string;
  readonly options: object;
  /** What the compiler writes, to be run; null where a bundler would read the source. */
  readonly emitted: string | null;
}

const inNode = { lib: ["ES2022"], types: ["node"] };
const resolutions: readonly Resolution[] = [
  {
    says: "node16, ESM",
    file: "main.mts",
    options: { module: "node16", ...inNode },
    emitted: "main.mjs",
  },
  {
    says: "node16, CommonJS",
    file: "main.cts",
    options: { module: "node16", ...inNode },
    emitted: "main.cjs",
  },
  {
    says: "bundler",
    file: "main.ts",
    options: {
      module: "esnext",
      moduleResolution: "bundler",
      lib: ["ES2022", "DOM"],
      types: [],
      noEmit: true,
    },
    emitted: null,
  },
];

function typescript({ says, file, options, emitted }: Resolution, version: string): Consumer {
  return {
    name: `TypeScript ${version}, ${says}`,
    ...(emitted !== null && { threads: 2 }),
    async use(place) {
      const tools = await place.packages({ typescript: version, "@types/node": "20" });
      const folder = await place.folder({ [file]: programText });
      for (const name of ["@types", "undici-types"]) {
        await cp(join(tools, "node_modules", name), join(folder, "node_modules", name), { recursive: true });
      }
      const strict = { strict: true, skipLibCheck: false, target: "es2022", verbatimModuleSyntax: false };
      const config = { compilerOptions: { ...strict, ...options }, files: [file] };
      await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
      await run(join(tools, "node_modules/.bin/tsc"), ["-p", folder], folder);
      const printed = emitted && (await run(process.execPath, [emitted], folder));
      return {
        versions: { TypeScript: await versionOf(tools, "typescript") },
        report: printed ? reportOf(printed) : null,
      };
    },
  };
}

export const checks: readonly Consumer[] = [
  publint,
  attw,
  ...["5", "latest"].flatMap((version) => resolutions.map((resolution) => typescript(resolution, version))),
];
