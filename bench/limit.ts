/** What a run takes beside the limit, the rate of a product of 512 x 512 matrices measured in the same rounds. */

import { Rng, randn, scope, type Tensor } from "../src/index.ts";
import { pin } from "../src/storage.ts";
import { type PairResult, pair, type Side, showRatio } from "./pair.ts";
import { type Bounds, type ComparedRow, free } from "./table.ts";

/** A side whose runs leave nothing behind. */
export const side = (name: string, run: () => unknown): Side => ({
  name,
  run: () => scope(() => void run()),
  result: () => [],
});

/** Prints a comparison, and gives its row. */
export function compared(
  name: string,
  peer: string,
  [required, reach]: Bounds,
  { unit, work }: Pick<ComparedRow, "unit" | "work">,
  result: PairResult,
): ComparedRow {
  const { a, b, ratio, interval, load } = result;
  const speed = unit === "ms" ? `${(b * 1e3).toFixed(2)} ms` : `${(work / b).toFixed(1)} ${unit}`;
  console.log(name.padEnd(56), speed.padStart(14), `beside ${peer}`, showRatio(result));
  return {
    ...{ name, unit, work, required, reach, load },
    peers: [{ peer, native: false, ratio, interval, a, b }],
  };
}

/** Measures runs of so many GFLOP each as shares of the limit. */
export function shareOfLimit(): (
  name: string,
  work: number,
  run: () => unknown,
  bounds?: Bounds,
) => Promise<ComparedRow> {
  const rng = new Rng("limit");
  const normal = (): Tensor => pin(randn([512, 512], { rng }));
  const [left, right] = [normal(), normal()];
  const limit = side("product of 512", () => left.matmul(right));
  const limitWork = (2 * 512 ** 3) / 1e9;
  return async (name, work, run, bounds = free) => {
    const options = { tolerance: 0, rounds: 11, seconds: 4, milliseconds: 60 };
    const result = await pair(limit, side(name, run), options);
    const scale = work / limitWork;
    const [low, high] = result.interval;
    return compared(
      name,
      limit.name,
      bounds,
      { unit: "GFLOP/s", work },
      {
        ...result,
        ratio: result.ratio * scale,
        interval: [low * scale, high * scale],
        a: result.a * scale,
      },
    );
  };
}
