/** AWQ on a trained language model: 3 bits cost less. */

import { Rng } from "bitgrad";
import { clone, whileFloat } from "bitgrad/nn";
import { awq, int8WeightOnly, plan, prepare, ste } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { readStories, textLoss, textOf } from "../../bench/stories.ts";

const data = process.env.BITGRAD_DATA;

describe.skipIf(!data)("the trained stories260k (needs BITGRAD_DATA)", () => {
  it("at 3 bits loses less than three quarters of what rounding loses, its float self nothing", async () => {
    const { model, texts, others, tokenizer } = readStories(data!);
    const order = new Rng("calibration").permutation(others.length);
    const batches = [...order.slice(0, 8)].map((i) => [textOf(tokenizer, others[i])]);
    const scored = texts.slice(0, 8);
    const tokens = scored.reduce((sum, text) => sum + text.length - 1, 0);
    const lossOf = (of: typeof model) => scored.reduce((sum, text) => sum + textLoss(of, text), 0) / tokens;
    const make = () =>
      prepare(
        clone(model),
        plan({
          default: { weight: ste({ bits: 3, granularity: { group: 32 } }) },
          rules: [["token.weight", int8WeightOnly({ group: 32 })]],
        }),
      );
    const float = lossOf(model);
    const scaled = await awq(make(), batches);
    expect(Math.abs(whileFloat(scaled, () => lossOf(scaled)) - float)).toBeLessThan(1e-5);
    expect(lossOf(scaled) - float).toBeLessThan(0.75 * (lossOf(make()) - float));
  });
});
