/** What the page does: runs packed models on the CPU and by every mode of gpu.js, and posts how far these are off. */

import { type GpuReport, type Mode, openGpu, toGpu } from "bitgrad/gpu";
import { loadPacked, type Values } from "bitgrad/packed";

/** A model as a file, what it reads, and whether it generates. */
export interface GpuCase {
  readonly name: string;
  readonly bytes: number[];
  readonly x: { readonly data: number[]; readonly shape: number[] };
  readonly ids: boolean;
}

export interface ModeReport {
  readonly report: GpuReport;
  /** The largest difference beside the largest number, of each model. */
  readonly off: Record<string, number>;
  readonly tokens: number[];
}

export interface GpuPageReport {
  readonly modes: Partial<Record<Mode, ModeReport | { readonly error: string }>>;
  /** What the console was warned of. */
  readonly warned: string[];
  readonly tokens: number[];
}

const options = { maxTokens: 6, temperature: 0 };

async function run(mode: Mode, cases: readonly GpuCase[]): Promise<ModeReport> {
  const gpu = await openGpu({ mode });
  const off: Record<string, number> = {};
  let tokens: number[] = [];
  for (const { name, bytes, x, ids } of cases) {
    const packed = loadPacked(Uint8Array.from(bytes));
    const given = { data: ids ? x.data : Float32Array.from(x.data), shape: x.shape } as Values;
    const want = packed.forward(given).data;
    const model = await toGpu(packed, gpu);
    const got = (await model.forward(given)).data;
    const most = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    off[name] = got.reduce((a, v, i) => Math.max(a, Math.abs(v - want[i])), 0) / most;
    if (ids) tokens = await model.generate([3, 1], options);
  }
  const report = gpu.explain();
  await gpu.close();
  return { report, off, tokens };
}

const warned: string[] = [];
const warn = console.warn;
console.warn = (...args: unknown[]) => {
  warned.push(args.join(" "));
  warn(...args);
};

const cases = (await (await fetch("/cases")).json()) as GpuCase[];
const modes: GpuPageReport["modes"] = {};
for (const mode of ["webgl2", "webgpu", "webasm", "cpu"] as const)
  modes[mode] = await run(mode, cases).catch((error: Error) => ({
    error: `${error.message}\n${error.stack}`,
  }));
const text = cases.find(({ ids }) => ids)!;
const tokens = loadPacked(Uint8Array.from(text.bytes)).generate([3, 1], options);
await fetch("/gpu", {
  method: "POST",
  body: JSON.stringify({ modes, warned, tokens } satisfies GpuPageReport),
});
