import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Rng, randn } from "bitgrad";
import { Linear } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { afterAll, describe, expect, it } from "vitest";
import { lines } from "../../examples/progress.ts";
import { openRun } from "../../examples/run.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "bitgrad-run-"));
afterAll(() => rmSync(folder, { recursive: true }));
let folders = 0;
const newFolder = () => join(folder, String(folders++));

interface End {
  code: number | null;
  signal: string | null;
  out: string;
  err: string;
}

/** Runs the small job, by npm or not, and sends it a signal each time that it says the next of `words`. */
function start(
  options: readonly string[],
  signal: NodeJS.Signals = "SIGINT",
  words: string[] = [],
  byNpm = false,
): Promise<End> {
  const job = spawn(process.execPath, ["--import", "tsx", "test/examples/small-job.ts", ...options], {
    cwd: root,
    env: { ...process.env, npm_lifecycle_event: byNpm ? "start" : undefined },
  });
  let [out, err] = ["", ""];
  const waiting = [...words];
  job.stdout.on("data", (chunk) => {
    out += chunk;
  });
  job.stderr.on("data", (chunk) => {
    err += chunk;
    if (waiting.length > 0 && err.includes(waiting[0])) {
      waiting.shift();
      job.kill(signal);
    }
  });
  return new Promise((resolve) => job.on("close", (code, signal) => resolve({ code, signal, out, err })));
}

describe("a job", { timeout: 120_000 }, () => {
  const whole = start(["--out", newFolder(), "--seed", "4"]);

  it.each([
    ["SIGINT", "first: 30 of 100"],
    ["SIGKILL", "second: 20 of 100"],
  ] as const)("stopped by %s at %s goes on to the same bits", async (signal, at) => {
    const out = newFolder();
    const stopped = await start(["--out", out, "--seed", "4"], signal, [at]);
    expect([stopped.code, stopped.signal]).toEqual(signal === "SIGINT" ? [130, null] : [null, "SIGKILL"]);
    if (signal === "SIGINT")
      expect(stopped.out).toBe(`stopped; npx tsx test/examples/small-job.ts --resume --out ${out} goes on\n`);
    if (signal === "SIGINT") {
      const { code, err } = await start(["--resume", "--out", out, "--quick"]);
      const sentence =
        "--resume goes on without --quick, got --quick; leave --quick out, or begin anew without --resume";
      expect([code, err]).toEqual([1, `error: ${sentence}\n`]);
    }
    const resumed = await start(["--resume", "--out", out]);
    expect([resumed.code, resumed.out]).toEqual([0, (await whole).out]);
    // What was done is not done again.
    expect(resumed.err).not.toContain("first: 10 of 100");
    expect(resumed.err).toContain("second: 100 of 100");
    expect(readdirSync(out)).toEqual([]);
  });

  it("prints nothing but a line for each tenth, where there is no terminal", async () => {
    const { code, err } = await whole;
    expect(code).toBe(0);
    expect(err.replaceAll(/loss \d\.\d{3}/g, "loss")).toBe(
      ["first", "second"]
        .flatMap((phase) => Array.from({ length: 10 }, (_, i) => `${phase}: ${(i + 1) * 10} of 100, loss\n`))
        .join(""),
    );
  });

  it("that hears one Ctrl-C from the terminal and from npm stops as after one", async () => {
    const options = ["--out", newFolder(), "--twin"];
    const stopped = await start(options, "SIGINT", ["first: 30 of 100"], true);
    expect([stopped.code, stopped.signal]).toEqual([130, null]);
    expect(stopped.out).toContain("goes on");
  });

  it("that hangs after Ctrl-C is ended by the second", async () => {
    const stopping = "once more to quit at once";
    const end = await start(["--out", newFolder(), "--busy"], "SIGINT", ["first: 10 of 100", stopping]);
    // A shell calls it 130.
    expect([end.code, end.signal]).toEqual([null, "SIGINT"]);
  });
});

describe("a run", () => {
  const begin = (out: string, more: object = {}, name = "test") =>
    openRun<{ width?: number }>(name, {
      flags: { out, seed: 3, width: 5 },
      progress: () => ({ log() {} }),
      ...more,
    });

  it("that is resumed has the options of the one before, and its time", () => {
    const out = newFolder();
    begin(out).close(false);
    const { run } = begin(out, { resume: true, flags: { out, seed: 1 } });
    expect(run.flags).toEqual({ out, seed: 3, width: 5 });
    expect(run.seconds()).toBeGreaterThan(0);
  });

  it("begins anew where it is not resumed", () => {
    const out = newFolder();
    const first = begin(out).run;
    first.unchanged("the text", "a");
    writeFileSync(first.checkpoint("train"), "of an earlier run");
    const { run } = begin(out);
    run.unchanged("the text", "b");
    expect(readdirSync(join(out, "checkpoint"))).toEqual(["run.json"]);
  });

  it("deletes no folder that is not of a run", () => {
    const out = newFolder();
    const file = join(out, "checkpoint/mine.txt");
    mkdirSync(join(out, "checkpoint"), { recursive: true });
    begin(out).close(true);
    mkdirSync(join(out, "checkpoint"));
    writeFileSync(file, "mine");
    expect(() => begin(out)).toThrow("checkpoint holds other files than those of a run; pass another --out");
    expect(existsSync(file)).toBe(true);
  });

  it("deletes its own files alone, and those that a kill has left of it", () => {
    const out = newFolder();
    const folder = join(out, "checkpoint");
    const put = (...names: string[]) => {
      for (const name of names) writeFileSync(join(folder, name), name);
    };
    begin(out);
    put("notes.txt", "a.safetensors", ".1.part");
    begin(out);
    expect(readdirSync(folder).sort()).toEqual(["notes.txt", "run.json"]);
    put("a.safetensors");
    begin(out, { resume: true }).close(true);
    expect(readdirSync(folder)).toEqual(["notes.txt"]);
    rmSync(join(folder, "notes.txt"));
    put("run.json.part");
    begin(out).close(true);
    expect(existsSync(folder)).toBe(false);
  });

  it("does not begin over the interrupted run of another job, or what is none", () => {
    const out = newFolder();
    begin(out).close(false);
    const sentence = `${out} holds a run of test that was interrupted, got other; pass another --out`;
    expect(() => begin(out, {}, "other")).toThrow(sentence);
    expect(begin(out, { resume: true }).run.flags.seed).toBe(3);
    const foreign = join(out, "checkpoint/run.json");
    writeFileSync(foreign, '{"step":1}');
    expect(() => begin(out)).toThrow("holds other files than those of a run");
    expect(readFileSync(foreign, "utf8")).toBe('{"step":1}');
  });

  it("that is done leaves nothing to be resumed", () => {
    const out = newFolder();
    begin(out).close(true);
    expect(existsSync(join(out, "checkpoint"))).toBe(false);
    expect(() => begin(out, { resume: true })).toThrow(
      `there is no checkpoint at ${join(out, "checkpoint")}`,
    );
  });

  it("refuses what has changed, the folder of another job, and a damaged one", () => {
    const out = newFolder();
    begin(out).run.unchanged("the text", "a");
    begin(out, { resume: true }).run.unchanged("the text", "a");
    expect(() => begin(out, { resume: true }).run.unchanged("the text", "b")).toThrow(
      "the text has changed since the run was interrupted; begin anew without --resume",
    );
    expect(() => begin(out, { resume: true }, "other")).toThrow("holds a run of test, got other");
    const file = join(out, "checkpoint/run.json");
    const asked = JSON.parse(readFileSync(file, "utf8"));
    const elsewhere = { ...asked, facts: { "how this machine rounds": "otherwise" } };
    writeFileSync(file, JSON.stringify(elsewhere));
    expect(() => begin(out, { resume: true })).toThrow("how this machine rounds has changed since");
    for (const text of ["{", "null", '{"job":"test","flags":{}}']) {
      writeFileSync(file, text);
      expect(() => begin(out, { resume: true })).toThrow("run.json is damaged, got");
    }
  });

  it("gives each phase a file of its own", () => {
    const { run } = begin(newFolder());
    expect(run.checkpoint("a b")).not.toBe(run.checkpoint("a"));
    expect(() => run.checkpoint("a/b")).toThrow("a phase needs a name of its own, got a/b twice");
  });

  it("keeps the draws of the default generator, and forgets none of its own loggers", async () => {
    const train = async (out: string, resume: boolean, at?: number) => {
      const stop = new AbortController();
      const { run, close } = begin(out, { resume, signal: stop.signal });
      const model = new Linear(2, 1, { rng: new Rng(1) });
      const steps: number[] = [];
      const logger = {
        log({ step }: { step: number }) {
          steps.push(step);
          if (step === at) stop.abort();
        },
      };
      const history = run.train("train", model, {
        data: [0],
        loss: (net) =>
          net
            .forward(randn([3, 2]))
            .square()
            .mean(),
        optimizer: optimizer(model, adamw({ lr: 0.1 })),
        steps: 8,
        logger,
      });
      const { losses } = await history.finally(() => close(false)).catch(() => ({ losses: [] }));
      return { steps, numbers: [...losses, ...model.weight.value.data, ...randn([2]).data] };
    };
    const straight = await train(newFolder(), false);
    const out = newFolder();
    expect((await train(out, false, 3)).steps).toEqual([1, 2, 3]);
    const resumed = await train(out, true);
    expect(resumed.steps).toEqual([4, 5, 6, 7, 8]);
    expect(resumed.numbers).toEqual(straight.numbers);
  });
});

describe("progress in lines", () => {
  it("is one for each tenth and each validation, and every 100 steps without an end", () => {
    const told: string[] = [];
    const { log } = lines("train", (line) => told.push(line));
    for (let step = 1; step <= 25; step++) log({ step, of: 25, epoch: 0, values: { loss: step / 8, lr: 1 } });
    log({ step: 25, of: 25, epoch: 1, values: { "validation.loss": 2 } });
    for (let step = 1; step <= 250; step++) log({ step, of: null, epoch: 0, values: { loss: 1, lr: 1 } });
    expect(told).toEqual([
      ...[3, 6, 9, 12, 15, 18, 21, 24, 25].map(
        (step) => `train: ${step} of 25, loss ${(step / 8).toFixed(3)}`,
      ),
      "train: 25 of 25, validation.loss 2.000",
      "train: 100, loss 1.000",
      "train: 200, loss 1.000",
    ]);
  });
});
