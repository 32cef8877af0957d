/** Forms of 1-bit weights on one matrix: reference numbers, and what holds for every matrix. */

import { OptionError, Rng, randn, ShapeError, tensor } from "bitgrad";
import { type SignApproximationOptions, signApproximation } from "bitgrad/quant";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fitSigns, fitted, rowRuns, squaredError } from "../../src/quant/methods/one-bit/fit.ts";
import { residualSigns } from "../../src/quant/methods/one-bit/forms.ts";
import { groupedSigns } from "../../src/quant/methods/one-bit/grouping.ts";
import { splitSigns } from "../../src/quant/methods/one-bit/split.ts";

/** (8, 8): W_ij = ((29(8i + j) mod 61) − 30) / 20, column 3 times 4. */
const golden = Float64Array.from(
  { length: 64 },
  (_, i) => ((((29 * i) % 61) - 30) / 20) * (i % 8 === 3 ? 4 : 1),
);
const matrix = tensor(Array.from(golden), { shape: [8, 8], dtype: "float64" });
const errorOf = (options: Partial<SignApproximationOptions>): number =>
  signApproximation(matrix, options).squaredError;

/** Matrices of numbers of several magnitudes, zeros and ties among them. */
const matrices = fc
  .tuple(
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 1, max: 9 }),
    fc.infiniteStream(fc.integer({ min: -12, max: 12 })),
  )
  .map(([rows, columns, stream]) => ({
    rows,
    columns,
    w: Float64Array.from({ length: rows * columns }, () => {
      const { value } = stream.next();
      return value % 5 === 0 ? value * 3 : value / 7;
    }),
  }));
const slack = (w: Float64Array): number => 1e-12 * w.reduce((sum, v) => sum + v * v, 1);

describe("on the reference matrix", () => {
  it("has the matrix itself right", () => {
    expect(Array.from(golden.subarray(0, 8))).toEqual([-1.5, -0.05, 1.4, -0.8, 1.25, -0.35, 1.1, -0.5]);
    expect(golden.reduce((sum, w) => sum + w * w, 0)).toBeCloseTo(146.775, 9);
  });

  it("fits rows by scales, with means, and by ARB's turns", () => {
    expect(errorOf({})).toBeCloseTo(72.90875, 5);
    const turns = [0, 1, 2, 5, 15].map((iterations) => errorOf({ form: "centered", iterations }));
    for (const [i, want] of [52.34334, 44.808015, 43.502091, 37.963087, 37.770127].entries()) {
      expect(turns[i]).toBeCloseTo(want, 5);
    }
    const start = fitSigns(golden, rowRuns(8, 8), { centered: true, iterations: 0 });
    const end = fitSigns(golden, rowRuns(8, 8), { centered: true, iterations: 15 });
    expect([start.mean[0], start.scale[0]]).toEqual([
      expect.closeTo(0.06875, 9),
      expect.closeTo(0.8859375, 9),
    ]);
    expect([end.mean[0], end.scale[0]]).toEqual([expect.closeTo(0.305, 6), expect.closeTo(0.945, 6)]);
  });

  it("fits rows and columns by ARB-RC", () => {
    const turns = [0, 1, 2, 5].map((iterations) => errorOf({ form: "rowColumn", iterations }));
    for (const [i, want] of [28.939226, 19.291658, 18.450979, 18.4355].entries()) {
      expect(turns[i]).toBeCloseTo(want, i < 3 ? 5 : 4);
    }
  });

  it("orders the forms as ARB-LLM does: scales, ARB, ARB-RC", () => {
    const [rows, arb, both] = [errorOf({}), errorOf({ form: "centered" }), errorOf({ form: "rowColumn" })];
    expect(rows).toBeGreaterThan(arb);
    expect(arb).toBeGreaterThan(both);
  });

  it("fits two orders of signs", () => {
    expect(errorOf({ form: "residual", iterations: 0 })).toBeCloseTo(22.958574, 5);
    expect(errorOf({ form: "residual" })).toBeLessThan(22.958574);
  });

  it("splits columns and magnitudes as BiLLM's search does", () => {
    const { salient, threshold, values } = splitSigns(golden, 8, 8);
    expect(salient).toEqual([3, 0, 7]);
    expect(threshold).toBeCloseTo(0.71, 9);
    // The released sign of 0 is 0, which no bit stands for: it leaves two numbers at their mean, and 1.55749 in all.
    expect(squaredError(golden, values)).toBeCloseTo(1.55749 + 0.02, 5);
    const rest = Uint8Array.from(golden, (_, i) => (salient.includes(i % 8) ? 0 : 1));
    const plain = [
      residualSigns(
        golden,
        8,
        8,
        2,
        rest.map((r) => 1 - r),
      ),
      residualSigns(golden, 8, 8, 1, rest),
    ];
    expect(
      squaredError(
        golden,
        plain[0].map((v, i) => v + plain[1][i]),
      ),
    ).toBeCloseTo(4.558755, 5);
  });

  it("groups magnitudes at least error, and greedily", () => {
    const groups = [1, 2, 3, 4, 8];
    const least = groups.map((n) => errorOf({ form: "grouped", groups: n }));
    for (const [i, want] of [74.737344, 18.534695, 9.162379, 4.201046, 0.640373].entries()) {
      expect(least[i]).toBeCloseTo(want, 5);
    }
    expect(groupedSigns(golden, 4, null).ends).toEqual([29, 59, 62, 64]);
    // The gaps are all multiples of 0.05: from windows of 1 ties decide what merging finds, and rounding the ties.
    expect(errorOf({ form: "grouped", window: 4 })).toBeCloseTo(7.992312, 5);
  });

  it("counts signs, scales and what tells the groups apart", () => {
    const bits = (options: Partial<SignApproximationOptions>) => signApproximation(matrix, options).bits;
    expect(bits({})).toBe(1 + 2);
    expect(bits({ form: "centered" })).toBe(1 + 4);
    expect(bits({ form: "rowColumn" })).toBe(1 + 4);
    expect(bits({ form: "residual" })).toBe(2 + 6);
    expect(bits({ form: "split" })).toBe(2 + 14 + 1 / 8);
    expect(bits({ form: "grouped" })).toBe(1 + 2 + 1);
  });
});

describe("on every matrix", () => {
  it("no turn of ARB makes the error of a row larger", () => {
    fc.assert(
      fc.property(matrices, ({ rows, columns, w }) => {
        const runs = rowRuns(rows, columns);
        let before = new Float64Array(rows).fill(Infinity);
        for (let iterations = 0; iterations < 6; iterations++) {
          const values = fitted(fitSigns(w, runs, { centered: true, iterations }), runs);
          const errors = Float64Array.from(runs, ([[from, to]]) =>
            squaredError(w.subarray(from, to), values.subarray(from, to)),
          );
          errors.forEach((error, i) => {
            expect(error).toBeLessThanOrEqual(before[i] + slack(w));
          });
          before = errors;
        }
      }),
    );
  });

  it.each(["rowColumn", "residual"] as const)("no turn of %s makes the error larger", (form) => {
    fc.assert(
      fc.property(matrices, ({ rows, columns, w }) => {
        const given = tensor(Array.from(w), { shape: [rows, columns], dtype: "float64" });
        const errors = [1, 2, 3, 8].map(
          (iterations) => signApproximation(given, { form, iterations }).squaredError,
        );
        for (let i = 1; i < errors.length; i++)
          expect(errors[i]).toBeLessThanOrEqual(errors[i - 1] + slack(w));
      }),
    );
  });

  it("groups by dynamic programming have at most the error of merged ones, and of any other ends", () => {
    fc.assert(
      fc.property(
        matrices,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        ({ w }, groups, window) => {
          const [least, merged] = [null, window].map((by) => groupedSigns(w, groups, by));
          expect(squaredError(w, least!.values)).toBeLessThanOrEqual(
            squaredError(w, merged!.values) + slack(w),
          );
          expect(least!.ends.length).toBe(Math.min(groups, w.length));
        },
      ),
    );
  });

  it("as many groups as magnitudes are exact", () => {
    const { values } = groupedSigns(golden, 64, null);
    expect(squaredError(golden, values)).toBeCloseTo(0, 12);
  });

  it.each(["rows", "centered", "rowColumn", "residual", "split", "grouped"] as const)(
    "%s takes zeros, one column, one row and a single number",
    (form) => {
      for (const shape of [
        [3, 4],
        [4, 1],
        [1, 4],
        [1, 1],
      ]) {
        const zeros = signApproximation(tensor(new Float32Array(shape[0] * shape[1]), { shape }), { form });
        expect(Array.from(zeros.values.data, Number).every((v) => v === 0)).toBe(true);
        const { values, squaredError } = signApproximation(randn(shape, { rng: new Rng(3) }), { form });
        expect(values.shape).toEqual(shape);
        expect(Number.isFinite(squaredError)).toBe(true);
      }
    },
  );

  it("refuses what is no matrix of finite numbers, and options that are none", () => {
    expect(() => signApproximation(tensor([1, 2]))).toThrow(ShapeError);
    expect(() => signApproximation(tensor([[1, Number.NaN]]))).toThrow(
      /weights must be finite, got NaN at index 1/,
    );
    expect(() => signApproximation(tensor([[1, -Infinity]]))).toThrow(OptionError);
    expect(() => signApproximation(matrix, { form: "best" as never })).toThrow(
      /form must be one of rows, centered/,
    );
    expect(() => signApproximation(matrix, { groups: 0 })).toThrow(
      /groups must be an integer of at least 1, got 0/,
    );
  });

  it("leaves a float64 matrix in float64", () => {
    expect(signApproximation(matrix).values.dtype).toBe("float64");
    expect(signApproximation(randn([2, 3])).values.dtype).toBe("float32");
  });
});
