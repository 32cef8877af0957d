/** An exhausted heap is slower, never wrong; scopes and releases in odd orders end in typed errors or right results. */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  BitgradError,
  backendInfo,
  memory,
  ones,
  Rng,
  randint,
  randn,
  ShapeError,
  scope,
  setHeapBudget,
  type Tensor,
  zeros,
} from "bitgrad";
import { Gpt } from "bitgrad/models";
import { crossEntropy, parameters } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { trainStep } from "bitgrad/train";
import { afterEach, describe, expect, it } from "vitest";
import { memoryIsShared } from "../kernels/wasm/heap.ts";
import { usualBudget } from "../kernels/wasm/memory.ts";

const wholeBudget = backendInfo().heap.budget;

afterEach(() => {
  setHeapBudget(wholeBudget);
  expect(memory()).toMatchObject({ tensors: 0, bytes: 0 });
});

/** The weights and losses of three steps, each under one of the budgets in turn. */
function trained(...budgets: number[]): number[] {
  const model = new Gpt({ vocabulary: 64, context: 32, dim: 64, layers: 2, heads: 4, rng: new Rng(1) });
  const update = optimizer(model, sgd({ lr: 0.1, momentum: 0.9 }));
  const ids = randint(0, 64, [4, 32], { rng: new Rng(2) });
  const losses = Array.from({ length: 3 }, (_, i) => {
    setHeapBudget(budgets[i % budgets.length]);
    return trainStep(model, update, (m) => crossEntropy(m.forward(ids), ids));
  });
  return [...losses, ...parameters(model).flatMap((p) => Array.from(p.value.data))];
}

describe("the heap's budget", () => {
  it("changes no bit of a training step: tiny, ample, raised and lowered between steps", () => {
    const ample = trained(wholeBudget);
    const { reserved } = backendInfo().heap;
    for (const budgets of [[0], [reserved + 65536], [0, wholeBudget, reserved]])
      expect(trained(...budgets)).toEqual(ample);
  });

  it("may run out in the middle of an op and be raised later", () => {
    const { reserved } = backendInfo().heap;
    const n = Math.ceil(reserved / 4);
    setHeapBudget(reserved);
    scope(() => {
      const x = ones([n]);
      expect(x.mul(2).add(x).sum().item()).toBe(3 * n);
      setHeapBudget(wholeBudget);
      expect(x.mul(2).add(x).sum().item()).toBe(3 * n);
    });
  });
});

describe("the usual budget", () => {
  const gib = 2 ** 30;
  const node = (total: number, constrained?: number) => ({
    process: {
      getBuiltinModule: () => ({ totalmem: () => total }),
      ...(constrained !== undefined && { constrainedMemory: () => constrained }),
    },
  });
  it.each([
    ["a small machine", node(2 * gib), gib],
    ["a large machine", node(64 * gib), 4 * gib],
    ["a process without limit", node(6 * gib, 0), 3 * gib],
    ["a process whose limit is above everything", node(6 * gib, 2 ** 64), 3 * gib],
    ["a container", node(64 * gib, gib), gib / 2],
    ["a Node that tells its limit alone", { process: { constrainedMemory: () => gib } }, gib / 2],
    ["a device", { navigator: { deviceMemory: 0.5 } }, gib / 4],
    ["a browser that does not say", { navigator: {} }, gib],
    ["nothing that says", {}, gib],
  ])("is half of the memory, on %s", (_, platform, budget) => expect(usualBudget(platform)).toBe(budget));

  it("is what the heap may span unless told otherwise", () => expect(wholeBudget).toBe(usualBudget()));
});

describe.skipIf(backendInfo().name !== "simd" || !memoryIsShared())("an exhausted heap", () => {
  const script = fileURLToPath(new URL("./fixtures/exhausted.ts", import.meta.url));
  async function trainedUnder(bytes: number) {
    const { stdout, stderr } = await promisify(execFile)(
      process.execPath,
      ["--import", "tsx", script, `${bytes}`],
      { env: { ...process.env, NODE_OPTIONS: "" } },
    );
    return { ...JSON.parse(stdout), stderr };
  }

  it("warns once, says the budget that it wants, and with that one lacks nothing", {
    timeout: 60_000,
  }, async () => {
    const small = await trainedUnder(24 * 2 ** 20);
    const { wanted } = small.heap;
    expect(wanted).toBeGreaterThan(60 * 2 ** 20);
    expect(small.reason).toContain(`the heap's budget of 24 MiB is exhausted`);
    expect(small.reason).toContain(`setHeapBudget(${wanted})`);
    expect(small.warnings).toEqual([expect.stringContaining("the heap's budget of 24 MiB is exhausted")]);
    expect(small.stderr).toContain("BitgradWarning");
    const ample = await trainedUnder(wanted);
    expect(ample).toMatchObject({ loss: small.loss, warnings: [], stderr: "", later: 0 });
    expect(ample.heap).toMatchObject({ budget: wanted, wanted: 0 });
    // What steps replace is not counted again.
    expect(wanted).toBeLessThan(1.2 * ample.heap.reserved);
    expect(small).toMatchObject({ wanted: 0, memory: { tensors: 0, bytes: 0 } });
  });

  it("wants nothing for models that are gone", async () => {
    const dropped = fileURLToPath(new URL("./fixtures/dropped.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--expose-gc", "--import", "tsx", dropped],
      { env: { ...process.env, NODE_OPTIONS: "" } },
    );
    // A model has 4 MiB, and pins take half of a budget.
    expect(Number(stdout)).toBeGreaterThan(8 * 2 ** 20);
    expect(Number(stdout)).toBeLessThan(12 * 2 ** 20);
  });
});

describe("tensors larger than any memory", () => {
  it("are a typed error in a scope too, and leave the heap as it was", () => {
    const { bytes } = backendInfo().heap;
    scope(() => ones([20_000_000]));
    for (const size of [2 ** 36 + 16_000, 2 ** 40, 2 ** 52])
      expect(() => scope(() => zeros([size]))).toThrow(ShapeError);
    scope(() => ones([20_000_000]));
    expect(backendInfo().heap.bytes).toBe(bytes);
  });
});

describe("releases in odd orders", () => {
  const released = (t: Tensor) => {
    for (const use of [() => t.data, () => t.add(1), () => t.reshape([t.size]).sum()])
      expect(use).toThrow(BitgradError);
  };

  it("of a reshape, then its base, then both again", () => {
    scope(() => {
      const base = zeros([8, 16]);
      const view = base.reshape([128]);
      view.dispose();
      expect(base.data.length).toBe(128);
      base.dispose();
      for (const t of [view, base, view]) t.dispose();
      expect(memory().tensors).toBe(0);
      released(view);
      released(base);
    });
  });

  it("of an intermediate before its backward pass: a typed error, and the next step is right", () => {
    const x = randn([100], { rng: new Rng(1), requiresGrad: true });
    scope(() => {
      const y = x.exp();
      const loss = y.mul(y).sum();
      y.dispose();
      expect(() => loss.backward()).toThrow(BitgradError);
    });
    expect(x.grad).toBeNull();
    scope(() => x.mul(3).sum().backward());
    expect(x.grad?.data[99]).toBe(3);
  });

  it("by a gradient rule that throws within a scope", () => {
    const x = randn([100], { requiresGrad: true });
    expect(() =>
      scope(() => {
        const loss = x.square().sum();
        loss.backward();
        loss.backward();
      }),
    ).toThrow("already freed");
    expect(x.grad?.data.length).toBe(100);
  });

  it("by a generator that holds a scope, ended early or late", () => {
    const lost: Tensor[] = [];
    function* steps() {
      const held = scope({ name: "steps" });
      try {
        for (let i = 0; ; i++) {
          const t = zeros([100]).add(i);
          lost.push(t);
          yield t;
        }
      } finally {
        held.dispose();
      }
    }
    for (const t of steps()) if (t.data[0] === 2) break;
    lost.forEach(released);
    const paused = steps();
    const first = paused.next().value as Tensor;
    const outer = scope({ name: "outer" });
    const inner = ones([100]);
    paused.return(undefined as never);
    released(first);
    expect(inner.sum().item()).toBe(100);
    outer.dispose();
    released(inner);
  });

  it("of thousands of nested scopes", () => {
    const open = Array.from({ length: 5000 }, () => [scope(), ones([64])] as const);
    expect(memory().tensors).toBe(5000);
    for (const [held] of open) held.dispose();
    for (const [, t] of open.slice(0, 3)) released(t);
    const deep = (n: number): Tensor => scope(() => (n === 0 ? ones([64]) : deep(n - 1).add(1)));
    expect(deep(1000).data[0]).toBe(1001);
  });
});
