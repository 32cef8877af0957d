import { manualSeed, OptionError, randn, relu, StageError, type Tensor, tensor } from "bitgrad";
import { Conv2d, Embedding, Flatten, Linear, Sequential, statistics } from "bitgrad/nn";
import { freeze, int8Static, plan, prepare, type QTensor, quantizedTransform, ste } from "bitgrad/quant";
import { beforeEach, describe, expect, it } from "vitest";
import { quantizeBy } from "../../src/codes/quantizer.ts";
import {
  type CalibrationOptions,
  calibrationDefaults,
  codesFor,
  matrixOf,
  paramsFor,
  type Site,
  scaleIndices,
  sitesOf,
  visitInOrder,
} from "../../src/quant/methods/sites.ts";

beforeEach(() => manualSeed(3));

const coarse = () => plan({ default: { weight: ste({ bits: 3 }) } });
const options = (more: Partial<CalibrationOptions<Tensor>> = {}): CalibrationOptions<Tensor> => ({
  ...calibrationDefaults,
  ...more,
});
/** The nearest codes. */
const nearest = ({ transform, quantizer }: Site): QTensor => quantizeBy(transform.latent(), quantizer);

/** Its parts lie in another order than they run in. */
class Mixed {
  readonly last = new Linear(6, 2);
  readonly query = new Linear(4, 6, { bias: false });
  readonly first = new Linear(5, 4);
  readonly key = new Linear(4, 6, { bias: false });
  forward(x: Tensor): Tensor {
    const y = relu(this.first.forward(x));
    return this.last.forward(this.query.forward(y).mul(this.key.forward(y)));
  }
}

/** Runs one part as often as there are rows, and the other for several rows alone. */
class Ways {
  readonly many = new Linear(4, 4);
  readonly some = new Linear(4, 4);
  forward(x: Tensor): Tensor {
    let y = x;
    for (let i = 0; i < x.shape[0]; i++) y = this.many.forward(y);
    return x.shape[0] === 1 ? y : this.some.forward(y);
  }
}

describe("the visit of quantized layers", () => {
  it("gives the inputs of all calls where batches take ways of their own", async () => {
    const model = prepare(new Ways(), coarse());
    for (const [sizes, many, some] of [
      [[1, 3], 1 + 3 * 3, 3],
      [[3, 1], 1 + 3 * 3, 3],
    ] as const) {
      const found: Record<string, number> = {};
      const batches = sizes.map((rows) => randn([rows, 4]));
      await visitInOrder("visit", model, batches, options(), ["mean"], ({ layer }, { rows }) => {
        found[layer] = rows;
        return null;
      });
      expect(found).toEqual({ many, some });
    }
  });

  it("follows the order in which the model runs them", async () => {
    const model = prepare(new Mixed(), coarse());
    const seen: string[] = [];
    const progress: string[] = [];
    const onLayer: CalibrationOptions<Tensor>["onLayer"] = ({ layer, done, of }) =>
      progress.push(`${layer} ${done}/${of}`);
    await visitInOrder("visit", model, [randn([3, 5])], options({ onLayer }), ["mean"], ({ layer }) => {
      seen.push(layer);
      return null;
    });
    expect(seen).toEqual(["first", "query", "key", "last"]);
    expect(progress).toEqual(["first 1/4", "query 2/4", "key 3/4", "last 4/4"]);
  });

  it("gives statistics with the codes of earlier layers in place, and later ones float", async () => {
    const model = prepare(new Mixed(), coarse());
    const batches = [randn([3, 5]), randn([2, 5])];
    const found = new Map<string, Tensor>();
    await visitInOrder("visit", model, batches, options(), ["hessian"], (site, { hessian }) => {
      found.set(site.layer, hessian);
      return nearest(site);
    });
    // All of them hold their nearest codes now, which are what the quantizers give anyway.
    const quantized = await statistics(model, batches, { keep: ["hessian"], float: false });
    const float = await statistics(model, batches, { keep: ["hessian"] });
    for (const [layer, hessian] of found) {
      expect(hessian.data).toEqual(quantized.get(layer)!.hessian.data);
      if (layer !== "first") expect(hessian.data).not.toEqual(float.get(layer)!.hessian.data);
    }
  });

  it("takes inputs of layers that quantize them as they are, calibrated or not", async () => {
    const model = prepare(new Mixed(), plan({ default: int8Static() }));
    const batches = [randn([3, 5])];
    const means: Tensor[] = [];
    await visitInOrder("visit", model, batches, options({ layers: "first" }), ["mean"], (_, { mean }) => {
      means.push(mean);
      return null;
    });
    expect(means[0].data).toEqual(
      (await statistics(model, batches, { layers: "first" })).get("first")!.mean.data,
    );
  });

  it("sees every call of a layer that runs more than once", async () => {
    const shared = new Linear(4, 4);
    const model = prepare(new Sequential(shared, relu, shared), coarse());
    let rows = 0;
    await visitInOrder("visit", model, [randn([3, 4]), randn([2, 4])], options(), ["mean"], (_, of) => {
      rows += of.rows;
      return null;
    });
    expect(rows).toBe(10);
  });

  it("leaves what transforms held before where a visit throws", async () => {
    const model = prepare(new Mixed(), coarse());
    const [first, second] = sitesOf("visit", model, null);
    second.transform.hold(nearest(second));
    const held = second.transform.codes!.codes.toArray();
    const visit = visitInOrder("visit", model, [randn([3, 5])], options(), ["mean"], (site) => {
      if (site.layer === "last") throw new Error("no codes");
      const codes = nearest(site);
      return { ...codes, codes: codes.codes.mul(0) as QTensor["codes"] };
    });
    await expect(visit).rejects.toThrow();
    expect(first.transform.codes).toBeNull();
    expect(second.transform.codes!.codes.toArray()).toEqual(held);
  });

  it("tells layers that no batch reaches, and batches that run once", async () => {
    const model = prepare(new Mixed(), coarse());
    const forward = (x: Tensor) => model.first.forward(x);
    const visit = (batches: Iterable<Tensor>, more = {}) =>
      visitInOrder("visit", model, batches, options(more), ["mean"], () => null);
    await expect(visit([randn([3, 5])], { forward })).rejects.toThrow(
      new StageError(
        'visit: no batch reached a layer, got no input of "last"; run it by { forward }, or leave it out by { layers }',
      ),
    );
    await expect(visit([])).rejects.toThrow(new StageError("visit: needs at least one batch, got none"));
    await expect(visit([randn([3, 5])][Symbol.iterator]())).rejects.toThrow(OptionError);
    await expect(visit([randn([3, 5]).mul(Number.NaN)])).rejects.toThrow("inputs must be finite");
    await expect(visit([randn([3, 5])], { onLayer: 3 })).rejects.toThrow(OptionError);
    await visit([randn([3, 5])], { forward, layers: "first" });
  });
});

describe("sites", () => {
  it("are the quantized linear layers and convolutions alone", () => {
    const model = new Sequential({
      table: new Embedding(5, 4),
      conv: new Conv2d(4, 6, 3, { groups: 2 }),
      flat: new Flatten(),
      left: new Linear(8, 3),
      right: new Linear(3, 3),
    });
    prepare(model, plan({ default: { weight: ste({ bits: 4 }) }, rules: [["right.weight", null]] }));
    const found = sitesOf("visit", model, null);
    expect(found.map(({ path, rows, columns }) => [path, rows, columns])).toEqual([
      ["conv.weight", 6, 18],
      ["left.weight", 3, 8],
    ]);
    expect(() => sitesOf("visit", model, "right")).toThrow(OptionError);
  });

  it("need a prepared model that is not frozen, and weights of one layer each", () => {
    expect(() => sitesOf("visit", new Linear(2, 2), null)).toThrow(StageError);
    const model = prepare(new Linear(2, 2), coarse());
    expect(() => sitesOf("visit", freeze(model), null)).toThrow(StageError);
    const left = new Linear(3, 3);
    const right = new Linear(3, 3);
    right.weight = left.weight;
    const tied = prepare(new Sequential({ left, right }), coarse());
    expect(() => sitesOf("visit", tied, null)).toThrow('two layers share a weight, got "left" and "right"');
    expect(sitesOf("visit", tied, "left")).toHaveLength(1);
  });

  it("give the weight behind masks, its scales by element, and codes that are held", () => {
    const layer = new Linear(5, 2);
    layer.weight.assign(tensor([1, -2, 3, 0.5, 4, -1, 2, 2, 1, 0.25], { shape: [2, 5] }));
    const model = prepare(layer, plan({ default: { weight: ste({ bits: 4, granularity: { group: 3 } }) } }));
    const [site] = sitesOf("visit", model, null);
    const weight = matrixOf(site);
    expect([...weight]).toEqual([1, -2, 3, 0.5, 4, -1, 2, 2, 1, 0.25]);
    expect([...scaleIndices(site)]).toEqual([0, 0, 0, 1, 1, 2, 2, 2, 3, 3]);
    const params = paramsFor(site, weight);
    expect(params.scale.shape).toEqual([2, 2]);
    const codes = new Array(10).fill(1);
    site.transform.hold(codesFor(site, codes, params));
    expect(quantizedTransform(layer.weight)!.codes!.codes.toArray()).toEqual([
      [1, 1, 1, 1, 1],
      [1, 1, 1, 1, 1],
    ]);
    site.transform.release();
    expect(site.transform.codes).toBeNull();
    expect(() => quantizedTransform(freeze(model).weight)!.release()).toThrow(StageError);
  });
});
