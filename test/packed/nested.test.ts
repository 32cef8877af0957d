/** A packed model that runs inside the layer of another. */

import { Linear } from "bitgrad/nn";
import { FieldReader, type Fields, PackedModel, type PackedStep, type Values } from "bitgrad/packed";
import { pack } from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { heapUse } from "../../kernels/wasm/heap.ts";
import { random, values } from "./twins.ts";

const inner = pack(new Linear(96, 96));
const x = values(random([8, 96], 1));
const list = ({ data }: Values) => Array.from(data);

/** Runs a model in its `forward`, and tells what it gave. */
class Around implements PackedStep {
  static readonly kind = "around";
  readonly kind = "around";
  static run: (x: Values) => Values = (x) => inner.forward(x);
  static readonly kept: Values[] = [];

  constructor(fields: Fields) {
    new FieldReader("around", fields);
  }

  forward(given: Values): Values {
    const y = Around.run(given);
    Around.kept.push(y);
    return y;
  }
}

const steps = [{ kind: "around" }, { kind: "function", name: "relu" }];
const model = new PackedModel({ kind: "sequential", steps } as never, { kinds: [Around] });

describe("a packed model inside the layer of another", () => {
  it("gives a result of its own, which later runs leave alone, and what it took from the heap", () => {
    const want = list(inner.forward(x));
    Around.kept.length = 0;
    Around.run = (given) => inner.forward(given);
    expect(list(model.forward(x))).toEqual(want.map((v) => Math.max(v, 0)));
    const others = [2, 3, 4, 5].map((seed) => values(random([8, 96], seed)));
    const before = heapUse().bytes;
    for (const other of others) model.forward(other);
    expect(list(Around.kept[0])).toEqual(want);
    expect(heapUse().bytes).toBe(before);
  });

  it("keeps to its own budget, and the outer run to its own after it", () => {
    Around.run = (given) => inner.forward(given, { budget: 10 });
    expect(() => model.forward(x)).toThrow(/the run must keep to (its budget|1024 products)/);
    Around.run = (given) => {
      try {
        return inner.forward(given, { budget: 10 });
      } catch {
        return inner.forward(given);
      }
    };
    expect(list(model.forward(x))).toEqual(list(inner.forward(x)).map((v) => Math.max(v, 0)));
  });

  it("takes from the budget of the outer run", () => {
    const once = (given: Values) => inner.forward(given, { budget: 2 ** 24 });
    Around.run = once;
    const budget = 2 ** 13;
    model.forward(x, { budget });
    Around.run = (given) => {
      for (let i = 0; i < 20; i++) once(given);
      return once(given);
    };
    expect(() => model.forward(x, { budget })).toThrow("must keep to its budget of numbers");
    model.forward(x);
  });
});
