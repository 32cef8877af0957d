import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { manualSeed, OptionError, Rng, randint, type Tensor } from "bitgrad";
import {
  byteTokenizer,
  encodeBatch,
  type LoaderOptions,
  lengthBatches,
  loader,
  normalizeImages,
  randomCrop,
  randomFlip,
} from "bitgrad/data";
import { Conv2d, crossEntropy, EmbeddingBag, Flatten, Linear, Sequential, stateDict } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import * as training from "bitgrad/train";
import { afterAll, describe, expect, expectTypeOf, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "bitgrad-loader-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function collect<B>(batches: AsyncIterable<B>): Promise<B[]> {
  const out: B[] = [];
  for await (const batch of batches) out.push(batch);
  return out;
}

const lengths = Array.from({ length: 23 }, (_, i) => 1 + ((i * 7) % 9));
const texts = lengths.map((length, i) => String.fromCharCode(97 + i).repeat(length));
const labels = Int32Array.from(lengths, (_, i) => i);
const numbered = { text: texts, y: labels };
const ids = (batches: readonly { y: Tensor }[]): number[][] => batches.map(({ y }) => Array.from(y.data));
const byLength = (rng: Rng) => lengthBatches(lengths, { tokens: 20, rng });

describe("a loader of batches that it is given", () => {
  it("hands out those of a list, epoch by epoch, whatever their sizes", async () => {
    const data = loader(numbered, { batches: [[3, 1], Int32Array.of(0), [2, 2, 5]] });
    expect(data.length).toBe(3);
    for (let epoch = 0; epoch < 2; epoch++) {
      const batches = await collect(data);
      expect(ids(batches)).toEqual([[3, 1], [0], [2, 2, 5]]);
      expect(batches[0].text).toEqual([texts[3], texts[1]]);
      expect(data.state).toMatchObject({ epoch: epoch + 1, position: 0 });
    }
  });

  it("draws batches of about one length anew every epoch, each example once", async () => {
    const make = () => loader(numbered, { batches: byLength, rng: new Rng("order") });
    const data = make();
    const epochs = [ids(await collect(data)), ids(await collect(data))];
    expect(data.length).toBe(epochs[0].length);
    for (const batches of epochs) {
      expect(batches.flat().sort((a, b) => a - b)).toEqual([...labels]);
      for (const rows of batches)
        expect(rows.length * Math.max(...rows.map((row) => lengths[row]))).toBeLessThanOrEqual(20);
    }
    expect(epochs[0]).not.toEqual(epochs[1]);
    const again = make();
    expect([ids(await collect(again)), ids(await collect(again))]).toEqual(epochs);
  });

  it("resumes at any batch with the very batches that would have come, in that epoch and the next", async () => {
    const make = () => loader(numbered, { batches: byLength, rng: new Rng("order") });
    const whole = make();
    const places = [JSON.stringify(whole.state)];
    const seen: number[][] = [];
    for (let epoch = 0; epoch < 3; epoch++) {
      for await (const { y } of whole) {
        seen.push(Array.from(y.data));
        places.push(JSON.stringify(whole.state));
      }
    }
    for (const [done, place] of places.entries()) {
      const resumed = make();
      resumed.state = JSON.parse(place);
      expect(JSON.stringify(resumed.state)).toBe(place);
      expect(resumed.length).toBe(whole.length);
      const rest: number[][] = [];
      while (resumed.state.epoch < 3) rest.push(...ids(await collect(resumed)));
      expect(rest).toEqual(seen.slice(done));
    }
  });

  it("tells how many batches an epoch has where they differ", async () => {
    const data = loader(numbered, {
      batches: (rng) => Array.from({ length: 1 + rng.permutation(4)[0] }, (_, i) => [i]),
      rng: new Rng(5),
    });
    const counts = new Set<number>();
    for (let epoch = 0; epoch < 12; epoch++) {
      const { length } = data;
      expect(await collect(data)).toHaveLength(length);
      counts.add(length);
    }
    expect(counts.size).toBeGreaterThan(1);
  });

  it("says what is wrong with them", () => {
    const wrong = (options: object, says: string) => {
      expect(() => loader(numbered, options as LoaderOptions).length).toThrow(OptionError);
      expect(() => loader(numbered, options as LoaderOptions).length).toThrow(says);
    };
    wrong({ batches: 5 }, "loader: batches must be lists of indices, such as lengthBatches gives, got 5");
    wrong({ batches: [[1], 2] }, "loader: a batch must be a list of indices, got 2 at 1");
    wrong({ batches: [[]] }, "loader: a batch must be a list of indices, got () at 0");
    wrong({ batches: [[0, 23]] }, "loader: batches must hold indices of 23 examples, got 23 in batch 0");
    wrong({ batches: [[undefined]] }, "got undefined in batch 0");
    wrong({ batches: [[0.5]] }, "got 0.5 in batch 0");
    wrong({ batches: byLength }, "a function that draws batches needs a generator, got no rng");
    wrong({ batches: () => null, rng: new Rng(1) }, "loader: batches must be lists of indices");
    for (const beside of [{ batch: 2 }, { shuffle: true, rng: new Rng(1) }, { dropLast: true }]) {
      const name = Object.keys(beside)[0];
      wrong(
        { batches: [[1]], ...beside },
        `batches alone says which examples come together, got ("${name}") beside it`,
      );
    }
    const data = loader(numbered, { batches: [[0, 1], [2]] });
    for (const position of [1, 4]) {
      expect(() => {
        data.state = { ...data.state, position };
      }).toThrow(`loader: a state's position must be where a batch begins, got ${position}`);
    }
  });
});

describe("a loader's transform", () => {
  it("gives what is handed out, with the types of its result, and may be asynchronous", async () => {
    const data = loader(numbered, {
      batch: 2,
      transform: async ({ text, y }) => ({ ...encodeBatch(byteTokenizer(), text), y }),
    });
    for await (const batch of data) {
      expectTypeOf(batch.ids).toEqualTypeOf<Tensor<"int32">>();
      expectTypeOf(batch.y).toEqualTypeOf<Tensor>();
      const longest = Math.max(...Array.from(batch.y.data, (i) => lengths[i]));
      expect(batch.ids.shape).toEqual([batch.y.size, longest]);
    }
    // @ts-expect-error: nothing can be drawn without a generator
    loader(numbered, { batch: 2, transform: ({ y }, rng) => rng.permutation(y.size) });
  });

  const drawing = (options: object, seed = "draws") =>
    loader(numbered, {
      ...options,
      rng: new Rng(seed),
      transform: ({ y }, rng) => ({ y, drawn: rng.permutation(1000)[0] }),
    });
  const told = (batches: readonly { y: Tensor; drawn: number }[]): string[] =>
    batches.map(({ y, drawn }) => `${y.data}: ${drawn}`);

  it.each([
    ["in order", { batch: 4 }],
    ["shuffled", { batch: 4, shuffle: true }],
    ["of like lengths", { batches: byLength }],
    ["of a list", { batches: [[1], [2, 3], [4]] }],
  ])(
    "draws other numbers for every batch and epoch, and those again that would have come: %s",
    async (_, options) => {
      const whole = drawing(options);
      const places = [JSON.stringify(whole.state)];
      const seen: string[] = [];
      const drawn = new Set<number>();
      for (let epoch = 0; epoch < 3; epoch++) {
        for await (const batch of whole) {
          seen.push(...told([batch]));
          drawn.add(batch.drawn);
          places.push(JSON.stringify(whole.state));
        }
      }
      expect(drawn.size).toBeGreaterThan(seen.length * 0.9);
      expect(told(await collect(drawing(options, "others")))).not.toEqual(seen.slice(0, whole.length));
      for (const [done, place] of places.entries()) {
        const resumed = drawing(options);
        resumed.state = JSON.parse(place);
        const rest: string[] = [];
        while (resumed.state.epoch < 3) rest.push(...told(await collect(resumed)));
        expect(rest).toEqual(seen.slice(done));
      }
    },
  );

  it("ends with the reason of an abort, and hands on what it throws", async () => {
    const stop = new AbortController();
    const waits = loader(numbered, {
      batch: 2,
      signal: stop.signal,
      transform: () => new Promise<number>(() => setTimeout(() => stop.abort(new Error("enough")), 0)),
    });
    await expect(collect(waits)).rejects.toThrow("enough");
    const fails = loader(numbered, {
      batch: 2,
      transform: () => {
        throw new Error("a bad text");
      },
    });
    await expect(collect(fails)).rejects.toThrow("a bad text");
    expect(fails.state).toMatchObject({ epoch: 0, position: 0 });
    expect(() => loader(numbered, { batch: 2, transform: 5 as never })).toThrow(
      "loader: transform must be a function, got 5",
    );
  });
});

describe("fit resumes bit for bit", () => {
  const images = {
    x: randint(0, 256, [24, 1, 6, 6], { rng: new Rng(1) }).to("uint8"),
    y: Int32Array.from({ length: 24 }, (_, i) => i % 3),
  };
  const pictures = () =>
    loader(images, {
      batch: 5,
      shuffle: true,
      rng: new Rng("images"),
      transform: ({ x, y }, rng) => {
        const moved = randomFlip(randomCrop(x, { padding: 1, rng }), { rng });
        return { x: normalizeImages(moved, { mean: 0.5, std: 0.25 }), y };
      },
    });
  const words = () =>
    loader(numbered, {
      batches: byLength,
      rng: new Rng("texts"),
      transform: ({ text, y }) => ({
        x: encodeBatch(byteTokenizer(), text).ids,
        y: y.remainder(3).to("int32"),
      }),
    });
  const convolution = () =>
    new Sequential(
      new Conv2d(1, 3, 3, { rng: new Rng(2) }),
      new Flatten(),
      new Linear(48, 3, { rng: new Rng(3) }),
    );
  const bag = () =>
    new Sequential(new EmbeddingBag(128, 3, { rng: new Rng(2) }), new Linear(3, 3, { rng: new Rng(3) }));

  it.each([
    ["images that are moved and mirrored", pictures, convolution],
    ["texts of like lengths", words, bag],
  ] as const)("with %s", async (name, make, model) => {
    const run = async (steps: number, path?: string) => {
      manualSeed(1);
      const net = model() as Sequential;
      const { losses } = await training.fit(net, {
        data: make() as AsyncIterable<{ x: Tensor; y: Tensor }>,
        loss: (m, { x, y }) => crossEntropy(m.forward(x), y),
        optimizer: optimizer(net, adamw({ lr: 0.01 })),
        steps,
        ...(path && { checkpoint: { path, resume: true } }),
      });
      return { losses, weights: Object.values(stateDict(net)).map((t) => Array.from(t.data)) };
    };
    const path = join(folder, `${name}.safetensors`);
    const whole = await run(14);
    for (const steps of [3, 5, 9, 14]) {
      const part = await run(steps, path);
      expect(part.losses).toEqual(whole.losses.slice(0, steps));
      if (steps === 14) expect(part).toEqual(whole);
    }
  });
});
