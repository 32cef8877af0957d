/** Keys and values that stay on a device. */

import { changing } from "../../changes.ts";
import type { KeyValueCache } from "../../packed/executor.ts";
import type { FarCache } from "../engine.ts";
import type { Block, WebGpuRuns } from "./runs.ts";
import { groupsOf, kernel, threads } from "./wgsl.ts";

/** (H, R, D) each, with room for twice as many positions where it is full. */
export class BlockCache implements KeyValueCache<Block>, FarCache {
  length = 0;
  context: KeyValueCache<Block> | null = null;
  private held: readonly [Block, Block] | null = null;
  private rows = 0;
  private readonly gpu: WebGpuRuns;

  constructor(gpu: WebGpuRuns) {
    this.gpu = gpu;
  }

  append(keys: Block, values: Block, heads: number, t: number, d: number): readonly [Block, Block, number] {
    const { gpu, length, rows, held } = this;
    // What lies behind the positions that are held is of no account, so going back needs no copy.
    changing(this, () => () => Object.assign(this, { length, rows, held }));
    if (held === null || rows < length + t) {
      this.rows = Math.max(2 * (length + t), 16);
      const size = heads * this.rows * d;
      const larger = [gpu.room("append", size), gpu.room("append", size)] as const;
      if (held) {
        this.copy(held, larger, heads * rows * d, rows * d, 0);
        for (const old of held) gpu.discard(old);
      }
      this.held = larger;
    }
    this.copy([keys, values], this.held!, heads * t * d, t * d, length * d);
    this.length += t;
    return [...this.held!, this.rows];
  }

  /** Copies `count` numbers, `step` a head, to where each head's begin with `start`. */
  private copy(
    from: readonly [Block, Block],
    to: readonly [Block, Block],
    count: number,
    step: number,
    start: number,
  ): void {
    const code = kernel({
      outs: ["keys: f32", "values: f32"],
      inputs: ["fromKeys: f32", "fromValues: f32"],
      sizes: ["count", "step", "start", "all"],
      body: `let at = group * ${threads}u + t;
if (at >= count) { return; }
let place = at / step * all + start + at % step;
keys[place] = fromKeys[at];
values[place] = fromValues[at];`,
    });
    const all = to[0].length / Math.max(1, count / Math.max(1, step));
    const call = { op: "append", reason: "in place", code, inputs: from, workgroups: groupsOf(count) };
    this.gpu.write({ ...call, sizes: [count, step, start, all] }, to);
  }

  clear(): void {
    for (const old of this.held ?? []) this.gpu.discard(old);
    this.held = null;
    this.length = 0;
    this.rows = 0;
    this.context?.clear();
  }

  *kept(): Generator<Block> {
    yield* this.held ?? [];
    if (this.context) yield* (this.context as BlockCache).kept();
  }
}
