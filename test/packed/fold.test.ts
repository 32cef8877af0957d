import { noGrad, Rng, scope, setThreads, type Tensor, tanh, useBackend } from "bitgrad";
import {
  BatchNorm1d,
  BatchNorm2d,
  Conv2d,
  Dropout,
  evaluate,
  Linear,
  Sequential,
  type Step,
} from "bitgrad/nn";
import { loadPacked, PackedModel, type PackedSequential, PackedWeight } from "bitgrad/packed";
import {
  binarySigns,
  freeze,
  pack,
  plan,
  prepare,
  type QuantConfig,
  signInput,
  ternaryWeightOnly,
} from "bitgrad/quant";
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { packCodes } from "../../src/packed/file/codes.ts";
import type { BitStage } from "../../src/packed/layers/fold.ts";
import { signFold } from "../../src/packed/products/thresholds.ts";
import { bits, random, values } from "./twins.ts";

afterEach(() => useBackend("simd"));

const f = Math.fround;
/** What a batch norm makes of a sum, each step rounded to float32. */
const normed =
  (scale: number, offset: number, mean: number, factor: number, bias: number | null) =>
  (sum: number): number => {
    const y = f(f(f(f(f(sum) * scale) + offset) - mean) * factor);
    return bias === null ? y : f(y + bias);
  };

describe("the threshold of a channel", () => {
  const check = (k: number, value: (sum: number) => number): void => {
    const fold = signFold(k, 1, value);
    const finite = Array.from({ length: 2 * k + 1 }, (_, i) => value(i - k)).every(Number.isFinite);
    expect(fold !== null).toBe(finite);
    if (!fold) return;
    const [t, direction] = [fold.thresholds[0], fold.directions[0]];
    for (let sum = -k; sum <= k; sum++) {
      if ((direction > 0 ? sum >= t : sum <= t) !== value(sum) < 0)
        throw new Error(`sum ${sum} of ${k} against ${t} with direction ${direction}: ${value(sum)}`);
    }
  };
  const float = fc.oneof(
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ min: -4, max: 4, noNaN: true }),
    fc.constantFrom(0, -0, 2 ** -149, -(2 ** -149), f(3e38), f(-3e38), 1, -1, f(0.1)),
  );

  it("gives the signs of the float steps for every sum", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        float,
        float,
        float,
        float,
        fc.option(float),
        (k, s, o, m, w, b) => check(k, normed(f(Math.abs(s)), o, m, w, b)),
      ),
      { numRuns: 600 },
    );
  });

  it("lies where the mean is a value of a sum, or one float beside it", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.float({ min: f(1e-3), max: 10, noNaN: true }),
        fc.constantFrom(-1, 0, 1),
        fc.constantFrom(1, -1, f(1e-30), f(-1e-30), f(1e30)),
        (k, at, scale, beside, factor) => {
          const mean = f(Math.round((2 * at - 1) * k) * scale);
          check(k, normed(scale, 0, f(mean * (1 + beside * 2 ** -23)), factor, null));
        },
      ),
      { numRuns: 600 },
    );
  });

  it("is not there for values that are not finite", () => {
    expect(signFold(9, 1, normed(1, 0, 0, Number.NaN, null))).toBeNull();
    expect(signFold(9, 1, normed(1, 0, 0, f(3e38), null))).toBeNull();
    expect(signFold(9, 1, normed(1, 0, Infinity, 0, null))).toBeNull();
    expect(signFold(9, 1, normed(1, 0, 0, 0, 0))?.thresholds).toEqual(Int32Array.of(10));
    expect(signFold(9, 1, normed(1, 0, 0, 0, -1))?.thresholds).toEqual(Int32Array.of(9));
  });
});

const signs = binarySigns();
const ternary: QuantConfig = { ...ternaryWeightOnly(), input: signInput() };

const frozen = (model: Sequential, config = signs): Sequential =>
  evaluate(freeze(prepare(model, plan({ default: config }))));
const twin = (model: Sequential): PackedModel => loadPacked(pack(model).toBytes());

/** Statistics and weights of a batch norm, with channels among them that are constant, reversed, or decided by one ulp. */
function disturb(norm: BatchNorm1d | BatchNorm2d, seed: number, step: number): void {
  const rng = new Rng(seed);
  const draw = () => 2 * rng.next() - 1;
  const { runningMean, runningVar, weight, bias } = norm;
  runningMean.data.forEach((_, c) => {
    runningMean.data[c] = c % 3 === 0 ? Math.round(draw() * 6) * step : draw() * 6 * step;
    runningVar.data[c] = Math.abs(draw()) + 0.01;
  });
  weight?.update((data) => {
    data.forEach((_, c) => {
      data[c] = c % 7 === 3 ? 0 : c % 7 === 5 ? -0 : draw();
    });
  });
  bias?.update((data) => {
    data.forEach((_, c) => {
      data[c] = c % 4 === 0 ? 0 : draw() * 0.3;
    });
  });
}

function net(...steps: Step[]): Sequential {
  const model = new Sequential(...steps);
  const visit = (sequence: Sequential, seed: number): void =>
    [...sequence].forEach((step, i) => {
      if (step instanceof Sequential) visit(step, seed + 100);
      else if (step instanceof BatchNorm1d || step instanceof BatchNorm2d) disturb(step, seed + i, 0.05);
    });
  visit(model, 1);
  return model;
}

const conv = (i: number, o: number, k: number, options: object = {}) =>
  new Conv2d(i, o, k, { ...options, rng: new Rng(i + o) });
const rows = (i: number, o: number, bias = true) => new Linear(i, o, { bias, rng: new Rng(i * o) });

const nets: [name: string, make: () => Sequential, shape: number[], folds: number[]][] = [
  [
    "convolutions with batch norms between",
    () =>
      net(
        conv(3, 20, 3, { padding: 1 }),
        new BatchNorm2d(20),
        conv(20, 33, 3, { padding: 1, stride: 2, bias: false }),
        new BatchNorm2d(33),
        conv(33, 5, 1),
        new BatchNorm2d(5),
      ),
    [2, 3, 9, 7],
    [0, 2],
  ],
  [
    "groups whose bits fill bytes, and groups that agree",
    () =>
      net(
        conv(16, 16, 3, { groups: 2 }),
        new BatchNorm2d(16),
        conv(16, 12, 3, { padding: 1 }),
        new BatchNorm2d(12, { affine: false }),
        conv(12, 12, 1),
        new BatchNorm2d(12),
        conv(12, 6, 3, { groups: 3, padding: 1 }),
        new BatchNorm2d(6),
        conv(6, 9, 1, { groups: 3 }),
      ),
    [1, 16, 8, 9],
    // Those of one group do not begin on bytes as those of three do.
    [0, 2, 6],
  ],
  [
    "no norm between",
    () => net(conv(4, 8, 3), conv(8, 4, 3, { padding: 2, dilation: 2 })),
    [1, 4, 9, 9],
    [0],
  ],
  [
    "rows, with and without norms, and a dropout",
    () =>
      net(
        rows(37, 50),
        new BatchNorm1d(50),
        new Dropout(0.2),
        rows(50, 24, false),
        rows(24, 9),
        new BatchNorm1d(9),
        rows(9, 3),
      ),
    [5, 37],
    [0, 2, 3],
  ],
  [
    "sequences in sequences",
    () =>
      net(
        net(conv(3, 8, 3), new BatchNorm2d(8)),
        net(conv(8, 8, 3), new BatchNorm2d(8), tanh),
        conv(8, 2, 1),
      ),
    [2, 3, 8, 8],
    [0],
  ],
];

/** Runs whole, and step by step as the parts of no sequence. */
function apart(packed: PackedModel, x: Tensor): Float32Array {
  const { steps } = packed.root as PackedSequential;
  return steps.reduce((y, step) => step.forward(y), values(x)).data;
}

describe.each(["simd", "reference"] as const)("on %s kernels", (backend) => {
  it.each(nets)(
    "%s: bits are those of the steps one by one and of the frozen model",
    (_, make, shape, folds) => {
      useBackend(backend);
      const model = frozen(make());
      const packed = twin(model);
      const x = random(shape);
      const got = packed.forward(values(x));
      const want = noGrad(() => scope(() => model.forward(x)));
      expect(got.shape).toEqual(want.shape);
      expect(bits(got)).toEqual(bits(want));
      expect(bits({ data: apart(packed, x) })).toEqual(bits(want));
      expect(new Set(got.data).size).toBeGreaterThan(2);
      const { _stages: stages } = packed.root as never as { _stages: { folds: boolean }[] };
      const places = Array.from(stages, (stage, i) => (stage?.folds ? i : -1)).filter((i) => i >= 0);
      expect(places).toEqual(folds);
    },
  );

  it("any norm between gives the signs of the steps one by one", () => {
    useBackend(backend);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e6 }), fc.constantFrom(signs, ternary), (seed, config) => {
        const [k, n] = [1 + (seed % 60), 1 + (seed % 37)];
        const norm = new BatchNorm1d(n);
        disturb(norm, seed, 1 / Math.sqrt(k));
        const packed = twin(frozen(new Sequential(rows(k, n), norm, rows(n, 5)), config));
        const x = random([4, k], seed);
        expect(bits(packed.forward(values(x)))).toEqual(bits({ data: apart(packed, x) }));
      }),
      { numRuns: 60 },
    );
  });
});

it("between folded layers there are bits, and no floats", () => {
  const packed = twin(frozen(nets[0][1]()));
  const x = values(random([2, 3, 9, 7]));
  packed.forward(x);
  const { _stages } = packed.root as never as { _stages: BitStage[] };
  const first = _stages[0].run(x)!;
  expect(first).toMatchObject({ shape: [2, 20, 9, 7] });
  expect((first as { bits: Uint8Array }).bits).toHaveLength(2 * 9 * 7 * 3);
  expect(_stages[2].run(first)).toMatchObject({ bits: expect.any(Uint8Array), shape: [2, 33, 5, 4] });
});

it("threads change no bits", async () => {
  const chains: [Sequential, number[]][] = [
    [
      net(conv(32, 33, 3), new BatchNorm2d(33), conv(33, 62, 3), new BatchNorm2d(62), conv(62, 8, 1)),
      [2, 32, 30, 31],
    ],
    [
      net(rows(500, 517), new BatchNorm1d(517), rows(517, 203), new BatchNorm1d(203), rows(203, 9)),
      [130, 500],
    ],
  ];
  for (const [model, shape] of chains) {
    const packed = twin(frozen(model));
    const x = random(shape);
    const alone = bits(packed.forward(values(x)));
    try {
      await setThreads(3);
      for (let i = 0; i < 5; i++) expect(bits(packed.forward(values(x)))).toEqual(alone);
    } finally {
      await setThreads(1);
    }
  }
});

it("what the kernel does not serve takes −1 and 1 for the bits", () => {
  const model = frozen(
    net(conv(2, 5, 3, { padding: [8, 1] }), new BatchNorm2d(5), conv(5, 3, [17, 1] as never)),
  );
  const packed = twin(model);
  const x = random([1, 2, 9, 6]);
  expect(bits(packed.forward(values(x)))).toEqual(bits(noGrad(() => scope(() => model.forward(x)))));
});

it("a norm along another axis than the features is none of the folded", () => {
  const model = frozen(net(rows(6, 4), new BatchNorm1d(4), rows(4, 3)));
  const x = random([2, 4, 6]);
  expect(bits(twin(model).forward(values(x)))).toEqual(bits(noGrad(() => scope(() => model.forward(x)))));
  expect(() => twin(model).forward(values(random([2, 3, 6])))).toThrow(/PackedBatchNorm: needs \(N, 4, …\)/);
});

it("norms that make numbers that are not finite are errors, as without folding", () => {
  const model = net(rows(6, 4), new BatchNorm1d(4), rows(4, 3));
  (model[1] as BatchNorm1d).weight!.update((data) => data.fill(Number.NaN, 2, 3));
  const packed = twin(frozen(model));
  expect(() => packed.forward(values(random([2, 6])))).toThrow(/every input must be finite, got NaN/);
  expect(() =>
    twin(frozen(nets[0][1]())).forward({ data: new Float32Array(63).fill(Infinity), shape: [1, 3, 3, 7] }),
  ).toThrow(/every input must be finite, got Infinity/);
});

it("folded layers give back their heap and run again", () => {
  const packed = twin(frozen(nets[3][1]()));
  const x = values(random([5, 37]));
  const first = packed.forward(x);
  packed.dispose();
  const before = heapUse().bytes;
  expect(packed.forward(x)).toEqual(first);
  expect(heapUse().bytes).toBeGreaterThan(before);
  packed.dispose();
  expect(heapUse().bytes).toBe(before);
});

it("codes of one bit without a sign are 0 and 1, also before signs", () => {
  const [rows, columns] = [4, 18];
  const codes = packCodes(
    Array.from({ length: rows * columns }, (_, i) => ((i * 7) % 3 === 0 ? 1 : 0)),
    rows,
    columns,
    { bits: 1, signed: false },
  );
  const layer = () => ({
    kind: "conv2d",
    weight: PackedWeight.ofCodes({
      ...{ rows, columns, codes, bits: 1, signed: false, group: null, codebook: null },
      ...{ scale: Float32Array.of(1), scaleType: "float32" },
    }),
    bias: null,
    input: { kind: "signs" },
    ...{
      kernel: [3, 3],
      stride: [1, 1],
      padding: [
        [0, 0],
        [1, 1],
      ],
      dilation: [1, 1],
      groups: 1,
    },
  });
  const next = { ...layer(), weight: twin(frozen(new Sequential(conv(4, 2, 1)))).root as never };
  const weight = (next.weight as { steps: { weight: PackedWeight }[] }).steps[0].weight;
  const model = new PackedModel({
    kind: "sequential",
    steps: [layer(), { ...next, weight, kernel: [1, 1] }],
  } as never);
  const x = values(random([1, 2, 5, 5]));
  const simd = model.forward(x);
  useBackend("reference");
  expect(simd).toEqual(model.forward(x));
  const [first] = (model.root as PackedSequential).steps;
  expect([...first.forward(x).data].every((sum) => Math.abs(sum) <= 6)).toBe(true);
});
