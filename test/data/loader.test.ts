import { Rng, tensor, zeros } from "bitgrad";
import { loader } from "bitgrad/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

async function collect<B>(batches: AsyncIterable<B>): Promise<B[]> {
  const out: B[] = [];
  for await (const batch of batches) out.push(batch);
  return out;
}

/** n examples whose x row and y both tell their number. */
const numbered = (n: number) => ({
  x: tensor(
    Float32Array.from({ length: 2 * n }, (_, i) => i),
    { shape: [n, 2] },
  ),
  y: Int32Array.from({ length: n }, (_, i) => i),
});

const ids = (batches: readonly { y: { data: ArrayLike<number> } }[]): number[] =>
  batches.flatMap(({ y }) => Array.from(y.data));

describe("loader", () => {
  it("loses and repeats no example, whatever the sizes, shuffled or not", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(40),
        fc.integer({ min: 1, max: 12 }),
        fc.boolean(),
        async (n, batch, shuffle) => {
          const load = loader(numbered(n), { batch, shuffle, rng: new Rng(n) });
          for (let epoch = 0; epoch < 2; epoch++) {
            const batches = await collect(load);
            expect(batches).toHaveLength(load.length);
            expect(ids(batches).sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
            for (const { x, y } of batches) {
              expect(x.shape).toEqual([y.size, 2]);
              expect(Array.from(x.data)).toEqual(Array.from(y.data).flatMap((i) => [2 * i, 2 * i + 1]));
            }
          }
        },
      ),
    );
  });

  it("keeps the order without shuffling and the dtype of every field", async () => {
    const [first, second] = await collect(loader({ ...numbered(3), name: ["a", "b", "c"] }, { batch: 2 }));
    expect(first.y.dtype).toBe("int32");
    expect(first.x.toArray()).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(second.x.toArray()).toEqual([[4, 5]]);
    expect(first.name).toEqual(["a", "b"]);
    expect(second.name).toEqual(["c"]);
  });

  it("shuffles anew every epoch and equally for equal seeds", async () => {
    const make = () => loader(numbered(30), { batch: 7, shuffle: true, rng: new Rng("seed") });
    const [a, b] = [make(), make()];
    const first = ids(await collect(a));
    const second = ids(await collect(a));
    expect(first).not.toEqual(second);
    expect([ids(await collect(b)), ids(await collect(b))]).toEqual([first, second]);
  });

  it("does not draw from the caller's generator while it runs", async () => {
    const rng = new Rng(3);
    const load = loader(numbered(9), { batch: 2, shuffle: true, rng });
    const before = rng.state;
    await collect(load);
    expect(rng.state).toEqual(before);
  });

  it("drops the short batch at the end when asked", async () => {
    const load = loader(numbered(10), { batch: 4, dropLast: true });
    expect(load.length).toBe(2);
    expect(ids(await collect(load))).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("resumes at any batch with the very batches that would have come, in that epoch and the next", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 25 }),
        fc.integer({ min: 1, max: 6 }),
        fc.nat(60),
        async (n, batch, stop) => {
          const make = () => loader(numbered(n), { batch, shuffle: true, rng: new Rng(7) });
          const whole = make();
          const run: { state: string; ids: number[] }[] = [];
          const seen: number[] = [];
          for (let epoch = 0; epoch < 3; epoch++) {
            for await (const { y } of whole) {
              seen.push(...y.data);
              run.push({ state: JSON.stringify(whole.state), ids: [...seen] });
            }
          }
          const at = run[stop % run.length];
          const resumed = make();
          resumed.state = JSON.parse(at.state);
          expect(JSON.stringify(resumed.state)).toBe(at.state);
          const rest = [...at.ids];
          while (resumed.state.epoch < 3) rest.push(...ids(await collect(resumed)));
          expect(rest).toEqual(seen);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("begins a new epoch after a loop was left early", async () => {
    const load = loader(numbered(6), { batch: 2 });
    for await (const _ of load) break;
    expect(load.state).toMatchObject({ epoch: 0, position: 2 });
    expect(ids(await collect(load))).toEqual([0, 1, 2, 3, 4, 5]);
    expect(load.state).toMatchObject({ epoch: 2, position: 0 });
  });

  it("takes the end of an epoch for the beginning of the next, also in states that say it otherwise", async () => {
    const make = () => loader(numbered(5), { batch: 2, shuffle: true, rng: new Rng(1), dropLast: true });
    const whole = make();
    const begun = whole.state.rng;
    await collect(whole);
    const next = ids(await collect(whole));
    for (const position of [4, 5]) {
      const resumed = make();
      resumed.state = { epoch: 0, position, rng: begun };
      expect(resumed.state).toMatchObject({ epoch: 1, position: 0 });
      expect(ids(await collect(resumed))).toEqual(next);
    }
  });

  it("stacks examples that are computed one by one, asynchronously too", async () => {
    const dataset = {
      length: 3,
      get: async (i: number) => ({ x: [i, [1, 2, 3][i]], y: tensor(Int32Array.of(i, i)), word: `w${i}` }),
    };
    const [batch] = await collect(loader(dataset, { batch: 3 }));
    expect(batch.x.toArray()).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    expect(batch.y.dtype).toBe("int32");
    expect(batch.y.shape).toEqual([3, 2]);
    expect(batch.word).toEqual(["w0", "w1", "w2"]);
  });

  it("throws the signal's reason at the next batch", async () => {
    const control = new AbortController();
    const seen: number[] = [];
    const run = async () => {
      for await (const { y } of loader(numbered(6), { batch: 2, signal: control.signal })) {
        seen.push(y.data[0]);
        control.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    expect(seen).toEqual([0]);
  });

  it("says what is wrong with its arguments", async () => {
    const data = numbered(4);
    expect(() => loader(data, { batch: 0 })).toThrow("loader: batch must be a positive integer, got 0");
    expect(() => loader(data, { batch: 1.5 })).toThrow("got 1.5");
    expect(() => loader(data, { batch: Number.NaN })).toThrow("got NaN");
    expect(() => loader(data, { batch: 1, shuffle: true })).toThrow("got no rng; pass new Rng(seed)");
    expect(() => loader(data, { batch: 1, sise: 2 } as never)).toThrow('unknown option, got "sise"');
    expect(() => loader({ ...data, z: [1, 2] }, { batch: 1 })).toThrow(
      "fields differ in length, got x: 4, y: 4, z: 2",
    );
    expect(() => loader(null as never, { batch: 1 })).toThrow(
      "a data set must be columns or { length, get }, got null",
    );
    expect(() => loader(data, { batch: 1, shuffle: true, rng: 5 as never })).toThrow(
      "option rng must be an Rng such as new Rng(1), got 5",
    );
    expect(() => loader({}, { batch: 1 })).toThrow("at least one field");
    expect(() => loader({ x: tensor(1) }, { batch: 1 })).toThrow('got () for "x"');
    for (const large of [{ x: zeros([2 ** 32 - 1, 0]) }, { length: 2 ** 31, get: () => ({}) }]) {
      expect(() => loader(large as never, { batch: 1 })).toThrow(
        /^loader: a data set must hold fewer than 2\^31 examples, got \d+; load parts of it$/,
      );
    }
    const rng = new Rng(1);
    const { counter } = rng.state;
    loader(data, { batch: 1, rng });
    expect(rng.state.counter).toBe(counter);
    expect(() => loader({ length: -1, get: () => ({}) }, { batch: 1 })).toThrow("got -1");
    await expect(collect(loader({ x: [[1], [1, 2]] }, { batch: 2 }))).rejects.toThrow(
      'field "x" differs between examples',
    );
    await expect(collect(loader({ x: [1, "a"] }, { batch: 2 }))).rejects.toThrow('got "a" at index 1');
    const load = loader(data, { batch: 1 });
    expect(() => {
      load.state = { ...load.state, position: 9 };
    }).toThrow("position in [0, 4]");
  });
});
