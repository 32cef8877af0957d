import { createRequire } from "node:module";
import fc from "fast-check";
import seedrandom from "seedrandom";
import { describe, expect, it } from "vitest";
import { OptionError } from "../src/errors.ts";
import { defineOp, scope, type Tensor, zeros } from "../src/index.ts";
import { sampleToken } from "../src/generation/sample.ts";
import { defaultRng, manualSeed } from "../src/random/default.ts";
import { normalQuantile } from "../kernels/random/quantile.ts";
import { threefry } from "../kernels/random/threefry.ts";
import { Rng, type RngState } from "../src/random/rng.ts";
import { defaultStream, RandomStream } from "../src/random/threefry.ts";

const hex = (words: ArrayLike<number>) => Array.from(words, (w) => w.toString(16).padStart(8, "0"));

const draw = <A extends Float32Array | Float64Array | Uint32Array | Uint8Array | Int32Array>(
  out: A,
  fill: (out: A) => void,
): A => {
  fill(out);
  return out;
};

/** Largest distance between the empirical distribution of `sample` and `cdf`, times √n. */
function kolmogorovSmirnov(sample: ArrayLike<number>, cdf: (x: number) => number): number {
  const sorted = Float64Array.from(sample).sort();
  const n = sorted.length;
  let worst = 0;
  for (let i = 0; i < n; i++) {
    const p = cdf(sorted[i]);
    worst = Math.max(worst, p - i / n, (i + 1) / n - p);
  }
  return worst * Math.sqrt(n);
}

/** Pearson's statistic of equally likely cells, in standard deviations above its mean. */
function chiSquareExcess(counts: number[]): number {
  const total = counts.reduce((a, b) => a + b);
  const expected = total / counts.length;
  const statistic = counts.reduce((sum, c) => sum + (c - expected) ** 2 / expected, 0);
  const freedom = counts.length - 1;
  return (statistic - freedom) / Math.sqrt(2 * freedom);
}

function moments(x: ArrayLike<number>): { mean: number; variance: number } {
  const n = x.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += x[i] / n;
  let variance = 0;
  for (let i = 0; i < n; i++) variance += (x[i] - mean) ** 2 / (n - 1);
  return { mean, variance };
}

/** Standard normal distribution function by the series of Φ(x) - ½, good to 1e-12 for |x| < 6. */
function normalCdf(x: number): number {
  let term = x;
  let sum = x;
  for (let k = 3; k < 300; k += 2) {
    term *= (x * x) / k;
    sum += term;
  }
  return 0.5 + (sum * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);
}

describe("threefry", () => {
  it.each([
    [
      [0, 0],
      [0, 0],
      ["6b200159", "99ba4efe"],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      ["1cb996fc", "bb002be7"],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      ["c4923a9c", "483df7a0"],
    ],
  ])("gives the known answer of Random123 for key %j and counter %j", (key, counter, answer) => {
    const out = new Uint32Array(2);
    threefry(key[0], key[1], counter[0], counter[1], out);
    expect(hex(out)).toEqual(answer);
  });
});

describe("normalQuantile", () => {
  it.each([
    [0.5, 0.0],
    [0.3, -0.5244005127080407],
    [0.92, 1.4050715603096327],
    [0.99, 2.3263478740408408],
    [0.0001, -3.71901648545568],
    [1e-9, -5.9978070150076865],
    [1e-12, -7.034483825301132],
    [1.1102230246251565e-16, -8.209536151601386],
    [0.9999999999990905, 7.047700256664409],
  ])("maps %d to %d", (p, x) => {
    expect(Math.abs(normalQuantile(p) - x)).toBeLessThanOrEqual(1e-15 * Math.abs(x));
  });
});

describe("Rng seeds", () => {
  it("takes its key from seedrandom", () => {
    const source = seedrandom("bitgrad");
    expect(new Rng("bitgrad").state.key).toEqual([source.int32() >>> 0, source.int32() >>> 0]);
  });

  it("tells a number from its text, as seedrandom does", () => {
    const ofNumber = createRequire(import.meta.url)("seedrandom")(1);
    expect(new Rng(1).state.key[0]).toBe(ofNumber.int32() >>> 0);
    expect(new Rng(1).state.key).not.toEqual(new Rng("1").state.key);
  });

  it("gives these bits for seed 0 in every engine and version", () => {
    const rng = new Rng(0);
    const words = draw(new Uint32Array(3), (out) => rng.fillUint32(out));
    const normals = draw(new Float64Array(3), (out) => rng.fillNormal(out));
    expect([hex(words), hex(new Uint32Array(normals.buffer))]).toMatchInlineSnapshot(`
      [
        [
          "e5140f94",
          "38e351e6",
          "519c3616",
        ],
        [
          "60e2ad16",
          "bfd91fea",
          "f70e9dd9",
          "bfb9ab93",
          "4b6d52ce",
          "3ffdf69b",
        ],
      ]
    `);
  });

  it.each([Number.NaN, Infinity, {}, null, undefined, 1n, true])("refuses the seed %s", (seed) => {
    expect(() => new Rng(seed as number)).toThrow(OptionError);
    expect(() => new Rng(seed as number)).toThrow(/^Rng: a seed must be a string or a finite number, got /);
  });
});

describe("Rng state", () => {
  const actions: Record<string, (rng: Rng) => unknown> = {
    next: (rng) => rng.next(),
    uint32: (rng) => rng.uint32(),
    words: (rng) => draw(new Uint32Array(5), (out) => rng.fillUint32(out)),
    uniform32: (rng) => draw(new Float32Array(7), (out) => rng.fillUniform(out, -1, 3)),
    uniform64: (rng) => draw(new Float64Array(3), (out) => rng.fillUniform(out)),
    normal32: (rng) => draw(new Float32Array(3), (out) => rng.fillNormal(out)),
    normal64: (rng) => draw(new Float64Array(3), (out) => rng.fillNormal(out, 1, 2)),
    int: (rng) => draw(new Int32Array(9), (out) => rng.fillInt(out, -3, 2 ** 31 - 5)),
    bernoulli: (rng) => draw(new Uint8Array(9), (out) => rng.fillBernoulli(out, 0.3)),
    permutation: (rng) => rng.permutation(11),
    fork: (rng) => rng.fork().next(),
  };
  const steps = fc.array(fc.constantFrom(...Object.keys(actions)), { maxLength: 12 });

  it("resumes a mixed sequence bit for bit after a trip through JSON", () => {
    fc.assert(
      fc.property(fc.string(), steps, steps, (seed, before, after) => {
        const rng = new Rng(seed);
        for (const step of before) actions[step](rng);
        const saved: RngState = JSON.parse(JSON.stringify(rng.state));
        const expected = after.map((step) => actions[step](rng));
        const resumed = new Rng("another");
        resumed.state = saved;
        expect(after.map((step) => actions[step](resumed))).toEqual(expected);
        expect(resumed.state).toEqual(rng.state);
      }),
    );
  });

  it("is a copy that later draws leave alone", () => {
    const rng = new Rng(1);
    const saved = rng.state;
    rng.next();
    expect(saved.counter).toBe(0);
  });

  it.each([
    null,
    {},
    { algorithm: "threefry2x32-20", key: [1], counter: 0 },
    { algorithm: "threefry2x32-20", key: [1, -1], counter: 0 },
    { algorithm: "threefry2x32-20", key: [1, 2], counter: 0.5 },
    { algorithm: "threefry2x32-20", key: [1, 2], counter: 2 ** 53 },
    { algorithm: "pcg", key: [1, 2], counter: 0 },
  ])("refuses %j", (state) => {
    expect(() => {
      new Rng(1).state = state as unknown as RngState;
    }).toThrow(OptionError);
  });

  it("refuses to run past the last counter", () => {
    const rng = new Rng(1);
    rng.state = { ...rng.state, counter: Number.MAX_SAFE_INTEGER };
    expect(() => rng.next()).toThrow("next: the generator has no counters left");
  });

  it("keeps counters above 2^32 apart", () => {
    const rng = new Rng(1);
    const first = rng.uint32();
    rng.state = { ...rng.state, counter: 2 ** 32 };
    expect(rng.uint32()).not.toBe(first);
  });
});

describe("Rng fills", () => {
  it("split at an even element without a trace, across the internal pieces", () => {
    for (const [n, m] of [
      [2, 3],
      [2048, 5],
      [2046, 4099],
    ]) {
      const whole = draw(new Float32Array(n + m), (out) => new Rng(3).fillNormal(out));
      const rng = new Rng(3);
      const parts = [new Float32Array(n), new Float32Array(m)];
      for (const part of parts) rng.fillNormal(part);
      expect([...parts[0], ...parts[1]]).toEqual([...whole]);
    }
  });

  it("split anywhere in float64, where next() is the fill of one", () => {
    const whole = draw(new Float64Array(9), (out) => new Rng(3).fillUniform(out));
    const rng = new Rng(3);
    const head = draw(new Float64Array(5), (out) => rng.fillUniform(out));
    expect([...head, rng.next(), rng.next(), rng.next(), rng.next()]).toEqual([...whole]);
  });

  it("takes word i mod 2 of counter c + ⌊i / 2⌋", () => {
    const rng = new Rng(8);
    rng.next();
    const { key } = rng.state;
    const words = draw(new Uint32Array(5), (out) => rng.fillUint32(out));
    const pair = new Uint32Array(2);
    words.forEach((word, i) => {
      threefry(key[0], key[1], 1 + Math.floor(i / 2), 0, pair);
      expect(word).toBe(pair[i % 2]);
    });
    expect(rng.state.counter).toBe(4);
  });

  it("draws uniforms that pass a Kolmogorov-Smirnov test", () => {
    for (const out of [new Float32Array(50_000), new Float64Array(50_000)]) {
      new Rng("uniform").fillUniform(out, -2, 6);
      expect(kolmogorovSmirnov(out, (x) => (x + 2) / 8)).toBeLessThan(1.63);
      const { mean, variance } = moments(out);
      expect(Math.abs(mean - 2)).toBeLessThan(0.03);
      expect(Math.abs(variance / (64 / 12) - 1)).toBeLessThan(0.02);
    }
  });

  it("draws normals that pass a Kolmogorov-Smirnov test", () => {
    for (const out of [new Float32Array(50_000), new Float64Array(50_000)]) {
      new Rng("normal").fillNormal(out, 5, 3);
      expect(kolmogorovSmirnov(out, (x) => normalCdf((x - 5) / 3))).toBeLessThan(1.63);
      const { mean, variance } = moments(out);
      expect(Math.abs(mean - 5)).toBeLessThan(0.04);
      expect(Math.abs(variance / 9 - 1)).toBeLessThan(0.02);
    }
  });

  it("draws normals by an inverse of the distribution function that is exact to double precision", () => {
    // The float64 draw's probability is known from its words, so the quantile can be put back through the cdf.
    const rng = new Rng("quantile");
    const { key } = rng.state;
    const x = draw(new Float64Array(2000), (out) => rng.fillNormal(out));
    const words = new Uint32Array(2);
    x.forEach((value, i) => {
      threefry(key[0], key[1], i, 0, words);
      const p = ((words[0] >>> 6) * 2 ** 26 + (words[1] >>> 6) + 0.5) * 2 ** -52;
      expect(Math.abs(normalCdf(value) - p)).toBeLessThan(2e-15);
    });
  });

  it("never reaches the upper bound, whatever the rounding", () => {
    fc.assert(
      fc.property(
        fc.float({ noNaN: true, noDefaultInfinity: true, min: -(2 ** 100), max: 2 ** 100 }),
        fc.nat(3),
        fc.nat(1000),
        (lo, ulps, seed) => {
          const bound = Float32Array.of(lo);
          const word = new Uint32Array(bound.buffer);
          word[0] += ulps * (lo < 0 ? -1 : 1);
          const hi = bound[0];
          fc.pre(lo < hi);
          const out = draw(new Float32Array(64), (array) => new Rng(seed).fillUniform(array, lo, hi));
          expect(out.every((v) => v >= lo && v < hi)).toBe(true);
        },
      ),
    );
    const tight = draw(new Float64Array(500), (out) => new Rng(1).fillUniform(out, 1, 1 + 2 ** -52));
    expect(tight.every((v) => v === 1)).toBe(true);
    const negative = draw(new Float64Array(500), (out) => new Rng(1).fillUniform(out, -1 - 2 ** -52, -1));
    expect(negative.every((v) => v === -1 - 2 ** -52)).toBe(true);
    expect([...draw(new Float32Array(3), (out) => new Rng(1).fillUniform(out, 2, 2))]).toEqual([2, 2, 2]);
  });

  it("takes the remainder of each word, whatever the range", () => {
    const words = draw(new Uint32Array(20_000), (out) => new Rng("rest").fillUint32(out));
    for (const range of [
      1,
      2,
      3,
      7,
      1000,
      65_537,
      2 ** 24 + 1,
      2 ** 31 - 1,
      2 ** 31,
      2 ** 31 + 1,
      2 ** 32 - 1,
      2 ** 32,
    ]) {
      const got = draw(new Uint32Array(words.length), (out) => new Rng("rest").fillInt(out, 0, range));
      const limit = 2 ** 32 - (2 ** 32 % range);
      expect(got.findIndex((value, i) => words[i] < limit && value !== words[i] % range)).toBe(-1);
      expect(got.findIndex((value) => value >= range)).toBe(-1);
    }
  });

  it("draws integers that are equally likely, for ranges that do not divide 2^32", () => {
    const counts = new Array<number>(7).fill(0);
    for (const v of draw(new Int32Array(70_000), (out) => new Rng("int").fillInt(out, -3, 4)))
      counts[v + 3]++;
    expect(chiSquareExcess(counts)).toBeLessThan(3);
    // With 3·2^30 a plain remainder would put two thirds of the draws in the lower half.
    const wide = draw(new Uint32Array(20_000), (out) => new Rng("int").fillInt(out, 0, 3 * 2 ** 30));
    expect(Math.abs(wide.filter((v) => v < 3 * 2 ** 29).length / 20_000 - 0.5)).toBeLessThan(0.015);
    expect(wide.every((v) => v < 3 * 2 ** 30)).toBe(true);
  });

  it("spans every value of an integer type", () => {
    const bytes = draw(new Uint8Array(5000), (out) => new Rng(2).fillInt(out, 0, 256));
    expect(new Set(bytes).size).toBe(256);
    const words = draw(new Int32Array(100), (out) => new Rng(2).fillInt(out, -(2 ** 31), 2 ** 31));
    expect(words.some((v) => v < 0) && words.some((v) => v > 0)).toBe(true);
  });

  it("draws ones at the asked probability", () => {
    const share = (p: number) =>
      draw(new Uint8Array(40_000), (out) => new Rng("p").fillBernoulli(out, p)).reduce((a, b) => a + b) /
      40_000;
    expect(share(0)).toBe(0);
    expect(share(1)).toBe(1);
    expect(Math.abs(share(0.1) - 0.1)).toBeLessThan(0.006);
  });

  it("shuffles into every order equally often and keeps every element", () => {
    const counts = new Map<string, number>();
    const rng = new Rng("shuffle");
    for (let i = 0; i < 24_000; i++) {
      const order = rng.shuffle(["a", "b", "c", "d"]).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    expect(chiSquareExcess([...counts.values()])).toBeLessThan(3);
    expect([...rng.permutation(5000)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 5000 }, (_, i) => i),
    );
    expect(rng.permutation(0).length).toBe(0);
  });

  it("forks streams unlike their parent's and one another", () => {
    const rng = new Rng(1);
    const words = [rng.fork(), rng.fork(), rng].map((r) =>
      draw(new Uint32Array(1000), (out) => r.fillUint32(out)),
    );
    expect(new Set(words.flatMap((w) => [...w])).size).toBeGreaterThan(2990);
  });

  it.each<[string, (rng: Rng) => void]>([
    ["fillUniform", (rng) => rng.fillUniform(new Float32Array(1), 1, 0)],
    ["fillUniform", (rng) => rng.fillUniform(new Float32Array(1), Number.NaN, 0)],
    ["fillUniform", (rng) => rng.fillUniform(new Float32Array(1), 0, 1e300)],
    ["fillUniform", (rng) => rng.fillUniform(new Float64Array(1), -1e308, 1e308)],
    ["fillNormal", (rng) => rng.fillNormal(new Float32Array(1), 0, -1)],
    ["fillNormal", (rng) => rng.fillNormal(new Float32Array(1), Number.NaN, 1)],
    ["fillInt", (rng) => rng.fillInt(new Int32Array(1), 2, 2)],
    ["fillInt", (rng) => rng.fillInt(new Int32Array(1), 0, 1.5)],
    ["fillInt", (rng) => rng.fillInt(new Int8Array(1), 0, 129)],
    ["fillInt", (rng) => rng.fillInt(new Uint32Array(1), -1, 1)],
    ["fillBernoulli", (rng) => rng.fillBernoulli(new Uint8Array(1), 1.1)],
    ["fillBernoulli", (rng) => rng.fillBernoulli(new Uint8Array(1), Number.NaN)],
    ["permutation", (rng) => rng.permutation(-1)],
  ])("%s names itself when its arguments are out of range (%#), and draws nothing", (name, call) => {
    const rng = new Rng(1);
    expect(() => call(rng)).toThrow(OptionError);
    expect(() => call(rng)).toThrow(new RegExp(`^${name}: `));
    expect(rng.state.counter).toBe(0);
  });
});

describe("the stream of draws that name none", () => {
  it("begins as that of seed 0, and goes on where single draws left it", () => {
    const before = defaultStream.rng;
    try {
      defaultStream.rng = new RandomStream([163575421, 4041460903]);
      const drawn = [defaultStream.rng.next(), defaultStream.rng.next()];
      const zero = new Rng(0);
      expect(drawn).toEqual([zero.next(), zero.next()]);
      const whole = defaultRng();
      expect(whole.state).toEqual(zero.state);
      expect(whole.fork().state.key).toEqual(zero.fork().state.key);
      // From then on single draws and fills share one generator.
      expect(defaultRng()).toBe(whole);
      expect(defaultStream.rng).toBe(whole);
    } finally {
      defaultStream.rng = before;
    }
  });

  it("is shared by sampling and manualSeed", () => {
    const logits = Float32Array.from({ length: 100 }, (_, i) => Math.sin(i));
    const sample = () => Array.from({ length: 20 }, () => sampleToken(logits));
    manualSeed(7);
    const first = sample();
    manualSeed(7);
    expect(sample()).toEqual(first);
    const rng = new Rng(7);
    expect(Array.from(first, () => sampleToken(logits, { rng }))).toEqual(first);
  });
});

describe("an op that draws", () => {
  it("draws the same numbers where it begins anew because the memory has to grow first", () => {
    const rng = new Rng("anew");
    const noise = defineOp("noise", {
      shape: ([x]) => x as Tensor,
      forward(out) {
        const numbers = new Float32Array(2 ** 23);
        rng.fillNormal(numbers);
        out.set(numbers.subarray(0, out.length));
      },
    });
    const got = scope(() => [...noise(zeros([100])).data]);
    expect(rng.state.counter).toBe(2 ** 22);
    const want = draw(new Float32Array(100), (out) => new Rng("anew").fillNormal(out));
    expect(got).toEqual([...want]);
  });
});
