/** What is timed, and what this library has to reach: the ratio to the best JavaScript peer. */

import { type Block, draw, type Operation, type Operations, type Sizes } from "./library.ts";
import { blockProblem, blockTolerance, intProblem, levelProblem } from "./low-bit.ts";
import { gptProblem, mlpProblem } from "./models.ts";

/** What a row of the table says of itself. */
export interface Row {
  /** Its words select it on the command line. */
  readonly name: string;
  readonly unit: "GFLOP/s" | "Gop/s" | "Gelem/s" | "tokens/s" | "ms" | "MiB";
  /** What a run does in the unit's quantity, a speed being work/second; unused for "ms" and "MiB". */
  readonly work: number;
  /** Times better than the best JavaScript peer, null where nothing is; reach for the second with relaxed SIMD. */
  readonly required: number | null;
  readonly reach: number | null;
  /** These are then no ratios but our own figure in the unit, at most. */
  readonly absolute?: true;
}

export interface Workload<O extends Operation = Operation> extends Row {
  readonly operation: O;
  problem(): Operations[O];
  /** Largest difference of two results. */
  readonly tolerance: number;
  /** The only libraries to load for it: even one that takes no part slows the others in its process. */
  readonly peers?: readonly string[];
}

/** Rows that need processes of their own; see fresh.ts. */
export interface FreshRow extends Row {
  readonly fresh: "memory" | "first";
}

const workload = <O extends Operation>(each: Workload<O>): Workload => each as unknown as Workload;

function product(
  name: string,
  [m, k, n]: readonly [number, number, number],
  [required, reach]: readonly [number, number],
  { batch = null as number | null, transposeB = false } = {},
): Workload {
  const outer = batch === null ? [] : [batch];
  return workload({
    name,
    operation: "matmul",
    problem: () => ({
      a: draw([...outer, m, k], "a"),
      b: draw([...outer, ...(transposeB ? [n, k] : [k, n])], "b"),
      transposeB,
    }),
    work: (2 * m * k * n * (batch ?? 1)) / 1e9,
    unit: "GFLOP/s",
    tolerance: 1e-6 * k,
    required,
    reach,
  });
}

const operationsOf = ([m, k, n]: Sizes): number => (2 * m * k * n) / 1e9;

function intProduct(name: string, sizes: Sizes, requantized: boolean): Workload {
  return workload({
    name,
    operation: "intProduct",
    problem: () => intProblem(sizes, requantized),
    work: operationsOf(sizes),
    unit: "Gop/s",
    tolerance: 0,
    required: 1,
    reach: 1.1,
  });
}

function blockProduct(name: string, sizes: Sizes, integers: boolean, required: number | null): Workload {
  return workload({
    name,
    operation: "blockProduct",
    problem: () => blockProblem(sizes, integers),
    work: operationsOf(sizes),
    unit: "Gop/s",
    tolerance: blockTolerance(sizes[1], integers),
    required,
    reach: null,
  });
}

/** Beside float32 products of the same numbers, whose sums are below 2²⁴ and so exact. */
function levelProduct(
  name: string,
  sizes: Sizes,
  [weightBits, signs]: readonly [1 | 2, boolean],
  [required, reach]: readonly [number, number],
): Workload {
  return workload({
    name,
    operation: "levelProduct",
    problem: () => levelProblem(sizes, weightBits, signs),
    work: operationsOf(sizes),
    unit: "Gop/s",
    tolerance: 0,
    required,
    reach,
  });
}

const side = 1024;
const square = (seed: string, range = 1): Block => draw([side, side], seed, range);

function eachElement<O extends Operation>(
  name: string,
  operation: O,
  problem: () => Operations[O],
  [required, reach]: readonly [number, number],
  tolerance: number,
): Workload {
  return workload({
    name,
    operation,
    problem,
    work: (side * side) / 1e9,
    unit: "Gelem/s",
    tolerance,
    required,
    reach,
  });
}

const [images, channels, size] = [8, 64, 32];
const image = (seed: string): Block => draw([images, channels, size, size], seed);
const kernel = (): Block => draw([channels, channels, 3, 3], "w");
const convFlops = (2 * images * channels * size * size * channels * 9) / 1e9;

export const workloads: readonly Workload[] = [
  product("matmul 256", [256, 256, 256], [1.25, 1.45]),
  product("matmul 512", [512, 512, 512], [1.25, 1.45]),
  product("matmul 1024", [1024, 1024, 1024], [1.25, 1.45]),
  product("matmul 512x256x1024", [512, 256, 1024], [1.25, 1.45]),
  product("batched QKᵀ 8x256x64", [256, 64, 256], [1.5, 1.8], { batch: 8, transposeB: true }),
  product("batched PV 8x256x64", [256, 256, 64], [1.5, 1.8], { batch: 8 }),
  eachElement("softmax 1024x1024", "softmax", () => ({ x: square("x", 4) }), [1.15, 1.5], 1e-7),
  eachElement(
    "layerNorm 1024x1024",
    "layerNorm",
    () => ({ x: square("x"), weight: draw([side], "w"), bias: draw([side], "b"), eps: 1e-5 }),
    [3, 5],
    1e-4,
  ),
  eachElement("gelu 1M, erf", "gelu", () => ({ x: square("x", 4) }), [2, 3], 4e-6),
  eachElement("add 1M", "add", () => ({ a: square("a"), b: square("b") }), [1, 1.2], 1e-6),
  eachElement("mul 1M", "mul", () => ({ a: square("a"), b: square("b") }), [1, 1.2], 1e-6),
  eachElement("sum of 1M", "sum", () => ({ x: square("x") }), [5, 10], 0.1),
  eachElement("sum of rows 1024x1024", "sumRows", () => ({ x: square("x") }), [1.5, 2.5], 1e-3),
  workload({
    name: "conv2d 3x3 8x64x32x32, forward",
    operation: "conv2d",
    problem: () => ({ x: image("x"), w: kernel() }),
    work: convFlops,
    unit: "GFLOP/s",
    tolerance: 1e-3,
    required: 1.1,
    reach: 1.3,
  }),
  workload({
    name: "conv2d 3x3 8x64x32x32, forward and backward",
    operation: "conv2dTrain",
    problem: () => ({ x: image("x"), w: kernel(), grad: image("grad") }),
    work: 3 * convFlops,
    unit: "GFLOP/s",
    tolerance: 1e-2,
    required: 20,
    reach: 30,
  }),
  workload({
    name: "MLP 784-512-512-10 batch 64, SGD momentum step",
    operation: "mlpStep",
    problem: mlpProblem,
    work: 1,
    unit: "ms",
    tolerance: 1e-4,
    required: 1.6,
    reach: 2.2,
  }),
  workload({
    name: "GPT step, AdamW, 8x128 tokens",
    operation: "gptStep",
    problem: gptProblem,
    work: 1,
    unit: "ms",
    tolerance: 1e-4,
    required: 2.5,
    reach: 3.5,
  }),
  workload({
    name: "GPT decode, KV cache, batch 1",
    operation: "gptDecode",
    problem: gptProblem,
    work: 128,
    unit: "tokens/s",
    tolerance: 0,
    peers: ["ort-web", "ort-node"],
    required: 1.1,
    reach: 1.6,
  }),
  levelProduct("low-bit 1-bit by 1-bit, 1024", [1024, 1024, 1024], [1, true], [6.5, 10]),
  levelProduct("low-bit 1-bit by ternary, 1024", [1024, 1024, 1024], [2, true], [3.5, 5]),
  levelProduct("low-bit int8 by ternary, 1024", [1024, 1024, 1024], [2, false], [1.6, 3]),
  intProduct("low-bit uint8 by int8 to int32, 128x1024x1024", [128, 1024, 1024], false),
  intProduct("low-bit uint8 by int8 to uint8, 128x1024x1024", [128, 1024, 1024], true),
  blockProduct("low-bit float32 by int4 in blocks of 32, 1x2048x2048", [1, 2048, 2048], false, 18),
  blockProduct("low-bit float32 by int4 in blocks of 32, 64x2048x2048", [64, 2048, 2048], false, null),
  blockProduct("low-bit int8 by int4 in blocks of 32, 1x2048x2048", [1, 2048, 2048], true, 45),
  blockProduct("low-bit int8 by int4 in blocks of 32, 64x2048x2048", [64, 2048, 2048], true, null),
];

export const freshRows: readonly FreshRow[] = [
  { name: "GPT memory, peak of five steps", fresh: "memory", unit: "MiB", work: 1, required: 2, reach: 2 },
  {
    ...{ name: "import and first matmul 256", fresh: "first", unit: "ms", work: 1 },
    ...{ required: 25, reach: 15, absolute: true },
  },
];

/** Ours on two threads beside ours on one. */
export const threadRows: readonly (Row & { readonly of: string })[] = [
  {
    ...{ name: "matmul 1024, two threads", of: "matmul 1024" },
    ...{ unit: "GFLOP/s", work: 2 * 1.024 ** 3, required: 1.8, reach: 1.8 },
  },
  ...[
    "low-bit 1-bit by 1-bit, 1024",
    "low-bit int8 by ternary, 1024",
    "low-bit uint8 by int8 to int32, 128x1024x1024",
    "low-bit int8 by int4 in blocks of 32, 64x2048x2048",
  ].map((of) => ({
    ...{ name: `${of}, two threads`, of, required: 1.7, reach: 1.9 },
    ...{ unit: "Gop/s" as const, work: workloads.find(({ name }) => name === of)!.work },
  })),
  {
    ...{ name: "GPT step, two threads", of: "GPT step, AdamW, 8x128 tokens" },
    ...{ unit: "ms", work: 1, required: 1.4, reach: 1.4 },
  },
];
