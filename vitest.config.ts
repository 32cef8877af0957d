import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const root = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^bitgrad\/(.+)$/, replacement: root("./src/$1/index.ts") },
      { find: /^bitgrad$/, replacement: root("./src/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: "./kernels/wasm/build.ts",
    setupFiles: "./test/backend-setup.ts",
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
