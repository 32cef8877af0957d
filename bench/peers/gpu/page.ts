/** What the page does: one row by all libraries, on one adapter, in turns. */

import { PackedWeight, type Values } from "../../../src/packed/index.ts";
import { draw } from "../library.ts";
import { adapter, copy } from "./adapter.ts";
import { decoding } from "./decode.ts";
import { type Check, type GpuSide, measured } from "./measure.ts";
import { chain, floatChain, floatWeight, inputs, matmul, type Where, weight } from "./ours.ts";
import { type PageReport, type PageTask, type Plan, type SideTimes, type Task, vectorBytes } from "./rows.ts";

type Makers = [name: string, make: () => Promise<GpuSide>][];

const wheres: readonly Where[] = ["webgpu", "gpu.js", "cpu"];

function close(got: number, want: number, most: number, what: string): void {
  if (!(Math.abs(got - want) <= most)) throw new Error(`gives ${got} for ${want} at ${what}`);
}

async function products({ n, resident }: Task & { kind: "matmul" }, take: Take): Promise<SideTimes[]> {
  const [a, b] = [draw([n, n], "a"), draw([n, n], "b", Math.sqrt(3 / n))];
  // A few numbers here and there.
  const check: Check = (c) => {
    if (c.length !== n * n) throw new Error(`gives ${c.length} numbers for ${n * n}`);
    for (let at = 0; at < n * n; at += n * n === 1 ? 1 : ((n * n) >> 6) + 7) {
      const [i, j] = [Math.floor(at / n), at % n];
      let sum = 0;
      for (let k = 0; k < n; k++) sum += a.data[i * n + k] * b.data[k * n + j];
      close(c[at], sum, 1e-3, `${i}, ${j}`);
    }
  };
  const peers: Makers = [
    ["tfjs-webgpu", async () => (await import("./tfjs.ts")).matmul(a, b, resident)],
    ["jax-js", async () => (await import("./jax.ts")).matmul(a, b, resident)],
    ["ort-web", async () => (await import("./ort.ts")).matmul(a, b, resident)],
  ];
  const ours: Makers = wheres.map((where) => [
    where,
    () => (resident ? floatChain(where, where, a, b) : matmul(where, a, b)),
  ]);
  return take([...ours, ...peers], check, resident);
}

/** As the CPU has it: codes of inputs may fall to the other side of a half. */
async function asCpu(x: Values, given: Omit<Parameters<typeof chain>[2], "x">): Promise<Check> {
  const cpu = await chain("cpu", "cpu", { ...given, x });
  const want = (await cpu.result()) as Float32Array;
  await cpu.close();
  const most = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return (got) => {
    if (got.length !== want.length) throw new Error(`gives ${got.length} numbers for ${want.length}`);
    for (let i = 0; i < want.length; i++) close(got[i], want[i], 0.02 * most, `${i}`);
  };
}

async function lowBit({ n, type }: Task & { kind: "product" }, take: Take): Promise<SideTimes[]> {
  const given = { weights: [weight(type, n, n)], input: inputs[type] };
  const floats = { weights: [floatWeight(n)], input: null };
  const x = draw([n, n], "x");
  const [check, checkFloats] = [await asCpu(x, given), await asCpu(x, floats)];
  const ours: Makers = wheres.map((where) => [where, () => chain(where, where, { ...given, x })]);
  const name = "webgpu float32";
  ours.push([name, () => chain(name, "webgpu", { ...floats, x })]);
  return take(ours, (got, side) => (side === name ? checkFloats : check)(got, side), true);
}

/** Copies of two weights on a GPU, more than its caches hold; software has those of the CPU, and is slow. */
function weightsOf(k: number, n: number, software: boolean): PackedWeight[] {
  const two = [weight("i4", n, k, 32), weight("i4", k, n, 32)];
  const count = software ? 1 : Math.ceil(2 ** 26 / vectorBytes(k, n));
  return Array.from({ length: count }, () =>
    two.map(({ coded }) => PackedWeight.ofCodes({ ...coded!, codes: coded!.codes.slice() })),
  ).flat();
}

async function vector({ k, n }: Task & { kind: "vector" }, take: Take): Promise<SideTimes[]> {
  const weights = weightsOf(k, n, (await adapter()).software);
  const x = draw([1, k], "x");
  const check = await asCpu(x, { weights: weights.slice(0, 2), input: null });
  const ours: Makers = wheres.map((where) => {
    const own = where === "cpu" ? weights.slice(0, 4) : weights;
    return [where, () => chain(where, where, { weights: own, input: null, x })];
  });
  ours.push(["copy", () => copy(vectorBytes(k, n))]);
  return take(
    ours,
    (got, side) => {
      if (side !== "copy") check(got, side);
    },
    true,
  );
}

type Take = (makers: Makers, check: Check, resident: boolean) => Promise<SideTimes[]>;

function run(task: Task, sides: readonly string[], plan: Plan): Promise<SideTimes[]> {
  const take: Take = (makers, check, resident) =>
    measured(
      makers.filter(([name]) => sides.includes(name)),
      { check, plan, resident },
    );
  if (task.kind === "matmul") return products(task, take);
  if (task.kind === "product") return lowBit(task, take);
  if (task.kind === "vector") return vector(task, take);
  return decoding(task, sides, plan);
}

async function reported(): Promise<PageReport> {
  const { task, sides, plan } = (await (await fetch("/task")).json()) as PageTask;
  const found = await adapter();
  try {
    return { adapter: found, sides: task ? await run(task, sides, plan) : [], error: null };
  } catch (error) {
    return { adapter: found, sides: [], error: error instanceof Error ? (error.stack ?? "") : String(error) };
  }
}

await fetch("/row", { method: "POST", body: JSON.stringify(await reported()) });
