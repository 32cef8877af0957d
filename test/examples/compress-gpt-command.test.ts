import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "compress gpt's "));
const text = join(folder, "text.txt");
writeFileSync(text, readFileSync(join(root, "test/fixtures/pinned.txt")).subarray(0, 20_000));
afterAll(() => rmSync(folder, { recursive: true }));

interface End {
  code: number | null;
  out: string;
  err: string;
}

/** Runs the main job with `options`, and interrupts it as Ctrl-C does when `until` is among what it says. */
function start(options: readonly string[], until?: string): Promise<End> {
  const job = spawn(process.execPath, ["--import", "tsx", "examples/compress-gpt/main.ts", ...options], {
    cwd: root,
  });
  let [out, err, told] = ["", "", false];
  job.stdout.on("data", (chunk) => {
    out += chunk;
  });
  job.stderr.on("data", (chunk) => {
    err += chunk;
    if (!told && until !== undefined && err.includes(until)) told = job.kill("SIGINT");
  });
  return new Promise((resolve) => job.on("close", (code) => resolve({ code, out, err })));
}

/** What follows the run's decoding speeds, which are measured, and where it was written. */
const results = (out: string): string[] => out.split("\n").map((line) => line.replace(/│[^│]*│$/, ""));

describe("the main job, interrupted", { timeout: 120_000 }, () => {
  const asked = ["--quick", "--steps", "300", "--seed", "7", "--text", text];
  const halted = join(folder, "halted");
  const copy = join(folder, "copy");
  const whole = start([...asked, "--out", join(folder, "whole")]);
  const stopped = start([...asked, "--out", halted], "train: 30 of 300");

  it("prints a command that goes on with its text, steps, seed and sizes, to the same numbers", async () => {
    const { code, out } = await stopped;
    expect(code).toBe(130);
    cpSync(halted, copy, { recursive: true });
    const command = out.match(/npm start -- (--resume --out .*) goes on/)![1];
    expect(command).toBe(`--resume --out '${halted.replaceAll("'", "'\\''")}'`);
    const refused = [
      ["--seed", "8"],
      ["--steps", "301"],
      ["--text", join(root, "README.md")],
    ];
    for (const [option, value] of refused) {
      const { code, err } = await start(["--resume", "--out", halted, option, value]);
      expect([code, err]).toEqual([
        1,
        expect.stringMatching(`^error: --resume goes on with ${option} .*got`),
      ]);
      expect(err.trim().split("\n")).toHaveLength(1);
    }
    const resumed = await start(["--resume", "--out", halted]);
    expect(resumed.code).toBe(0);
    const ended = (end: End) => results(end.out).slice(0, -2);
    expect(ended(resumed)).toEqual(ended(await whole));
    expect(existsSync(join(halted, "checkpoint"))).toBe(false);
  });

  it("is refused with a checkpoint that is damaged, and with a text that has changed since", async () => {
    const before = readFileSync(text);
    writeFileSync(text, before.subarray(1));
    const changed = await start(["--resume", "--out", copy]);
    writeFileSync(text, before);
    expect([changed.code, changed.err]).toEqual([
      1,
      `error: ${text} has changed since the run was interrupted; begin anew without --resume\n`,
    ]);
    writeFileSync(join(copy, "checkpoint/train.safetensors"), "no checkpoint");
    const damaged = await start(["--resume", "--out", copy]);
    expect([damaged.code, damaged.err]).toEqual([1, expect.stringMatching(/^error: .+\n$/)]);
  });
});

describe("what the main job cannot use is a sentence", { timeout: 60_000 }, () => {
  writeFileSync(join(folder, "empty.txt"), "");
  mkdirSync(join(folder, "checkpoint"));
  writeFileSync(join(folder, "checkpoint/run.json"), "no JSON");
  it.each([
    ["a folder for a text", ["--text", folder], "the text must be a file, got the folder"],
    ["an empty text", ["--text", join(folder, "empty.txt")], "the text needs at least 650 bytes, got 0"],
    ["no text", ["--text", join(folder, "none")], "there is no file"],
    ["no checkpoint", ["--resume", "--out", join(folder, "none")], "there is no checkpoint at"],
    [
      "a damaged checkpoint",
      ["--resume", "--out", folder],
      `${join(folder, "checkpoint/run.json")} is damaged`,
    ],
    ["a file for a folder", ["--out", text], "EEXIST"],
  ])("%s", async (_name, options, message) => {
    const { code, err } = await start(options);
    expect([code, err]).toEqual([1, expect.stringContaining(`error: ${message}`)]);
    expect(err.trim().split("\n")).toHaveLength(1);
  });
});
