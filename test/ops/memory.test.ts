import { backendInfo, concat, Rng, randint, randn, type Tensor, tensor } from "bitgrad";
import { crossEntropy } from "bitgrad/nn";
import { describe, expect, it } from "vitest";
import { alloc, free, view } from "../../kernels/wasm/heap.ts";
import { scope } from "../../src/storage.ts";

/** Leaves `value` wherever the next blocks of the heap will lie. */
function litter(value: number): void {
  const sizes = [2 ** 20, 2 ** 16, 2 ** 16, 2 ** 13, 2 ** 13];
  const blocks = sizes.map((bytes) => ({ bytes, address: alloc(bytes) }));
  for (const { bytes, address } of blocks) view("float64", address, bytes / 8).fill(value);
  for (const { address } of blocks) free(address);
}

const rng = new Rng(3);
const image = () => randn([2, 8, 9, 7], { rng, requiresGrad: true });
const rows = () => randn([6, 40], { rng, requiresGrad: true });
const heads = () => randn([2, 3, 20, 8], { rng, requiresGrad: true });
const target = randint(0, 40, [6], { rng });

const programs: Record<string, { inputs: Tensor[]; run(...inputs: Tensor[]): Tensor }> = {
  matmul: { inputs: [rows(), rows()], run: (a, b) => a.matmul(b, { transposeB: true }).matmul(b).tanh() },
  linear: {
    inputs: [rows(), rows(), randn([6], { rng, requiresGrad: true })],
    run: (x, w, b) => x.linear(w, b),
  },
  layerNorm: { inputs: [rows(), randn([40], { rng, requiresGrad: true })], run: (x, w) => x.layerNorm(w, w) },
  rmsNorm: { inputs: [rows(), randn([40], { rng, requiresGrad: true })], run: (x, w) => x.rmsNorm(w) },
  activations: { inputs: [rows()], run: (x) => x.gelu().add(x.relu()).mul(x.silu()).sub(x.sigmoid()) },
  softmax: { inputs: [rows()], run: (x) => x.softmax().mul(x.logSoftmax()) },
  crossEntropy: { inputs: [rows()], run: (x) => crossEntropy(x, target) },
  attention: {
    inputs: [heads(), heads(), heads()],
    run: (q, k, v) => q.scaledDotProductAttention(k, v, { causal: true }),
  },
  conv2d: {
    inputs: [image(), randn([4, 8, 3, 3], { rng, requiresGrad: true })],
    run: (x, w) => x.conv2d(w, null, { padding: 1, stride: 2 }),
  },
  depthwise: {
    inputs: [image(), randn([8, 1, 3, 3], { rng, requiresGrad: true })],
    run: (x, w) => x.conv2d(w, null, { padding: 1, groups: 8 }),
  },
  pools: { inputs: [image()], run: (x) => x.avgPool2d(2).add(x.maxPool2d(2)) },
  batchNorm: {
    inputs: [image()],
    run: (x) => x.batchNorm(x.mean({ axis: [0, 2, 3] }), x.variance({ axis: [0, 2, 3] })),
  },
  movement: {
    inputs: [heads()],
    run: (x) =>
      concat(
        [
          x
            .permute([0, 2, 1, 3])
            .slice([null, [2, 9]])
            .broadcastTo([3, 2, 7, 3, 8]),
        ],
        { axis: 1 },
      ),
  },
  gathers: { inputs: [rows()], run: (x) => x.indexSelect(tensor([5, 0, 0, 2], { dtype: "int32" })) },
};

describe.skipIf(backendInfo().name !== "simd")("memory with any content", () => {
  it.each(Object.keys(programs))("does not show in the values and gradients of %s", (name) => {
    const { inputs, run } = programs[name];
    const results = (found: number) => {
      for (const input of inputs) input.grad = null;
      const work = () => {
        const y = run(...inputs);
        y.mul(y).sum().backward();
        return y.toArray();
      };
      litter(found);
      const value = scope(work);
      return [value, inputs.map(({ grad }) => grad!.toArray())];
    };
    expect(results(Number.NaN)).toEqual(results(0));
  });
});
