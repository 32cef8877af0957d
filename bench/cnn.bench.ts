/**
 * Training of convolutional networks beside its limit, the rate of a product of 512 x 512 matrices measured in the same
 * rounds: `npm run bench -- cnn [--write]`. A step counts the products of its convolutions and their gradients. What reads
 * memory more than it computes stands beside the sum of two tensors of its size.
 */

import { backendInfo, noGrad, Rng, randint, randn, setThreads, type Tensor, vjp } from "../src/index.ts";
import { ResNet } from "../src/models/index.ts";
import { BatchNorm2d, crossEntropy } from "../src/nn/index.ts";
import { inputGradOp, weightGradOp } from "../src/ops/conv.ts";
import { optimizer, sgd } from "../src/optim/index.ts";
import { pin } from "../src/storage.ts";
import { trainStep } from "../src/train/index.ts";
import { operations, square } from "./conv-shapes.ts";
import { compared, shareOfLimit, side } from "./limit.ts";
import { pair, writeResults } from "./pair.ts";
import { type ComparedRow, free, writePage } from "./table.ts";

const rng = new Rng("cnn");
const normal = (...shape: number[]): Tensor => pin(randn(shape, { rng }));
const results: ComparedRow[] = [];
const measured = shareOfLimit();
const share = async (...args: Parameters<typeof measured>): Promise<void> => {
  results.push(await measured(...args));
};

const pictures = 64;

/** GFLOP of the convolutions of ResNet-20 and of their gradients, but of that of the pictures. */
function stepWork(): number {
  const first = operations(square(pictures, 3, 32, 16, 3));
  const inner = [16, 32, 64].map((channels, stage) => {
    const size = 32 >> stage;
    const before =
      stage === 0
        ? square(pictures, 16, 32, 16, 3)
        : square(pictures, channels / 2, 2 * size, channels, 3, 2);
    return operations(before) + 5 * operations(square(pictures, channels, size, channels, 3));
  });
  return (2 * first + 3 * inner.reduce((sum, each) => sum + each, 0)) / 1e9;
}

function resnetStep(): () => void {
  const model = new ResNet({ ...ResNet.configs.resnet20, rng });
  const update = optimizer(model, sgd({ lr: 0.01, momentum: 0.9 }));
  const [x, y] = [normal(pictures, 3, 32, 32), randint(0, 10, [pictures], { rng })];
  return () => void trainStep(model, update, (m) => crossEntropy(m.forward(x), y));
}

await share(`ResNet-20 training step, ${pictures} pictures`, stepWork(), resnetStep(), [0.7, 0.8]);
await setThreads(2);
if (backendInfo().threads === 2)
  await share(`ResNet-20 training step, ${pictures} pictures, two threads`, stepWork(), resnetStep());
await setThreads(1);

for (const [channels, size] of [
  [16, 32],
  [32, 16],
  [64, 8],
])
  for (const stride of [1, 2]) {
    const geometry = square(pictures, channels, size, stride * channels, 3, stride);
    const work = operations(geometry) / 1e9;
    const x = normal(pictures, channels, size, size);
    const weight = normal(stride * channels, channels, 3, 3);
    const grad = normal(pictures, stride * channels, geometry.oh, geometry.ow);
    const options = { padding: 1, stride };
    const windows = { stride: [stride, stride], pads: [1, 1, 1, 1], dilation: [1, 1], groups: 1 } as const;
    const name = `conv2d 3x3, ${channels} channels of ${size} x ${size}, stride ${stride}`;
    await share(`${name}, forward`, work, () => noGrad(() => void x.conv2d(weight, null, options)));
    await share(`${name}, gradient of input`, work, () =>
      noGrad(() => void inputGradOp(grad, weight, { ...windows, size: [size, size] })),
    );
    await share(`${name}, gradient of weight`, work, () =>
      noGrad(() => void weightGradOp(x, grad, { ...windows, kernel: [3, 3] })),
    );
  }

const [x, y] = [normal(pictures, 16, 32, 32), normal(pictures, 16, 32, 32)];
const add = side("add", () => noGrad(() => void x.add(y)));

/** A run beside the sum. */
async function beside(name: string, run: () => unknown): Promise<void> {
  const options = { tolerance: 0, rounds: 11, seconds: 4 };
  const result = await pair(add, side(name, run), options);
  results.push(compared(`${name}, 1 M`, add.name, free, { unit: "ms", work: 1 }, result));
}

const norm = new BatchNorm2d(16);
const pooled = normal(pictures, 16, 16, 16);
const withGrad = (run: (x: Tensor) => Tensor, grad: Tensor) => () => vjp(run)(x)[1](grad);
await beside("batch norm, training, forward", () => noGrad(() => void norm.forward(x)));
await beside(
  "batch norm, training, forward and gradient",
  withGrad((t) => norm.forward(t), y),
);
await beside(
  "relu, forward and gradient",
  withGrad((t) => t.relu(), y),
);
await beside("max pool 2x2, forward", () => noGrad(() => void x.maxPool2d(2)));
await beside(
  "max pool 2x2, forward and gradient",
  withGrad((t) => t.maxPool2d(2), pooled),
);
await beside("average pool 2x2, forward", () => noGrad(() => void x.avgPool2d(2)));
await beside(
  "average pool 2x2, forward and gradient",
  withGrad((t) => t.avgPool2d(2), pooled),
);

if (process.argv.includes("--write")) {
  writeResults("cnn", results);
  writePage();
}
