import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import {
  BackendError,
  backendInfo,
  manualSeed,
  OptionError,
  randint,
  randn,
  scope,
  setThreads,
  type Tensor,
  useBackend,
} from "bitgrad";
import { Gpt } from "bitgrad/models";
import { crossEntropy, parameters } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { trainStep } from "bitgrad/train";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { attentionBackward, attentionForward } from "../kernels/attention/index.ts";
import { convForward, convInputGrad, convWeightGrad } from "../kernels/conv/index.ts";
import { convBits } from "../kernels/conv-b1/index.ts";
import { convInt } from "../kernels/conv-i8/index.ts";
import * as elementwise from "../kernels/elementwise/index.ts";
import { gemmSigns } from "../kernels/gemm-b1/index.ts";
import { gemmF32 } from "../kernels/gemm-f32/index.ts";
import { gemmExports, gemmHeap, packB } from "../kernels/gemm-f32/simd.ts";
import { gemmI4 } from "../kernels/gemm-i4/index.ts";
import { gemmI8 } from "../kernels/gemm-i8/index.ts";
import { gemmTernary } from "../kernels/gemm-t2/index.ts";
import type { KernelArgs } from "../kernels/kernel.ts";
import { gemmDigits } from "../kernels/lookup/index.ts";
import * as loss from "../kernels/loss/index.ts";
import * as mixed from "../kernels/mixed/index.ts";
import * as norm from "../kernels/norm/index.ts";
import * as updates from "../kernels/optimizer/index.ts";
import * as draws from "../kernels/random/index.ts";
import * as pools from "../kernels/pool/index.ts";
import * as reduce from "../kernels/reduce/index.ts";
import * as softmax from "../kernels/softmax/index.ts";
import * as sorts from "../kernels/sort/index.ts";
import { alloc, free, heapFloats } from "../kernels/wasm/heap.ts";
import { wasmKernel } from "../kernels/wasm/load.ts";
import { inTasks } from "../kernels/wasm/parallel.ts";
import { encodeText } from "../kernels/wasm/text.ts";
import { changePool, pool } from "../kernels/wasm/threads.ts";
import { word } from "../kernels/wasm/worker.ts";
import { spawn } from "../src/workers/spawn.node.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const { least, stall } = pool;

beforeEach(() => useBackend("simd"));
afterEach(async () => {
  Object.assign(pool, { least, stall });
  await setThreads(1);
});

/** How many jobs the threads have had. */
const jobs = (): number => pool.words[word.job];

const isTyped = (value: unknown): value is Float32Array => ArrayBuffer.isView(value);

const sameBits = (a: ArrayLike<number>, b: ArrayLike<number>): boolean =>
  a.length === b.length && Array.prototype.every.call(a, (value, i) => Object.is(value, b[i]));

/** Runs on copies of the arrays, and returns these. */
function arraysAfter(run: (...args: KernelArgs) => void, args: KernelArgs): Float32Array[] {
  const copies = args.map((value) => (isTyped(value) ? value.slice() : value));
  run(...(copies as unknown as KernelArgs));
  return copies.filter(isTyped);
}

describe("on any number of threads", () => {
  const kernels = [
    ...[gemmF32, attentionForward, attentionBackward, convForward, convInputGrad, convWeightGrad],
    ...[elementwise, pools, mixed, loss, norm, reduce, updates, softmax, sorts, draws].flatMap((folder) =>
      Object.values(folder),
    ),
    ...[gemmSigns, gemmTernary, gemmDigits, gemmI8, gemmI4, convBits, convInt],
  ];

  it.each(kernels.map((kernel) => [kernel.name, kernel] as const))(
    "every case of %s gives the same bits, however small its parts",
    async (_, kernel) => {
      const cases = [...kernel.cases()] as unknown as KernelArgs[];
      pool.least = 0;
      for (const [name, load] of Object.entries(kernel.implementations)) {
        const run = (load as () => ((...args: KernelArgs) => void) | string)();
        if (typeof run === "string") continue;
        await setThreads(1);
        const alone = cases.map((args) => arraysAfter(run, args));
        for (const n of [2, 3, 4]) {
          await setThreads(n);
          cases.forEach((args, i) => {
            const found = arraysAfter(run, args);
            found.forEach((array, k) => {
              const differs = array.findIndex((value, at) => !Object.is(value, alone[i][k][at]));
              if (differs >= 0)
                expect.fail(
                  `${name}, ${n} threads, case ${i}, array ${k}, element ${differs}: ` +
                    `${array[differs]}, on one thread ${alone[i][k][differs]}`,
                );
            });
          });
          expect(jobs(), `${name} on ${n} threads`).toBeGreaterThan(0);
        }
      }
    },
  );

  it("products in every form give the same bits, far beyond one block", async () => {
    const products = (): Float32Array[] =>
      [
        [1, 3000, 1100],
        [7, 1500, 700],
        [300, 3, 900],
        [2000, 1, 300],
        [333, 517, 601],
        [1030, 65, 257],
        [31, 1025, 800],
      ].flatMap(([m, n, k]) =>
        [0, 1, 2, 3].map((form) =>
          scope(() => {
            manualSeed(m);
            const [transposeA, transposeB] = [(form & 1) > 0, (form & 2) > 0];
            const a = randn(transposeA ? [k, m] : [m, k]);
            const b = randn(transposeB ? [n, k] : [k, n]);
            return a.matmul(b, { transposeA, transposeB }).data.slice() as Float32Array;
          }),
        ),
      );
    const alone = products();
    for (const n of [2, 3]) {
      await setThreads(n);
      const found = products();
      expect(found.every((x, i) => sameBits(x, alone[i]))).toBe(true);
      expect(jobs()).toBeGreaterThan(alone.length);
    }
  });

  it("products in double precision and of integers give the same bits", async () => {
    const pairs = (["float64", "int8", "int32"] as const).map((dtype) =>
      [1, 2].map((seed) => {
        manualSeed(seed);
        return randint(-99, 99, [301, 257]).to(dtype);
      }),
    );
    const products = () => scope(() => pairs.map(([a, b]) => a.matmul(b, { transposeB: true }).data.slice()));
    const alone = products();
    await setThreads(2);
    const before = jobs();
    expect(products()).toEqual(alone);
    expect(jobs()).toBe(before + alone.length);
  });

  it("products of many matrices, of panels, with a bias or on top of what is there give the same bits", async () => {
    const exports = gemmExports()!;
    const shapes = [
      { m: 9, n: 17, k: 33, batch: 40, batchB: 0, transposeA: true },
      { m: 300, n: 70, k: 290, batch: 3, transposeB: true },
      { m: 130, n: 90, k: 300, batch: 3, batchOut: 0, accumulate: true },
      { m: 5, n: 300, k: 40, batch: 2 },
      { m: 64, n: 200, k: 520, bias: 1 },
      { m: 3, n: 200, k: 50, bias: 1 },
      { m: 200, n: 90, k: 530, packed: true },
      { m: 40, n: 300, k: 513, packed: true, accumulate: true },
    ];
    const results = (): Float32Array[] =>
      shapes.map(({ bias = 0, ...shape }) => {
        const { m, n, k, packed, batch = 1 } = shape;
        const sizes = [batch * m * n, batch * m * k, batch * n * k, n, Math.ceil(n / 8) * 8 * k];
        const [out, a, b, row, panels] = sizes.map((size) => alloc(size * 4));
        [out, a, b, row].forEach((at, i) => {
          for (let j = 0; j < sizes[i]; j++) heapFloats()[at / 4 + j] = Math.sin(i + 1.7 * j);
        });
        if (packed) packB(panels, b, shape);
        gemmHeap(out, a, packed ? panels : b, { ...shape, bias: bias && row }, exports);
        const result = heapFloats().slice(out / 4, out / 4 + sizes[0]);
        for (const at of [out, a, b, row, panels]) free(at);
        return result;
      });
    const alone = results();
    pool.least = 0;
    for (const n of [2, 3, 4]) {
      await setThreads(n);
      const found = results();
      for (const [i, shape] of shapes.entries())
        expect(sameBits(found[i], alone[i]), JSON.stringify(shape)).toBe(true);
      expect(jobs()).toBeGreaterThanOrEqual(shapes.length - 1);
    }
  });

  it("training gives the same weights", async () => {
    const trained = (): number[] => {
      manualSeed(3);
      const model = new Gpt({ vocabulary: 96, context: 64, dim: 64, layers: 2, heads: 4 });
      const update = optimizer(model, adamw({ lr: 1e-3 }));
      const [x, y] = [randint(0, 96, [8, 64]), randint(0, 96, [8, 64])];
      const losses = [0, 1, 2].map(() =>
        trainStep(model, update, () => crossEntropy(model.forward(x) as Tensor, y)),
      );
      return [...losses, ...parameters(model).flatMap(({ value }) => [...value.data])];
    };
    const alone = trained();
    for (const n of [2, 4]) {
      await setThreads(n);
      expect(sameBits(trained(), alone)).toBe(true);
      expect(jobs()).toBeGreaterThan(50);
    }
  });
});

const product = (n = 400): Tensor["data"] => {
  manualSeed(1);
  return scope(() => randn([n, n]).matmul(randn([n, n]))).data;
};

describe("the pool", () => {
  it("starts, changes and ends as often as it is asked to", async () => {
    const alone = product();
    for (const n of [2, 4, 1, 3, 3, 1]) {
      await setThreads(n);
      expect(backendInfo()).toMatchObject({ threads: n });
      expect(sameBits(product(), alone)).toBe(true);
      expect(pool.threads.length).toBe(n - 1);
    }
    await Promise.all([setThreads(4), setThreads(2), setThreads(3)]);
    expect(backendInfo().threads).toBe(3);
    await setThreads(1);
    expect(pool).toMatchObject({ control: 0, threads: [], active: 1 });
  });

  it.each([0, 1.5, Number.NaN, -1, 65, "2", null, undefined])("refuses %s threads", async (n) => {
    await expect(setThreads(n as number)).rejects.toThrow(OptionError);
    await expect(setThreads(n as number)).rejects.toThrow(/setThreads: needs an integer from 1 to 64, got /);
  });

  it("runs either build of the kernels, and steps aside for the reference", async () => {
    const alone = [true, false].map((relaxed) => {
      useBackend("simd", { relaxed });
      return product();
    });
    await setThreads(3);
    for (const [i, relaxed] of [true, false].entries()) {
      useBackend("simd", { relaxed });
      expect(sameBits(product(), alone[i])).toBe(true);
    }
    expect(jobs()).toBeGreaterThan(1);
    useBackend("reference");
    expect(backendInfo().threads).toBe(1);
    product(40);
    useBackend("simd");
    expect(backendInfo().threads).toBe(3);
    expect(sameBits(product(), alone[0])).toBe(true);
  });

  it("works on memory that has grown since it started", async () => {
    await setThreads(3);
    const { reserved } = backendInfo().heap;
    scope(() => {
      const parts = Array.from({ length: 4 }, () => randn([Math.ceil(reserved / 16000), 1000]));
      expect(backendInfo().heap.reserved).toBeGreaterThan(reserved);
      for (const x of parts) {
        const [rows, each] = [x.softmax(-1), x.gelu()];
        pool.active = 1;
        expect(sameBits(rows.data, x.softmax(-1).data)).toBe(true);
        expect(sameBits(each.data, x.gelu().data)).toBe(true);
        pool.active = 3;
      }
    });
  });

  it("gives its memory back, and keeps no process alive", async () => {
    const script = fileURLToPath(new URL("./fixtures/threads.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", script], {
      env: { ...process.env, NODE_OPTIONS: "" },
      timeout: 30_000,
    });
    expect(JSON.parse(stdout)).toEqual({ threads: 3, sum: 600 ** 3, left: 0 });
  });
});

// (i32, i32) → (): count to two million where both are equal; else `trap` traps and `hang` never returns.
const base64 =
  "AGFzbQEAAAABBgFgAn9/AAMDAgAABw8CBHRyYXAAAARoYW5nAAEKRQIfAQF/IAAgAUcEQAALA0AgAkEBaiICQYCJ+gBJDQALCyMBAX8gACAB" +
  "RwRAA0AMAAsLA0AgAkEBaiICQYCJ+gBJDQALCw==";
type Fault = (local: number, callers: number) => void;
const text = encodeText(Buffer.from(base64, "base64"));
const faults = wasmKernel<{ trap: Fault; hang: Fault }>({ plain: text, relaxed: text });

/** A job that goes well on the calling thread alone. */
function failOnThreads(name: "trap" | "hang"): void {
  inTasks(1e9, 64, [faults()!], (job) => {
    for (let i = 0; i < 20; i++) {
      job.of(faults()!)[name](job.local, pool.local);
      job.next();
    }
  });
}

describe("a thread that is lost", () => {
  const recovers = async (): Promise<void> => {
    expect(backendInfo()).toMatchObject({ threads: 1, reason: expect.stringMatching(/a thread was lost/) });
    await setThreads(1);
    const alone = product();
    expect(backendInfo().reason ?? "").not.toMatch(/lost/);
    await setThreads(3);
    expect(backendInfo().threads).toBe(3);
    expect(sameBits(product(), alone)).toBe(true);
  };

  it("by an error in its work is a BackendError, and one thread goes on", async () => {
    await setThreads(3);
    const run = () => failOnThreads("trap");
    expect(run).toThrow(BackendError);
    expect(product().every(Number.isFinite)).toBe(true);
    await setThreads(3);
    expect(run).toThrow(
      /^setThreads: a thread was lost: RuntimeError: unreachable; work goes on on one thread/,
    );
    await recovers();
  });

  it("in the midst of its work is a BackendError, not a hang", async () => {
    await setThreads(3);
    pool.stall = 300;
    expect(() => failOnThreads("hang")).toThrow(
      /^setThreads: a thread was lost: it made no progress for 0.3 s; work goes on on one thread/,
    );
    await recovers();
  });

  it("without work is what the next kernel says, once", async () => {
    const alone = product();
    // It says that it is ready, and dies.
    const mortal = (source: string) =>
      source.replace("setTimeout(live)", "setTimeout(() => process.exit(3), 20)");
    await changePool(2, (source, data, lost) => spawn(mortal(source), data, lost));
    expect(backendInfo().threads).toBe(2);
    while (backendInfo().threads > 1) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(() => product()).toThrow(/^setThreads: a thread was lost: it ended with code 3; work goes on/);
    expect(sameBits(product(), alone)).toBe(true);
    await recovers();
  });

  it("before it was ready leaves one thread, and the reason", async () => {
    await changePool(3, (_, data, lost) => spawn("process.exit(4)", data, lost));
    expect(backendInfo().threads).toBe(1);
    expect(backendInfo().reason).toMatch(/threads do not start here: it ended with code 4/);
    expect(product().every(Number.isFinite)).toBe(true);
  });
});
