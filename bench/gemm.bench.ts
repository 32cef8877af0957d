/**
 * Speed of the reference gemm: `npx tsx bench/gemm.bench.ts [--write]`. Prints GFLOP/s (median and best of the rounds);
 * with --write also stores them as bench/results/gemm.json.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { gemm } from "../kernels/gemm-f32/reference.ts";

const cases = [
  { m: 256, n: 256, k: 256 },
  { m: 512, n: 512, k: 512 },
  { m: 1024, n: 1024, k: 1024 },
  { m: 512, n: 512, k: 512, transposeA: true },
  { m: 512, n: 512, k: 512, transposeB: true },
  { m: 32, n: 784, k: 256, transposeB: true },
  { m: 1, n: 1024, k: 1024 },
  { m: 1, n: 1024, k: 1024, transposeB: true },
  { m: 1024, n: 1, k: 1024 },
  { m: 512, n: 512, k: 2 },
  { m: 64, n: 64, k: 64 },
  { m: 16, n: 16, k: 16 },
  { m: 8, n: 8, k: 8 },
];
const rounds = 9;
const flopsPerRound = 2e8;

const results = cases.map((shape) => {
  const { m, n, k } = shape;
  const a = Float32Array.from({ length: m * k }, (_, i) => Math.sin(i));
  const b = Float32Array.from({ length: k * n }, (_, i) => Math.cos(i));
  const out = new Float32Array(m * n);
  const repeats = Math.max(1, Math.floor(flopsPerRound / (2 * m * n * k)));
  const speeds: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now();
    for (let r = 0; r < repeats; r++) gemm(out, a, b, shape);
    const seconds = (performance.now() - start) / 1e3;
    if (round > 0) speeds.push((2 * m * n * k * repeats) / seconds / 1e9);
  }
  speeds.sort((x, y) => x - y);
  const median = speeds[rounds >> 1];
  const best = speeds[rounds - 1];
  console.log(
    `${JSON.stringify(shape)}: median ${median.toFixed(2)}, best ${best.toFixed(2)} GFLOP/s (${out[0]})`,
  );
  return { ...shape, median, best };
});

if (process.argv.includes("--write")) {
  const folder = new URL("./results/", import.meta.url);
  mkdirSync(folder, { recursive: true });
  const machine = { cpu: cpus()[0]?.model, node: process.version, load: loadavg()[0] };
  writeFileSync(new URL("gemm.json", folder), `${JSON.stringify({ machine, results }, null, 2)}\n`);
}
