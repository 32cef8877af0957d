import { BatchNorm1d, Dropout, Sequential, whileEvaluating } from "bitgrad/nn";
import { describe, expect, it } from "vitest";

describe("whileEvaluating", () => {
  it("puts every part into evaluation mode and then back into its own", () => {
    const [drop, norm] = [new Dropout(0.5), new BatchNorm1d(2)];
    norm.training = false;
    const model = new Sequential(drop, norm);
    expect(whileEvaluating(model, () => [drop.training, norm.training])).toEqual([false, false]);
    expect([drop.training, norm.training]).toEqual([true, false]);
  });

  it("puts the modes back when the function throws", () => {
    const drop = new Dropout(0.5);
    const fail = () => {
      throw new Error("stop");
    };
    expect(() => whileEvaluating(drop, fail)).toThrow("stop");
    expect(drop.training).toBe(true);
    expect(() => whileEvaluating(drop, async () => 1)).toThrow("must be synchronous, got a promise");
    expect(drop.training).toBe(true);
  });
});
