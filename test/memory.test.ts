import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

it("holds no more memory after 10,000 training steps than after 1,000, in scopes and outside, and none for models that are gone", async () => {
  const script = fileURLToPath(new URL("./fixtures/memory.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", "--import", "tsx", script], {
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const { scoped, plain, models } = JSON.parse(stdout);
  expect(scoped).toBeLessThanOrEqual(1.05);
  expect(plain).toBeLessThanOrEqual(1.05);
  // Parameters lie on the heap, and leave it when they are collected.
  expect(models).toBeLessThanOrEqual(1.05);
}, 300_000);

it("holds no more memory after 300 steps of quantized models and of images than after 30", async () => {
  const script = fileURLToPath(new URL("./soak/memory.ts", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ["--expose-gc", "--import", "tsx", script, "300"],
    { env: { ...process.env, NODE_OPTIONS: "" } },
  );
  expect(stderr).toBe("");
  expect(stdout.trim().split("\n").length).toBe(4);
}, 300_000);
