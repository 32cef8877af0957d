import { concat, Rng, randn, type Tensor, tensor } from "bitgrad";
import { clone } from "bitgrad/nn";
import {
  aciqObserver,
  chooseParams,
  entropy,
  fakeQuantize,
  histogram,
  minMax,
  movingAverage,
  mse,
  type Observer,
  percentile,
  type QuantSpec,
  spec,
} from "bitgrad/quant";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { undoing } from "../../src/changes.ts";
import { type Case, readSuite } from "../golden/case.ts";

type Make = (spec: QuantSpec) => Observer;
const makers: Record<string, Make> = { minMax, percentile, mse, histogram, entropy, aciqObserver };
const counting = Object.entries(makers).filter(([name]) => name !== "minMax");

const int = (bits: number): QuantSpec => spec({ bits, granularity: "tensor" });
const affine = (bits = 8): QuantSpec => spec({ bits, scheme: "affine", granularity: "tensor" });

const fed = (make: Make, given: QuantSpec, batches: readonly Tensor[]): Observer => {
  const observer = make(given);
  for (const batch of batches) observer.observe(batch);
  return observer;
};

/** Mean squared error of what an observer chose, over the numbers that it saw. */
const errorAfter = (make: Make, given: QuantSpec, batches: readonly Tensor[]): number => {
  const all = concat(batches.map((batch) => batch.reshape([-1])));
  return all
    .sub(fakeQuantize(all, given, fed(make, given, batches).params()))
    .square()
    .mean()
    .item();
};

interface Settings {
  scheme: string;
  reduce_range?: boolean;
  quant_min?: number | null;
  quant_max?: number | null;
  ch_axis?: number;
  averaging_constant?: number;
  bins?: number;
}

const floats = (list: readonly (number | string)[]): number[] => list.map(Number);

describe("PyTorch's observers find the same scale and zero point", () => {
  /** PyTorch's zero point of symmetric codes without a sign is the middle one. */
  const unsigned = ({ params }: Case): boolean => params.scheme === "symmetric" && params.dtype === "quint8";

  const specOf = ({ params }: Case): QuantSpec => {
    const {
      scheme,
      reduce_range: reduced,
      quant_min: qmin,
      quant_max: qmax,
      ch_axis: axis,
    } = params as unknown as Settings;
    const layout =
      axis === undefined ? { granularity: "tensor" as const } : { granularity: "channel" as const, axis };
    const codes = (qmax ?? (reduced ? 127 : 255)) - (qmin ?? 0) + 1;
    const bits = qmin === -127 ? 8 : Math.log2(codes);
    if (!scheme.endsWith("symmetric")) return spec({ bits, scheme: "affine", ...layout });
    return spec({ bits, range: qmin === -127 ? "narrow" : "full", ...layout });
  };
  const makeOf = ({ op, params }: Case): Make => {
    const { averaging_constant: momentum = 0.01, bins = 2048 } = params as unknown as Settings;
    if (op.startsWith("moving_average")) return (given) => movingAverage(given, { momentum });
    return op === "histogram" ? (given) => histogram(given, { bins }) : minMax;
  };

  it.each(readSuite("observer").map((given) => [given.id, given] as const))("%s", (_id, given) => {
    const batches = Object.values(given.inputs).map(({ data, shape }) => tensor(floats(data), { shape }));
    const { scale, zeroPoint } = fed(makeOf(given), specOf(given), batches).params();
    const { rtol, atol } = given.tol;
    floats(given.outputs.scale.data).forEach((value, i) => {
      expect(Math.abs(scale.data[i] - value)).toBeLessThanOrEqual(atol + rtol * value);
    });
    const zeros = zeroPoint ? Array.from(zeroPoint.data) : [unsigned(given) ? 128 : 0];
    expect(zeros).toEqual(floats(given.outputs.zero_point.data));
  });
});

describe("what ranges are chosen from", () => {
  const normal = (n: number, seed = "normal"): Tensor => randn([n], { rng: new Rng(seed) });
  /** One number in a thousand is ten times as large. */
  const outliers = (n: number, seed = "normal"): Tensor => {
    const x = normal(n, seed);
    return tensor(x.data.map((value, i) => (i % 1000 === 0 ? 10 * value : value)));
  };

  it("percentiles are NumPy's, to within a bin", () => {
    const x = tensor(Float32Array.from({ length: 100 }, (_, i) => i + 1));
    const observer = percentile(affine(), { percent: 99, bins: 4096 });
    observer.observe(x);
    const { scale } = observer.params();
    // An affine range holds 0.
    expect(Math.abs(scale.item() * 255 - 99.01)).toBeLessThan(100 / 4096 + 1);
    const wide = fed((given) => percentile(given, { percent: 99.9 }), int(8), [normal(200_000)]);
    const sorted = Float32Array.from(normal(200_000).data as Float32Array).sort();
    const magnitude = Math.max(-sorted[200], sorted[199_800]);
    expect(wide.params().scale.item() * 127).toBeCloseTo(magnitude, 2);
  });

  it("the mean squared errors of the methods are as measured elsewhere, on 20,000 normal numbers", () => {
    const measured: [Tensor, number, Record<string, number>][] = [
      [normal(20_000), 8, { minMax: 8.37e-5, entropy: 1.12e-4, mse: 7.85e-5, percentile: 8.03e-5 }],
      [normal(20_000), 4, { minMax: 2.76e-2, entropy: 1.85e-2, mse: 1.3e-2, percentile: 2.62e-2 }],
    ];
    const named: Record<string, Make> = {
      ...makers,
      percentile: (given) => percentile(given, { percent: 99.99 }),
      entropy: (given) => entropy(given, { bins: 512 }),
    };
    for (const [x, bits, errors] of measured)
      for (const [name, error] of Object.entries(errors)) {
        const found = errorAfter(named[name], int(bits), [x]);
        expect(found / error, `${name} at ${bits} bits`).toBeGreaterThan(0.6);
        expect(found / error, `${name} at ${bits} bits`).toBeLessThan(1.6);
      }
  });

  it("outliers are kept at 8 bits, and clamped at 4, where the least error is looked for", () => {
    const errors = (bits: number) =>
      Object.fromEntries(
        Object.entries(makers).map(([name, make]) => [name, errorAfter(make, int(bits), [outliers(20_000)])]),
      );
    const [eight, four] = [errors(8), errors(4)];
    expect(eight.mse).toBeLessThanOrEqual(eight.minMax);
    expect(eight.entropy).toBeGreaterThan(2 * eight.minMax);
    expect(four.mse).toBeLessThan(0.3 * four.minMax);
    expect(four.entropy).toBeLessThan(0.3 * four.minMax);
    expect(four.histogram).toBeLessThan(four.minMax);
  });

  it("the least error is never above that of the whole range", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(2, 3, 4, 8),
        fc.boolean(),
        fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: 1, maxLength: 60 }),
        (bits, isAffine, list) => {
          const given = isAffine ? affine(bits) : int(bits);
          const x = [tensor(Float32Array.from(list))];
          // Within a bin numbers are not told apart.
          const bin = (Math.max(...list) - Math.min(...list)) / 2048;
          const [whole, least] = [errorAfter(minMax, given, x), errorAfter(mse, given, x)];
          expect(Math.sqrt(least)).toBeLessThanOrEqual(Math.sqrt(whole) + bin);
        },
      ),
      { seed: 1, numRuns: 200 },
    );
  });
});

describe.each(counting)("%s", (name, make) => {
  const parts = ["a", "b", "c"].map((seed, i) => randn([400], { rng: new Rng(seed) }).mul(i + 1));

  it("observes batches in any order, up to a few bins", () => {
    const [forth, back] = [parts, parts.toReversed()].map((batches) =>
      fed(make, int(8), batches).params().scale.item(),
    );
    expect(Math.abs(forth - back) / forth).toBeLessThan(0.02);
  });

  it("merges with another as if it had seen its batches", () => {
    const whole = fed(make, int(8), parts);
    const merged = fed(make, int(8), parts.slice(0, 1));
    merged.merge!(fed(make, int(8), parts.slice(1)));
    merged.merge!(make(int(8)));
    expect(merged.params().scale.item() / whole.params().scale.item()).toBeCloseTo(1, 1);
    const [empty, full] = [make(int(8)), fed(make, int(8), parts)];
    empty.merge!(full);
    expect(empty.params().scale.item()).toBe(full.params().scale.item());
  });

  it("takes a range of no width, zeros first, empty batches and one batch of one number", () => {
    for (const list of [[0], [0, 0, 0], [3, 3], [-2]]) {
      const { scale, zeroPoint } = fed(make, affine(), [tensor(list), tensor([])]).params();
      const x = tensor(list);
      const given = { scale, zeroPoint };
      expect(fakeQuantize(x, affine(), given).sub(x).abs().max().item()).toBeLessThanOrEqual(1e-6);
    }
    const late = fed(make, int(8), [tensor([0, 0]), tensor([-1, 1, 0.5, -0.5])])
      .params()
      .scale.item();
    expect(late).toBeGreaterThan(0);
    expect(late * 127).toBeLessThanOrEqual(1.01);
  });

  it("grows from the least to the largest numbers that there are", () => {
    const observer = fed(make, int(8), [tensor([1e-38, -1e-38]), tensor([1, -1]), tensor([1e38, -1e38])]);
    const scale = observer.params().scale.item();
    expect(scale).toBeGreaterThan(0);
    expect(scale).toBeLessThanOrEqual(1.01e38 / 127);
  });

  it("has a scale for each channel, what is in others left aside", () => {
    const given = spec({ bits: 8, granularity: "channel", axis: 1 });
    const rows = parts.map((part) => part.reshape([200, 2]).mul([1, 5]));
    const each = fed(make, given, rows).params().scale;
    expect(each.shape).toEqual([2]);
    [0, 1].forEach((k) => {
      const own = fed(
        make,
        int(8),
        rows.map((row) => row.slice([null, [k, k + 1]])),
      );
      expect(each.data[k]).toBe(own.params().scale.item());
    });
    expect(() => fed(make, given, [parts[0].reshape([100, 4]), rows[0]])).toThrow(
      "observer: batches must have equal channels, got (200, 2) after (100, 4)",
    );
  });

  it("refuses NaN and infinity unless they are clamped, and leaves what it knew", () => {
    const observer = fed(make, int(8), parts);
    const before = observer.params().scale.item();
    for (const odd of [Number.NaN, Infinity]) {
      expect(() => observer.observe(tensor([1, odd]))).toThrow("every element must be finite");
    }
    expect(observer.params().scale.item()).toBe(before);
    const clamped = spec({ bits: 8, granularity: "tensor", onNonFinite: "clamp" });
    expect(
      fed(make, clamped, [tensor([1, -1, Infinity, 0.5])])
        .params()
        .scale.item(),
    ).toBeLessThan(0.01);
  });

  it("is cloned with what it observed, and put back by what undoes a call", () => {
    const observer = fed(make, int(8), parts.slice(0, 1));
    const copy = clone(observer);
    const before = observer.params().scale.item();
    expect(() =>
      undoing(() => {
        observer.observe(parts[2].mul(100));
        expect(observer.params().scale.item()).toBeGreaterThan(before);
        throw new Error("undone");
      }),
    ).toThrow("undone");
    expect(observer.params().scale.item()).toBe(before);
    observer.observe(parts[2]);
    expect(copy.params().scale.item()).toBe(before);
  });

  it("refuses signs, other layouts and observers of other kinds", () => {
    expect(() => make(spec({ bits: 1, granularity: "tensor" }))).toThrow(`${name}: signs have no range`);
    expect(() => make(spec({ bits: 8, granularity: { group: 4 } }))).toThrow(
      "observer: needs one scale a tensor",
    );
    const observer = fed(make, int(8), parts);
    for (const other of [minMax(int(8)), make(int(4)), movingAverage(int(8)), {} as Observer]) {
      expect(() => observer.merge!(other)).toThrow(`${name}: can be merged with its own kind`);
    }
    expect(() => make(int(8)).params()).toThrow("observer: no batch was observed");
  });
});

describe("minMax and movingAverage", () => {
  const [a, b] = [tensor([1, -3]), tensor([2, 0.5])];

  it("merge exactly, or not at all", () => {
    const one = fed(minMax, affine(), [a]);
    one.merge!(fed(minMax, affine(), [b]));
    const all = chooseParams(concat([a, b]), affine());
    expect(one.params().scale.item()).toBe(all.scale.item());
    expect(() => movingAverage(affine()).merge!(movingAverage(affine()))).toThrow(
      'movingAverage: can be merged with none, since its batches have an order, got "movingAverage"',
    );
  });
});

describe("the options of observers", () => {
  it.each([
    [() => percentile(int(8), { percent: 50 }), "percentile: percent must lie in (50, 100], got 50"],
    [
      () => percentile(int(8), { percent: Number.NaN }),
      "percentile: option percent must be a number, got NaN",
    ],
    [() => percentile(int(8), { bins: 0 }), "percentile: bins must be an integer"],
    [() => histogram(int(8), { bins: 1e6 }), "histogram: bins must be at most 65536, got 1000000"],
    [() => mse(int(8), { norm: 0 }), "mse: norm must be positive, got 0"],
    [() => mse(int(8), { steps: 0 }), "mse: steps must be an integer"],
    [() => entropy(int(8), { bins: 200 }), "entropy: bins must be an integer"],
  ])("%s", (run, message) => {
    expect(run).toThrow(message);
  });
});
