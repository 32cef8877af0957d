import {
  manualSeed,
  memory,
  OptionError,
  Rng,
  randn,
  StageError,
  setThreads,
  type Tensor,
  tensor,
  zeros,
} from "bitgrad";
import {
  Conv1d,
  Conv2d,
  Dropout,
  Flatten,
  Linear,
  Parameter,
  PReLU,
  parametrize,
  Sequential,
  type Statistic,
  statistics,
  whileFloat,
} from "bitgrad/nn";
import { calibrate, freeze, int8Static, plan, prepare } from "bitgrad/quant";
import { afterAll, describe, expect, it } from "vitest";

const every = ["absmax", "mean", "meanAbs", "sumOfSquares", "hessian"] as const;
const rng = () => new Rng(7);

/** The statistics of a list of rows, in plain loops. */
function byHand(rows: readonly (readonly number[])[]) {
  const columns = rows[0].map((_, c) => rows.map((row) => row[c]));
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i], 0);
  const average = (column: readonly number[]) => column.reduce((sum, v) => sum + v, 0) / rows.length;
  return {
    rows: rows.length,
    absmax: columns.map((column) => Math.max(...column.map(Math.abs))),
    mean: columns.map(average),
    meanAbs: columns.map((column) => average(column.map(Math.abs))),
    sumOfSquares: columns.map((column) => dot(column, column)),
    hessian: columns.map((a) => columns.map((b) => dot(a, b))),
  };
}

/** Every window of an image as a row, channel by channel. */
function windows(
  image: Tensor,
  {
    channels,
    kernel,
    stride,
    padding,
    dilation,
  }: Record<"channels" | "kernel" | "stride" | "padding" | "dilation", readonly number[]>,
) {
  const [n, , h, w] = image.shape;
  const at = image.toArray() as number[][][][];
  const out = (size: number, i: number) =>
    Math.floor((size + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) / stride[i]) + 1;
  const rows: number[][] = [];
  for (let b = 0; b < n; b++)
    for (let y = 0; y < out(h, 0); y++)
      for (let x = 0; x < out(w, 1); x++) {
        const row: number[] = [];
        for (const c of channels)
          for (let i = 0; i < kernel[0]; i++)
            for (let j = 0; j < kernel[1]; j++) {
              const [r, s] = [
                y * stride[0] - padding[0] + i * dilation[0],
                x * stride[1] - padding[1] + j * dilation[1],
              ];
              row.push(at[b][c][r]?.[s] ?? 0);
            }
        rows.push(row);
      }
  return rows;
}

type Found =
  Awaited<ReturnType<typeof statistics<Tensor, Statistic>>> extends Map<string, infer S> ? S : never;

function expectFound(found: Found, wanted: ReturnType<typeof byHand>) {
  expect(found.rows).toBe(wanted.rows);
  for (const name of every) {
    expect(found[name].dtype).toBe("float64");
    const flat = (wanted[name] as unknown[]).flat() as number[];
    expect(found[name].size).toBe(flat.length);
    found[name].data.forEach((v, i) => {
      expect(Math.abs(v - flat[i]), `${name} ${i}`).toBeLessThanOrEqual(
        1e-12 * Math.max(1, Math.abs(flat[i])),
      );
    });
  }
}

const rowsOf = (...batches: Tensor[]) =>
  batches.flatMap((x) => x.reshape([-1, x.shape.at(-1)!]).toArray() as number[][]);

describe("statistics", () => {
  it("are those of the rows of a linear layer, with a ragged last batch", async () => {
    const model = new Sequential(
      new Linear(5, 4, { rng: rng() }),
      new PReLU(),
      new Linear(4, 2, { rng: rng() }),
    );
    const batches = [randn([6, 3, 5], { rng: rng() }), randn([2, 3, 5], { rng: new Rng(8) })];
    const found = await statistics(model, batches, { keep: every });
    expect([...found.keys()]).toEqual(["0", "2"]);
    expectFound(found.get("0")!, byHand(rowsOf(...batches)));
    const hidden = batches.map((x) => (model[1] as PReLU).forward((model[0] as Linear).forward(x)));
    expectFound(found.get("2")!, byHand(rowsOf(...hidden)));
    expect(found.get("0")!.hessian.shape).toEqual([5, 5]);
  });

  it("are the same for one batch and for its parts, but for the last bits", async () => {
    const model = new Linear(5, 4, { rng: rng() });
    const x = randn([7, 5], { rng: rng() });
    const [whole, parts] = [
      await statistics(model, [x], { keep: every }),
      await statistics(model, [x.slice([[0, 4]]), x.slice([[4, 7]])], { keep: every }),
    ];
    expect(parts.get("")!.rows).toBe(7);
    expect(parts.get("")!.absmax.toArray()).toEqual(whole.get("")!.absmax.toArray());
    parts.get("")!.hessian.data.forEach((v, i) => {
      expect(v).toBeCloseTo(whole.get("")!.hessian.data[i], 12);
    });
  });

  it.each([
    { groups: 1, kernel: [3, 2], stride: [2, 1], padding: [1, 0], dilation: [1, 2] },
    { groups: 2, kernel: [2, 3], stride: [1, 2], padding: [0, 2], dilation: [1, 1] },
    { groups: 4, kernel: [3, 3], stride: [1, 1], padding: [1, 1], dilation: [1, 1] },
  ])("are those of the windows of a convolution: %o", async ({ groups, kernel, ...options }) => {
    const layer = new Conv2d(4, 8, kernel as [number, number], {
      ...(options as object),
      groups,
      rng: rng(),
    });
    const batches = [randn([3, 4, 6, 7], { rng: rng() }), randn([1, 4, 6, 7], { rng: new Rng(2) })];
    const found = (await statistics(layer, batches, { keep: every })).get("")!;
    const k = (4 / groups) * kernel[0] * kernel[1];
    expect(found.hessian.shape).toEqual(groups === 1 ? [k, k] : [groups, k, k]);
    expect(found.mean.shape).toEqual([groups * k]);
    for (let g = 0; g < groups; g++) {
      const channels = Array.from({ length: 4 / groups }, (_, c) => (g * 4) / groups + c);
      const rows = batches.flatMap((x) => windows(x, { channels, kernel, ...options }));
      const part = (name: Statistic, size: number) => ({
        [name]: tensor(found[name].data.slice(g * size, (g + 1) * size), { dtype: "float64" }),
      });
      const own = {
        rows: found.rows,
        ...Object.assign({}, ...every.map((name) => part(name, name === "hessian" ? k * k : k))),
      };
      expectFound(own, byHand(rows));
    }
  });

  it("multiply with the weight as the layer does", async () => {
    const layers = [
      {
        layer: new Conv1d(4, 6, 3, { stride: 2, padding: [2, 1], dilation: 2, groups: 2, rng: rng() }),
        x: randn([2, 4, 9], { rng: rng() }),
      },
      {
        layer: new Conv2d(4, 6, 3, { padding: 1, groups: 2, rng: rng() }),
        x: randn([2, 4, 5, 5], { rng: rng() }),
      },
      { layer: new Linear(4, 6, { rng: rng() }), x: randn([2, 3, 4], { rng: rng() }) },
    ];
    for (const { layer, x } of layers) {
      layer.bias!.assign(zeros([6]));
      const matrix = layer.inputMatrix(x);
      const [groups, rows, columns] = matrix.shape;
      const weight = layer.weight.value.reshape([groups, 6 / groups, columns]);
      const product = matrix.matmul(weight, { transposeB: true });
      const y = layer.forward(x);
      const outputs =
        y.rank === 3 && layer instanceof Linear
          ? y.reshape([rows, 6])
          : y.reshape([y.shape[0], 6, -1]).permute([0, 2, 1]).reshape([rows, 6]);
      product
        .permute([1, 0, 2])
        .reshape([rows, 6])
        .data.forEach((v, i) => {
          expect(v).toBeCloseTo(outputs.data[i], 5);
        });
    }
  });

  it("are of the layers that are named, by path or pattern, and of both names of a tied one", async () => {
    const tied = new Linear(3, 3, { rng: rng() });
    const model = new Sequential({
      "a*b": tied,
      act: new PReLU(),
      c: tied,
      "d{": new Linear(3, 1, { rng: rng() }),
    });
    const x = randn([4, 3], { rng: rng() });
    expect([...(await statistics(model, [x])).keys()]).toEqual(["a*b", "c", "d{"]);
    const found = await statistics(model, [x], { layers: [/^a/, "c"] });
    expect([...found.keys()]).toEqual(["a*b", "c"]);
    expect(found.get("a*b")).toBe(found.get("c"));
    expect(found.get("c")!.rows).toBe(8);
    expect(Object.keys(found.get("c")!)).toEqual(["rows", "absmax", "mean", "sumOfSquares"]);
  });

  it("are the same bits for every number of threads", async () => {
    const model = new Sequential(
      new Conv2d(8, 16, 3, { padding: 1, rng: rng() }),
      new Flatten(),
      new Linear(16 * 144, 32, { rng: rng() }),
      new Linear(32, 8, { rng: rng() }),
    );
    const x = randn([16, 8, 12, 12], { rng: rng() });
    const run = async () => {
      const found = await statistics(model, [x, x.slice([[0, 5]])], { layers: ["0", "3"], keep: every });
      return [...found.values()].flatMap((of) => every.map((name) => [...of[name].data]));
    };
    const alone = await run();
    await setThreads(2);
    expect(await run()).toEqual(alone);
    await setThreads(1);
    const hessian = alone[every.indexOf("hessian")];
    for (let i = 0; i < 72; i++)
      for (let j = 0; j < i; j++) expect(hessian[i * 72 + j]).toBe(hessian[j * 72 + i]);
  });
  afterAll(() => setThreads(1));

  it("keep nothing else: what a pass computes goes with it", async () => {
    const model = new Sequential(new Linear(64, 64, { rng: rng() }), new Linear(64, 8, { rng: rng() }));
    const batch = zeros([8, 64]);
    const held: number[] = [];
    async function* stream() {
      for (let i = 0; i < 4; i++) {
        held.push(memory().tensors, memory().bytes);
        yield batch;
      }
    }
    const found = await statistics(model, stream());
    expect(found.get("0")!.rows).toBe(32);
    expect(held).toEqual(Array(4).fill(held.slice(0, 2)).flat());
  });

  it("run the model in evaluation, without gradients, and leave it as it was", async () => {
    const model = new Sequential(new Dropout(0.5), new Linear(3, 2, { rng: rng() }));
    manualSeed(1);
    const x = randn([4, 3], { rng: rng() });
    const found = await statistics(model, [x], { keep: every });
    expectFound(found.get("1")!, byHand(rowsOf(x)));
    expect((model[0] as Dropout).training).toBe(true);
    expect(Object.hasOwn(model[1], "forward")).toBe(false);
    expect((model[1] as Linear).weight.grad).toBeNull();
  });

  it("take batches of any kind by forward, and streams", async () => {
    const model = { embed: new Linear(3, 2, { rng: rng() }) };
    const batches = async function* () {
      yield { x: [[1, 2, 3]] };
      yield { x: [[-4, 0, 1]] };
    };
    const found = await statistics(model, batches(), {
      forward: ({ x }: { x: number[][] }) => model.embed.forward(x),
    });
    expect(found.get("embed")!.absmax.toArray()).toEqual([4, 2, 3]);
    expect(found.get("embed")!.mean.toArray()).toEqual([-1.5, 1, 2]);
  });
});

describe("statistics of a prepared model", () => {
  const made = () => new Sequential(new Linear(6, 5, { rng: rng() }), new Linear(5, 2, { rng: new Rng(3) }));
  const batches = [randn([9, 6], { rng: rng() })];
  const of = async (model: object, float = true) =>
    [...(await statistics(model, batches, { keep: every, float })).values()].map((found) =>
      every.map((name) => [...found[name].data]),
    );

  it("are those of the float model, before calibration, after it, and frozen", async () => {
    const plain = await of(made());
    const model = prepare(made(), plan({ default: int8Static() }));
    expect(await of(model)).toEqual(plain);
    await calibrate(model, batches);
    expect(await of(model)).toEqual(plain);
    freeze(model);
    expect(await of(model)).toEqual(plain);
    expect(await of(model, false)).not.toEqual(plain);
    expect((model[0] as Linear).inputQuantizer).not.toBeNull();
    expect((model[0] as Linear).weight.transforms).toHaveLength(1);
  });

  it("keep masks, which do not quantize", async () => {
    const half = { apply: (w: Tensor) => w.mul(0.5) };
    const [masked, both] = [made(), made()];
    parametrize(masked, "0.weight", half);
    parametrize(both, "0.weight", half, { bits: 1, apply: (w: Tensor) => w.sign() });
    expect(await of(both)).toEqual(await of(masked));
    expect((both[0] as Linear).weight.transforms).toHaveLength(2);
  });

  it("put the quantizers back when the model throws", async () => {
    const model = prepare(made(), plan({ default: int8Static() }));
    const stage = (model[0] as Linear).inputQuantizer;
    const failing = () => {
      expect((model[0] as Linear).inputQuantizer).toBeNull();
      throw new RangeError("theirs");
    };
    await expect(statistics(model, batches, { forward: failing })).rejects.toThrow("theirs");
    expect((model[0] as Linear).inputQuantizer).toBe(stage);
    expect((model[0] as Linear).weight.transforms).toHaveLength(1);
    expect(Object.hasOwn(model[0], "forward")).toBe(false);
    expect(() => whileFloat(model, async () => 0)).toThrow(StageError);
    expect((model[1] as Linear).inputQuantizer).not.toBeNull();
  });
});

describe("statistics refuse", () => {
  const a = new Linear(2, 2, { rng: rng() });
  const model = new Sequential({ a, act: new PReLU(), b: new Linear(2, 2, { rng: rng() }) });
  const x = tensor([[1, 2]]);

  it.each<[string, () => Promise<unknown>, new () => Error, string]>([
    [
      "NaN, naming the layer and the batch",
      () => statistics(model, [x, tensor([[1, Number.NaN]])]),
      OptionError as never,
      'statistics: inputs must be finite, got NaN in layer "a", batch 1',
    ],
    [
      "no batches",
      () => statistics(model, []),
      StageError as never,
      "statistics: needs at least one batch, got none",
    ],
    [
      "a layer that never ran",
      () => statistics(model, [x], { forward: (b: Tensor) => a.forward(b) }),
      StageError as never,
      'statistics: no batch reached a layer, got no input of "b"',
    ],
    [
      "batches without rows",
      () => statistics(model, [zeros([0, 2])]),
      StageError as never,
      'got no input of "a"',
    ],
    [
      "a pattern of no such layer",
      () => statistics(model, [x], { layers: "act" }),
      OptionError as never,
      'statistics: the pattern fits no linear layer or convolution, got "act"; there are a, b',
    ],
    [
      "no pattern",
      () => statistics(model, [x], { layers: [] }),
      OptionError as never,
      "statistics: needs a pattern of layers, got ()",
    ],
    [
      "another statistic",
      () => statistics(model, [x], { keep: ["median" as never] }),
      OptionError as never,
      'statistics: keep must list some of absmax, mean, meanAbs, sumOfSquares, hessian, got ("median")',
    ],
    [
      "a promise",
      () => statistics(model, [x], { forward: async (b: Tensor) => model.forward(b) }),
      StageError as never,
      "synchronous",
    ],
    [
      "squares beyond doubles",
      () =>
        statistics(new Linear(1, 1, { dtype: "float64" }), [tensor([[1e200]], { dtype: "float64" })], {
          keep: ["hessian"],
        }),
      OptionError as never,
      "statistics: hessian is beyond double precision, got Infinity in layer",
    ],
  ])("%s", async (_, run, kind, text) => {
    await expect(run()).rejects.toThrow(kind);
    await expect(run()).rejects.toThrow(text);
    expect(Object.hasOwn(a, "forward")).toBe(false);
  });

  it("a layer of one's own whose matrix is none", async () => {
    const odd = { w: new Parameter(zeros([2])), forward: (x: Tensor) => x, inputMatrix: (x: Tensor) => x };
    await expect(statistics(odd, [x])).rejects.toThrow(
      'statistics: an inputMatrix must be (groups, rows, columns), got (1, 2) of layer "", batch 0',
    );
  });
});
