/**
 * Ops beside the sum of two tensors of a million float32 numbers, which runs as fast as memory allows: `npm run bench -- ops
 * [--write]`. What an op may take is in milliseconds; the ratio says how many sums it takes.
 */

import { kdLoss } from "../src/distill/index.ts";
import { noGrad, Rng, randint, randn, scope, type Tensor } from "../src/index.ts";
import { crossEntropy, Dropout } from "../src/nn/index.ts";
import { pair, showRatio, writeResults } from "./pair.ts";
import { type ComparedRow, writePage } from "./table.ts";

const size = 2 ** 20;
const rng = new Rng("ops");
const x = randn([1024, 1024], { rng });
const y = randn([1024, 1024], { rng });
const flat = x.reshape([size]);
const mask = x.greater(0);
// Within int8: no number of a million lies six deviations out.
const whole = x.mul(20).round();
const ints = whole.to("int32");
const order = randint(0, 1024, [1024, 1024], { dtype: "int32", rng });
const dropout = new Dropout(0.1, { rng });
const classes = randn([1024, 1024], { rng, requiresGrad: true });
const teacher = randn([1024, 1024], { rng });
const labels = randint(0, 1024, [1024], { dtype: "int32", rng });
const gradOf = (loss: Tensor): Tensor => {
  loss.backward();
  classes.grad = null;
  return loss;
};

const [doubles, bytes] = (["float64", "int8"] as const).map((dtype) =>
  randint(-99, 99, [512, 512], { rng }).to(dtype),
);

/** Milliseconds: at most, and to reach for. */
type Most = readonly [required: number, reach: number];
type Row = readonly [name: string, most: Most, run: () => unknown];
const million: readonly Row[] = [
  ['to("int8")', [2, 1], () => whole.to("int8")],
  ['to("int32")', [2, 1], () => whole.to("int32")],
  ['int32 to("float32")', [2, 1], () => ints.to("float32")],
  ['bool to("float32")', [2, 1], () => mask.to("float32")],
  ["topK(10) of rows of 1,024", [15, 5], () => x.topK(10)],
  ["argsort", [60, 40], () => flat.argsort()],
  ["kthValue", [15, 8], () => flat.kthValue(size / 2)],
  ["logicalAnd", [1.5, 0.7], () => mask.logicalAnd(mask)],
  ["logicalNot", [1.5, 0.7], () => mask.logicalNot()],
  ["all", [1.5, 0.7], () => mask.all()],
  ["isNaN", [1.5, 0.7], () => x.isNaN()],
  ["where(-1, 1)", [1.5, 0.7], () => mask.where(-1, 1)],
  ["times a mask", [1.5, 0.7], () => x.mul(mask)],
  ["gather", [6, 3], () => x.gather(order, { axis: 1 })],
  ["scatterAdd", [6, 3], () => x.scatterAdd(order, y, { axis: 1 })],
  ["maskedSelect", [6, 3], () => x.maskedSelect(mask)],
  ["randn", [15, 15], () => randn([size], { rng })],
  ["dropout", [6, 6], () => dropout.forward(x)],
  ["softmax over axis 0", [4, 4], () => x.softmax(0)],
];

const rows: readonly Row[] = [
  ...million.map(([name, most, run]): Row => [`${name}, 1 M`, most, run]),
  // Three times 2.9 GFLOP/s.
  ["matmul 512, float64", [31, 20], () => doubles.matmul(doubles)],
  ["matmul 512, int8", [31, 20], () => bytes.matmul(bytes)],
];

const add = { name: "add", run: () => noGrad(() => scope(() => void x.add(y))), result: () => [] };
const results: ComparedRow[] = [];
for (const [name, [required, reach], run] of rows) {
  const side = { name, run: () => noGrad(() => scope(() => void run())), result: () => [] };
  const result = await pair(add, side, { tolerance: 0, rounds: 11, seconds: 4 });
  const { a, b, ratio, interval, load } = result;
  console.log(name.padEnd(28), `${(b * 1e3).toFixed(2).padStart(8)} ms, add beside it`, showRatio(result));
  results.push({
    ...{ name, unit: "ms", work: 1, required, reach, load, absolute: true },
    peers: [{ peer: "add", native: false, ratio, interval, a, b }],
  });
}
{
  const result = await pair(
    {
      name: "crossEntropy",
      run: () => scope(() => void gradOf(crossEntropy(classes, labels))),
      result: () => [],
    },
    { name: "kdLoss", run: () => scope(() => void gradOf(kdLoss(classes, teacher))), result: () => [] },
    { tolerance: 0, rounds: 11, seconds: 4 },
  );
  const { a, b, ratio, interval, load } = result;
  console.log("kdLoss beside crossEntropy".padEnd(28), `${(b * 1e3).toFixed(2)} ms`, showRatio(result));
  results.push({
    ...{ name: "kdLoss with its gradient, 1 M", unit: "ms", work: 1, required: 0.4, reach: null, load },
    peers: [{ peer: "crossEntropy", native: false, ratio, interval, a, b }],
  });
}
if (process.argv.includes("--write")) {
  writeResults("ops", results);
  writePage();
}
