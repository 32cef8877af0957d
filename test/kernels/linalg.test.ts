import { Rng } from "bitgrad";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cholesky, inverseFactor, invertLower, solveFactored } from "../../kernels/linalg/cholesky.ts";
import { eigh } from "../../kernels/linalg/eigh.ts";
import { svd } from "../../kernels/linalg/svd.ts";

const eps = Number.EPSILON;
/** What rounding does to the smallest numbers there are. */
const floor = 100 * Number.MIN_VALUE;

/** (m, n) = op(a) op(b), in plain loops. */
function product(a: Float64Array, b: Float64Array, m: number, n: number, k: number): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++)
    for (let p = 0; p < k; p++) for (let j = 0; j < n; j++) out[i * n + j] += a[i * k + p] * b[p * n + j];
  return out;
}

const turned = (a: Float64Array, m: number, n: number): Float64Array =>
  Float64Array.from({ length: m * n }, (_, at) => a[(at % m) * n + Math.floor(at / m)]);

const norm = (a: Float64Array): number => {
  const most = a.reduce((top, value) => Math.max(top, Math.abs(value)), 0);
  return most === 0 ? 0 : most * Math.sqrt(a.reduce((sum, value) => sum + (value / most) ** 2, 0));
};
const difference = (a: Float64Array, b: Float64Array): number => norm(a.map((value, i) => value - b[i]));

const identity = (n: number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));

/** Rows of a (k, n) are orthonormal. */
function expectOrthonormal(rows: Float64Array, k: number, n: number): void {
  const gram = product(rows, turned(rows, k, n), k, k, n);
  expect(difference(gram, identity(k))).toBeLessThanOrEqual(20 * eps * Math.max(1, n));
}

const random = (m: number, n: number, seed: string): Float64Array => {
  const rng = new Rng(seed);
  return Float64Array.from({ length: m * n }, () => rng.next() * 2 - 1);
};

const symmetric = (a: Float64Array, n: number): Float64Array =>
  Float64Array.from(a, (value, at) => value + a[(at % n) * n + Math.floor(at / n)]);

/** X Xᵀ of more columns than rows, with `plus` on the diagonal. */
function definite(n: number, seed: string, plus = 0): Float64Array {
  const x = random(n, n + 3, seed);
  return product(x, turned(x, n, n + 3), n, n, n + 3).map((value, at) =>
    at % (n + 1) === 0 ? value + plus : value,
  );
}

const sizes = [1, 2, 3, 5, 8, 17, 64, 101];

/** Numbers as they come: of all magnitudes, zeros and repeats among them. */
const entries = (length: number, most = 1e6) =>
  fc.array(
    fc.oneof(
      fc.constantFrom(0, -0, 1, -1),
      fc.double({ min: -most, max: most, noNaN: true, noDefaultInfinity: true }),
      fc.double({ min: -1e-150, max: 1e-150, noNaN: true }),
    ),
    { minLength: length, maxLength: length },
  );

describe("cholesky", () => {
  it.each(sizes)("gives L Lᵀ = A of %i rows, and reads the lower triangle alone", (n) => {
    const a = definite(n, `cholesky ${n}`, 0.01);
    const l = a.map((value, at) => (at % n > Math.floor(at / n) ? Number.NaN : value));
    expect(cholesky(l, n)).toBe(n);
    expect(l.every((value, at) => at % n <= Math.floor(at / n) || value === 0)).toBe(true);
    expect(difference(product(l, turned(l, n, n), n, n, n), a)).toBeLessThanOrEqual(2 * n * eps * norm(a));
  });

  it.each(sizes)("and its inverse, and the factor of the inverse, of %i rows", (n) => {
    const a = definite(n, `inverse ${n}`, 1);
    const l = a.slice();
    cholesky(l, n);
    const inverse = l.slice();
    invertLower(inverse, n);
    const spread = norm(a) * norm(inverse) ** 2;
    expect(difference(product(inverse, l, n, n, n), identity(n))).toBeLessThanOrEqual(8 * n * eps * spread);

    const u = a.map((value, at) => (at % n > Math.floor(at / n) ? Number.NaN : value));
    expect(inverseFactor(u, n)).toBe(n);
    expect(u.every((value, at) => at % n >= Math.floor(at / n) || value === 0)).toBe(true);
    const both = product(turned(u, n, n), u, n, n, n);
    expect(difference(product(both, a, n, n, n), identity(n))).toBeLessThanOrEqual(8 * n * eps * spread);

    const x = random(n, 1, `x ${n}`);
    const b = product(a, x, n, 1, n);
    solveFactored(l, b, n);
    expect(difference(b, x)).toBeLessThanOrEqual(8 * n * eps * spread * norm(x));
  });

  it.each([
    ["zeros", [0], 1, 0],
    ["a negative pivot", [1, 0, 0, -1], 2, 1],
    ["rows that depend on each other", [1, 2, 2, 4], 2, 1],
    ["NaN", [1, 0, 0, Number.NaN], 2, 1],
    ["infinity", [Infinity, 0, 0, 1], 2, 0],
  ])("names the row at which it fails: %s", (_name, a, n, row) => {
    expect(cholesky(Float64Array.from(a), n)).toBe(row);
  });

  it("of the inverse too, by the row of A", () => {
    expect(inverseFactor(Float64Array.of(-1, 0, 0, 1), 2)).toBe(0);
    expect(inverseFactor(Float64Array.of(1, 0, 0, -1), 2)).toBe(1);
  });

  it("does nothing to a matrix of no rows", () => {
    expect(cholesky(new Float64Array(0), 0)).toBe(0);
    expect(inverseFactor(new Float64Array(0), 0)).toBe(0);
  });
});

function expectEigen(a: Float64Array, n: number): void {
  const before = a.slice();
  const { values, vectors } = eigh(a, n)!;
  expect(a).toEqual(before);
  expect(values.every((value, i) => i === 0 || values[i - 1] <= value)).toBe(true);
  expectOrthonormal(vectors, n, n);
  const scaled = vectors.map((value, at) => value * values[Math.floor(at / n)]);
  const back = product(turned(vectors, n, n), scaled, n, n, n);
  expect(difference(back, a)).toBeLessThanOrEqual(20 * Math.max(1, n) * eps * norm(a) + floor);
}

describe("eigh", () => {
  it.each(sizes)("takes a random matrix of %i rows apart", (n) => {
    expectEigen(symmetric(random(n, n, `eigh ${n}`), n), n);
  });

  it("takes apart whatever is symmetric", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }).chain((n) => fc.tuple(fc.constant(n), entries(n * n))),
        ([n, list]) => expectEigen(symmetric(Float64Array.from(list), n), n),
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  it.each([
    ["zeros", 4, new Float64Array(16)],
    ["equal values", 5, identity(5)],
    ["one direction", 6, new Float64Array(36).fill(1)],
    ["a diagonal", 3, Float64Array.of(3, 0, 0, 0, -2, 0, 0, 0, 1)],
    ["tridiagonal", 3, Float64Array.of(2, -1, 0, -1, 2, -1, 0, -1, 2)],
    ["numbers near the largest", 2, Float64Array.of(1e307, 5e306, 5e306, -1e307)],
    ["numbers near the smallest", 2, Float64Array.of(4e-308, 3e-308, 3e-308, 8e-308)],
  ])("of %s", (_name, n, a) => {
    expectEigen(a, n);
  });

  it("finds values that are known", () => {
    // The path of n points: 2 − 2 cos(k π / (n + 1)).
    const n = 50;
    const path = Float64Array.from({ length: n * n }, (_, at) => {
      const apart = Math.abs(Math.floor(at / n) - (at % n));
      return apart === 0 ? 2 : apart === 1 ? -1 : 0;
    });
    const { values } = eigh(path, n)!;
    values.forEach((value, k) => {
      expect(Math.abs(value - (2 - 2 * Math.cos(((k + 1) * Math.PI) / (n + 1))))).toBeLessThan(1e-14);
    });
  });

  it.each([
    [192, 96],
    [160, 64],
    [128, 1],
  ])("takes XᵀX of %i columns apart that has %i rows", (n, rows) => {
    const x = random(rows, n, `rows ${n} ${rows}`);
    expectEigen(product(turned(x, rows, n), x, n, n, rows), n);
  });

  it("reads the lower triangle alone", () => {
    const { values } = eigh(Float64Array.of(2, 7, 1, 2), 2)!;
    expect(values[0]).toBeCloseTo(1, 14);
    expect(values[1]).toBeCloseTo(3, 14);
  });

  it("refuses what is not finite, and has nothing to do for no rows", () => {
    expect(eigh(Float64Array.of(1, 0, 0, Number.NaN), 2)).toBe(null);
    expect(eigh(Float64Array.of(Infinity), 1)).toBe(null);
    expect(eigh(new Float64Array(0), 0)!.values).toHaveLength(0);
  });
});

function expectSvd(a: Float64Array, m: number, n: number): void {
  const k = Math.min(m, n);
  const before = a.slice();
  const { left, values, right } = svd(a, m, n)!;
  expect(a).toEqual(before);
  expect(values.every((value, i) => value >= 0 && (i === 0 || values[i - 1] >= value))).toBe(true);
  expectOrthonormal(left, k, m);
  expectOrthonormal(right, k, n);
  const scaled = right.map((value, at) => value * values[Math.floor(at / n)]);
  const back = product(turned(left, k, m), scaled, m, n, k);
  expect(difference(back, a)).toBeLessThanOrEqual(20 * Math.max(m, n, 1) * eps * norm(a) + floor);
}

describe("svd", () => {
  it.each([
    [1, 1],
    [4, 1],
    [1, 4],
    [5, 3],
    [3, 5],
    [8, 8],
    [33, 17],
    [17, 64],
    [101, 64],
  ])("takes a random matrix of %i by %i apart", (m, n) => {
    expectSvd(random(m, n, `svd ${m} ${n}`), m, n);
  });

  it("takes apart whatever there is", () => {
    fc.assert(
      fc.property(
        fc
          .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))
          .chain(([m, n]) => fc.tuple(fc.constant(m), fc.constant(n), entries(m * n))),
        ([m, n, list]) => expectSvd(Float64Array.from(list), m, n),
      ),
      { seed: 1, numRuns: 300 },
    );
  });

  it.each([
    ["zeros", 3, 2, new Float64Array(6)],
    ["rank one", 5, 4, new Float64Array(20).fill(3)],
    ["products that vanish", 3, 3, Float64Array.of(0, 0, 0, 0, 0, 0, -5e-324, 0, 1)],
    ["squares that vanish", 3, 3, Float64Array.of(0, 0, 0, 0, 0, 0, 0.25, 0, 4e-163)],
    ["a column of zeros", 3, 3, Float64Array.of(1, 0, 2, 3, 0, 4, 5, 0, 7)],
    ["numbers near the largest", 2, 2, Float64Array.of(1e307, 2e306, -3e306, 1e307)],
    ["numbers near the smallest", 2, 2, Float64Array.of(4e-308, 3e-308, 1e-308, 8e-308)],
  ])("of %s", (_name, m, n, a) => {
    expectSvd(a, m, n);
  });

  it("finds small values beside large ones", () => {
    // Orthogonal factors around 1, 1e-3, …, 1e-12.
    const n = 5;
    const factor = (seed: string) => eigh(symmetric(random(n, n, seed), n), n)!.vectors;
    const [u, v] = [factor("u"), factor("v")];
    const known = Float64Array.from({ length: n }, (_, i) => 10 ** (-3 * i));
    const a = product(
      turned(u, n, n),
      v.map((value, at) => value * known[Math.floor(at / n)]),
      n,
      n,
      n,
    );
    svd(a, n, n)!.values.forEach((value, i) => {
      expect(Math.abs(value - known[i])).toBeLessThan(8 * eps);
    });
  });

  it("refuses what is not finite, and has nothing to do for nothing", () => {
    expect(svd(Float64Array.of(1, Number.NaN), 1, 2)).toBe(null);
    expect(svd(new Float64Array(0), 0, 3)!.values).toHaveLength(0);
    expect(svd(new Float64Array(0), 3, 0)!.values).toHaveLength(0);
  });
});
