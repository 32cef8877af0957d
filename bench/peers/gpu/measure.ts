/** Takes times of several sides in turns, in a page. */

import type { Plan, SideTimes } from "./rows.ts";

export interface GpuSide {
  readonly name: string;
  /** Which part of a run counts as one of the row; left out, all. */
  readonly share?: number;
  /** Does the work so often, and waits until it is done. What comes with a call but not with a run may cost as well. */
  run(count: number): Promise<void>;
  /** What one run gives. */
  result(): Promise<ArrayLike<number>>;
  close(): Promise<void>;
}

/** Tokens behind the prompt, the likeliest each. */
export interface Decoder {
  readonly name: string;
  stream(prompt: readonly number[], count: number): AsyncIterable<number> | Iterable<number>;
  close(): Promise<void>;
}

/** Throws where what a side gives is wrong. */
export type Check = (result: ArrayLike<number>, side: string) => void;

const seconds = async (work: () => Promise<void>): Promise<number> => {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1e3;
};

/** Tells the server whose turn it is, in case the page is never heard of again. */
export const turnOf = (name: string): Promise<unknown> => fetch(`/turn/${encodeURIComponent(name)}`);

/** What `work` gives, or why the side is left out. */
export async function guarded<T>(name: string, work: () => Promise<T>): Promise<T | SideTimes> {
  await turnOf(name);
  try {
    return await work();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { name, times: [], out: message.slice(0, 300) };
  }
}

interface Warm {
  readonly side: GpuSide;
  /** Runs in a round. */
  readonly count: number;
  /** Seconds a round. */
  readonly round: number;
}

export const isOut = <T extends object>(made: T | SideTimes): made is SideTimes => "times" in made;

/** Checks the result, and finds how often it is to run in a round. */
async function warmed(side: GpuSide, check: Check, plan: Plan): Promise<Warm | SideTimes> {
  const { name } = side;
  check(await side.result(), name);
  const first = await seconds(() => side.run(1));
  if (first > plan.most) return { name, times: [], out: `${first.toFixed(1)} s a run` };
  const once = Math.max(1e-6, Math.min(first, await seconds(() => side.run(1))));
  const several = Math.min(16, Math.max(1, Math.ceil(plan.milliseconds / 1e3 / once)));
  // A short run is mostly the call: what a run alone takes is seen by more of them.
  const more = several === 1 ? once : (await seconds(() => side.run(1 + several))) - once;
  const each = Math.max(more / several, 1e-6);
  const count = Math.min(64, Math.max(1, Math.ceil(plan.milliseconds / 1e3 / each)));
  await side.run(1 + count);
  return { side, count, round: 2 * once + count * each };
}

/**
 * Of `resident` sides the time of a run is that of one call with several runs, less that of a call with one: what a call
 * uploads, reads and waits for is in both.
 */
export async function measured(
  makers: readonly (readonly [name: string, make: () => Promise<GpuSide>])[],
  { check, plan, resident }: { check: Check; plan: Plan; resident: boolean },
): Promise<SideTimes[]> {
  const made: (Warm | SideTimes)[] = [];
  for (const [name, make] of makers)
    made.push(await guarded(name, async () => warmed(await make(), check, plan)));
  const warm = made.filter((each): each is Warm => !isOut(each));
  const all = warm.reduce((sum, { round }) => sum + round, 0);
  const rounds = Math.min(plan.rounds, Math.max(1, Math.floor(plan.seconds / all)));
  const times = new Map(warm.map(({ side }) => [side.name, [] as number[]]));
  for (let round = 0; round < rounds; round++)
    for (let i = 0; i < warm.length; i++) {
      const { side, count } = warm[(i + round) % warm.length];
      await turnOf(side.name);
      const whole = await seconds(() => side.run(resident ? 1 + count : count));
      const call = resident ? await seconds(() => side.run(1)) : 0;
      times.get(side.name)!.push(((whole - call) / count) * (side.share ?? 1));
    }
  for (const { side } of warm) await side.close();
  return made.map((each) => {
    if (isOut(each)) return each;
    const { name } = each.side;
    const taken = times.get(name)!;
    const quick = taken.toSorted((a, b) => a - b)[taken.length >> 1] <= 0;
    return { name, times: quick ? [] : taken, out: quick ? "too quick beside its call" : null };
  });
}
