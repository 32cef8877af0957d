/** A calibration that fails leaves no trace. */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Rng, randn, tensor } from "bitgrad";
import { Linear, Sequential, stateDict } from "bitgrad/nn";
import { calibrate, histogram, int8Static, minMax, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const net = (config = int8Static()) =>
  prepare(
    new Sequential(new Linear(4, 3, { rng: new Rng(1) }), new Linear(3, 2, { rng: new Rng(2) })),
    plan({ default: config }),
  );
const large = randn([5, 4], { rng: new Rng(3) }).mul(100);
const small = randn([5, 4], { rng: new Rng(4) });
const state = (model: object) =>
  Object.fromEntries(Object.entries(stateDict(model)).map(([name, t]) => [name, Array.from(t.data)]));

/** Two batches, and then something else. */
async function* failing(last: () => unknown) {
  yield large;
  yield large;
  yield last();
}

describe("what a calibration saw before it failed is forgotten", () => {
  it.each<[string, () => unknown]>([
    [
      "batches that end in an error",
      () => {
        throw new RangeError("no more");
      },
    ],
    ["a batch of another shape", () => randn([5, 3])],
    ["a batch with NaN", () => tensor([[Number.NaN, 1, 2, 3]])],
  ])("after %s", async (_, last) => {
    const model = net();
    await expect(calibrate(model, failing(last))).rejects.toThrow();
    expect(state(model)).toEqual(state(net()));
    await calibrate(model, [small]);
    expect(state(model)).toEqual(state(await calibrate(net(), [small])));
  });

  it("after a scale that is none, of the last layer", async () => {
    let made = 0;
    const odd = int8Static({
      observer: (spec) => {
        const good = minMax(spec);
        if (++made < 2) return good;
        return { spec, observe: () => {}, params: () => ({ scale: tensor([-1]), zeroPoint: tensor([0]) }) };
      },
    });
    const model = net(odd);
    const before = state(model);
    await expect(calibrate(model, [large])).rejects.toThrow("positive scale");
    expect(state(model)).toEqual(before);
  });

  it("after batches that are none", async () => {
    const model = net();
    await expect(calibrate(model, [])).rejects.toThrow("at least one batch");
    expect(state(model)).toEqual(state(net()));
  });
});

it("keeps of an observer the state before the first of many batches alone", async () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const model = net(int8Static({ observer: histogram }));
  const used: number[] = [];
  async function* batches() {
    for (let i = 0; i <= 900; i++) {
      if (i % 300 === 0) {
        gc();
        const { heapUsed, arrayBuffers } = process.memoryUsage();
        used.push(heapUsed + arrayBuffers);
      }
      yield small;
    }
  }
  await calibrate(model, batches());
  // Histograms of two inputs before each batch would be 42 MB.
  expect(used[3] - used[1]).toBeLessThan(12e6);
});
