/** Taps within taps: each hears all that runs, whichever was made first. */

import { checkpoint, ones, StageError, type Tensor } from "bitgrad";
import { Linear, Sequential, taps } from "bitgrad/nn";
import { describe, expect, it } from "vitest";

const x = ones([1, 2]);
const net = () => new Sequential({ a: new Linear(2, 2), b: new Linear(2, 2) });
const orders = [[0], [1]] as const;

/** Two taps of one model, made in this order, the first the outer one. */
const pair = (model: object, outerFirst: number) => {
  const made = [taps(model, "*"), taps(model, "*")];
  return outerFirst ? made : made.reverse();
};

describe("nested taps", () => {
  it.each(orders)("hear what ends the pass of another, made in order %d", (order) => {
    const model = net();
    const [outer, inner] = pair(model, order);
    const { calls, result } = outer.collect(() => inner.collect(() => model.forward(x), { until: "a" }));
    for (const { length } of [calls.get("a")!, result.calls.get("a")!]) expect(length).toBe(1);
    expect(calls.get("b")).toHaveLength(0);
    expect(outer.collect(() => model.forward(x)).calls.get("b")).toHaveLength(1);
  });

  it.each(orders)("end the outer pass where both end, made in order %d", (order) => {
    const model = net();
    const [outer, inner] = pair(model, order);
    let after = false;
    const { calls, result } = outer.collect(
      () => {
        inner.collect(() => model.forward(x), { until: "a" });
        after = true;
      },
      { until: "a" },
    );
    expect([result, after]).toEqual([undefined, false]);
    expect(calls.get("a")).toHaveLength(1);
    expect(inner.collect(() => model.forward(x)).calls.get("b")).toHaveLength(1);
  });

  it.each(orders)("refuse a checkpoint alike, made in order %d", (order) => {
    const model = net();
    const [outer, inner] = pair(model, order);
    const run = () => checkpoint((t: Tensor) => model.forward(t))(x);
    expect(() => outer.collect(() => inner.collect(run, { until: "a" }))).toThrow(StageError);
    expect(outer.collect(() => model.forward(x)).calls.get("a")).toHaveLength(1);
  });
});
