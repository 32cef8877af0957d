import { expectClose } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { classify, trainedModels } from "../../bench/weights.ts";

const data = process.env.BITGRAD_DATA;

/** Of the first 100 test images; `npm run verify:weights` goes through all of them. */
const rightOf100: Record<string, number> = {
  resnet20: 82,
  resnet32: 88,
  resnet56: 84,
  "resnet8-mlperf-tiny": 81,
  "mnist-cnn-burn": 100,
  "mnist-mlp-tinygrad": 92,
};

describe.skipIf(!data)("trained image models (need BITGRAD_DATA)", () => {
  const all = data ? trainedModels(data) : [];
  it.each(Object.keys(rightOf100))(
    "%s gives its known outputs and classifies its images",
    async (name) => {
      const trained = all.find((entry) => entry.name === name)!;
      const [model, images] = await Promise.all([trained.model(), trained.images()]);
      const { logits, right } = classify(trained, model, images, 0, 100);
      expectClose(trained.outputs(logits.slice([[0, 8]])), trained.first8(), { rtol: 1e-4, atol: 1e-3 });
      expect(right).toBe(rightOf100[name]);
    },
    180_000,
  );
});
