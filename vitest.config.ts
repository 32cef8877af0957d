import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { nameDriver } from "./test/gpu/driver.ts";

nameDriver();

const root = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Their files leave the process as they found it, so that a worker loads the library once for many of them. */
const shared = [
  "cost",
  "data",
  "discovery",
  "distill",
  "io",
  "models",
  "nn",
  "ops",
  "optim",
  "packed",
  "quant",
  "testing",
  "train",
].map((folder) => `test/${folder}/**/*.test.ts`);

export default defineConfig({
  resolve: {
    alias: [
      { find: /^bitgrad\/(.+)$/, replacement: root("./src/$1/index.ts") },
      { find: /^bitgrad$/, replacement: root("./src/index.ts") },
    ],
  },
  test: {
    globalSetup: "./kernels/wasm/build.ts",
    setupFiles: "./test/backend-setup.ts",
    testTimeout: 60_000,
    hookTimeout: 120_000,
    projects: [
      { extends: true, test: { name: "shared", include: shared, isolate: false } },
      { extends: true, test: { name: "alone", include: ["test/**/*.test.ts"], exclude: shared } },
    ],
  },
});
