/** What packed models compute, the same wherever plain SIMD runs, and how fast they decode beside the model they come from. */

import { backendInfo, noGrad, Rng, randint, randn, scope, type Tensor, useBackend } from "bitgrad";
import { Gpt } from "bitgrad/models";
import { Conv2d, clone, evaluate } from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import {
  binarySigns,
  freeze,
  int4Dynamic,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";

const configs: Record<string, QuantConfig> = {
  int8: int8Dynamic(),
  int4: int4Dynamic(),
  "int4, float32 input": int4WeightOnly(),
  ternary: ternaryDynamic(),
  "1 bit": binarySigns(),
};

/** The bits of all numbers, folded into one. */
const digest = (data: Float32Array): number =>
  new Uint32Array(data.slice().buffer).reduce((hash, word) => Math.imul(hash ^ word, 0x01000193), 0x811c9dc5);

function decodeSeconds(model: Pick<Gpt, "generate">): number {
  const run = () => model.generate([1], { maxTokens: 24, temperature: 0 });
  run();
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    run();
    return performance.now() - start;
  });
  return Math.min(...times);
}

export interface PackedReport {
  /** By what was packed: the bits of its numbers, and whether they are those of the frozen model. */
  readonly digests: Readonly<Record<string, number>>;
  readonly equalsFrozen: Readonly<Record<string, boolean>>;
  /** Of 1 bit beside float32. */
  readonly timesFaster: number;
}

export function packedReport(): PackedReport {
  const { name } = backendInfo();
  if (name === "simd") useBackend("simd", { relaxed: false });
  const gpt = evaluate(
    new Gpt({ vocabulary: 64, context: 32, dim: 256, layers: 2, heads: 4, rng: new Rng(1) }),
  );
  const conv = evaluate(new Conv2d(16, 24, 3, { padding: 1, rng: new Rng(2) }));
  const ids = randint(0, 64, [2, 20], { rng: new Rng(3) });
  const images = randn([2, 16, 9, 9], { rng: new Rng(4) });
  const digests: Record<string, number> = {};
  const equalsFrozen: Record<string, boolean> = {};
  let fast = 0;
  for (const [config, given] of Object.entries(configs)) {
    const twin = <M extends Gpt | Conv2d>(model: M, x: Tensor) => {
      const frozen = evaluate(freeze(prepare(clone(model), plan({ default: given }))));
      const packed = loadPacked(pack(frozen).toBytes());
      const { data } = packed.forward({ data: x.data as Float32Array, shape: x.shape });
      const label = `${model.constructor === Gpt ? "GPT" : "conv"}, ${config}`;
      digests[label] = digest(data);
      const forward = () => noGrad(() => scope(() => frozen.forward(x)));
      // A memory that is not shared grows between scopes: in the first, small arrays may not fit, and are summed in double.
      forward();
      const want = forward();
      equalsFrozen[label] = digest(want.data as Float32Array) === digests[label];
      return packed;
    };
    const packed = twin(gpt, ids);
    if (config === "1 bit") fast = decodeSeconds(packed);
    packed.dispose();
    // Groups of a filter have no packed form.
    if (!config.startsWith("int4")) twin(conv, images).dispose();
  }
  const timesFaster = decodeSeconds(gpt) / fast;
  if (name === "simd") useBackend("simd");
  return { digests, equalsFrozen, timesFaster };
}
