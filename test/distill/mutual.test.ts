import { OptionError, Rng, randn, ShapeError, type Tensor, tensor } from "bitgrad";
import {
  confidenceMask,
  entropy,
  injectLabelNoise,
  kdLoss,
  type MutualOptions,
  mutualLoss,
  type ProSelfLossOptions,
  proSelfLoss,
  proSelfTarget,
  thresholdSchedule,
} from "bitgrad/distill";
import { crossEntropy } from "bitgrad/nn";
import { expectClose, gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { differing, type MethodCase, methodCases, tensorOf } from "../golden/method-cases.ts";

const deep = (given: MethodCase<unknown>, name: string): Tensor =>
  tensor(tensorOf(given.inputs[name]).to("float64"), { requiresGrad: true });
const numbers = (x: Tensor): number[] => [...x.data].map(Number);

interface Given {
  average: "sum" | "mean";
  w: number;
  chi: number;
  mask_norm: "all" | "selected";
  eta: number;
  b: number;
  classes: number;
}
const cases = methodCases<Given>("distill-mutual");
const of = (method: string) => cases.filter(({ name }) => name.startsWith(`distill/${method}/`));

const found = (given: MethodCase<Given>, names: string[], zs: Tensor[], options: Partial<MutualOptions>) => {
  const labels = tensorOf(given.inputs.labels).to("int32");
  const { losses, total } = mutualLoss(zs, { labels, ...options });
  total.backward();
  return [
    ...differing(given, "loss", numbers(total)),
    ...names.flatMap((name, i) => differing(given, name, numbers(losses[i]))),
    ...zs.flatMap((z, i) => differing(given, `grad_z${names[i].replace(/loss_?/, "")}`, numbers(z.grad!))),
  ];
};

describe("mutualLoss", () => {
  it.each(of("dml"))("gives what is known: $name", (given) => {
    const names = Object.keys(given.outputs).filter((name) => /^loss\d/.test(name));
    const zs = names.map((_, i) => deep(given, `z${i}`));
    expect(found(given, names, zs, { average: given.params.average })).toEqual([]);
  });

  it.each(of("cmd_loss"))("gives what is known where peers teach as they are sure: $name", (given) => {
    const zs = [deep(given, "za"), deep(given, "zb")];
    const { chi, w, mask_norm } = given.params;
    const masks = zs.map((z) => confidenceMask(z, { threshold: chi }));
    const options = { masks, weight: w, maskNorm: mask_norm };
    expect(found(given, ["loss_a", "loss_b"], zs, options)).toEqual([]);
  });

  const rng = new Rng(8);
  const zs: Tensor[] = [0, 1, 2].map(() => randn([4, 6], { rng, dtype: "float64" }));
  const labels = tensor([1, -100, 5, 2], { dtype: "int32" });
  const mask = tensor([1, 1, 0, 1]);
  const masks = [
    [1, 0, 1, 1],
    [0, 0, 0, 0],
    [1, 1, 1, 0],
  ].map((row) => tensor(row));

  it.each<Partial<MutualOptions>>([
    {},
    { labels, temperature: 2, average: "mean" },
    { labels, masks, mask, maskNorm: "selected", weight: 3 },
  ])("has the right gradient for each peer alone, %#", (options) => {
    for (const [i, own] of zs.entries()) {
      const losses = (z: Tensor) => mutualLoss(zs.with(i, z), options).losses;
      gradcheck((z) => losses(z)[i], [own]);
      const z = tensor(own, { requiresGrad: true });
      const others = losses(z).filter((_, j) => j !== i);
      for (const loss of others) expect(loss.requiresGrad).toBe(false);
    }
  });

  it("does not see a peer where it does not teach", () => {
    const odd = tensor(masks[0].unsqueeze(-1).notEqual(0).where(zs[0], Number.NaN), { requiresGrad: true });
    const z = tensor(zs[1], { requiresGrad: true });
    const loss = mutualLoss([odd, z, zs[2]], { masks }).losses[1];
    loss.backward();
    expectClose(loss, mutualLoss(zs, { masks }).losses[1]);
    expect(z.grad!.isFinite().all().item()).toBe(1);
  });

  it("teaches without labels what kdLoss does, and nothing by a weight of 0", () => {
    const [a, b] = zs;
    expectClose(mutualLoss([a, b], { temperature: 3 }).losses[0], kdLoss(a, b, { temperature: 3 }));
    expect(mutualLoss([a, b], { weight: 0 }).total.item()).toBe(0);
    expectClose(mutualLoss([a, b], { weight: 0, labels }).losses[1], crossEntropy(b, labels));
  });

  it.each<[unknown, unknown, string]>([
    [[zs[0]], {}, "at least two peers"],
    [zs[0], {}, "at least two peers"],
    [[zs[0], 3], {}, "expected a tensor"],
    [[zs[0], zs[1].slice([[0, 2]])], {}, "must have one shape (…, C), got (4, 6) and (2, 6)"],
    [zs, { weight: -1 }, "weight must be finite and not negative, got -1"],
    [zs, { weight: Infinity }, "weight must be finite"],
    [zs, { average: "max" }, "average must be one of sum, mean"],
    [zs, { maskNorm: "none" }, "maskNorm must be one of all, selected"],
    [zs, { masks: masks.slice(1) }, "masks must be a list of one for each of 3 peers"],
    [zs, { masks: masks.with(1, tensor([1])) }, "the mask must have the shape of the positions"],
    [zs, { temperature: 0 }, "temperature must be a finite number above 0, got 0"],
  ])("refuses %# with %o", (peers, options, text) => {
    expect(() => mutualLoss(peers as Tensor[], options as MutualOptions)).toThrow(text);
  });
});

describe("thresholdSchedule and confidenceMask", () => {
  it.each(of("cmd_threshold"))("give what is known: $name", (given) => {
    const { eta, b, classes } = given.params;
    const z = deep(given, "z");
    const chi = thresholdSchedule({ eta, b, classes });
    const at = given.inputs.r.data.map((r) => chi(r));
    expect(differing(given, "chi", at)).toEqual([]);
    expect(differing(given, "entropy", numbers(entropy(z)))).toEqual([]);
    const taken = at.flatMap((threshold) => numbers(confidenceMask(z, { threshold })));
    expect(differing(given, "mask", taken)).toEqual([]);
  });

  it("are sure of nothing that is NaN, and count classes of −∞ as none", () => {
    const z = tensor([
      [Number.NaN, 0],
      [-Infinity, 0],
      [0, 0],
    ]);
    for (const measure of ["entropy", "maxProb"] as const) {
      const options = { threshold: measure === "entropy" ? 0.6 : 0.9, measure };
      expect(confidenceMask(z, options).toArray()).toEqual([false, true, false]);
    }
    gradcheck(entropy, [randn([3, 4], { rng: new Rng(1), dtype: "float64" })]);
  });

  it("refuse what they cannot read", () => {
    const z = tensor([[1, 2]]);
    expect(() => confidenceMask(z, { threshold: Infinity })).toThrow("threshold must be a finite number");
    expect(() => confidenceMask(z, {} as { threshold: number })).toThrow(OptionError);
    expect(() => confidenceMask(tensor(1), { threshold: 1 })).toThrow(ShapeError);
    expect(() => confidenceMask(z, { threshold: 1, measure: "max" as "maxProb" })).toThrow("measure must be");
    expect(() => thresholdSchedule({ classes: 1 })).toThrow("classes must be an integer of at least 2");
    expect(() => thresholdSchedule({ classes: 3, eta: -1 })).toThrow("eta must be at least 0");
    expect(() => thresholdSchedule({ classes: 3, b: Infinity })).toThrow("b must be finite");
  });
});

interface Corrected {
  t: number;
  total: number;
  B: number;
  transit: number;
  loss_mode?: string;
  trust?: string;
}

describe("proSelfLoss", () => {
  const optionsOf = ({ t, total, B, transit, loss_mode, trust }: Corrected): ProSelfLossOptions => ({
    progress: t / total,
    steepness: B,
    center: transit,
    trust:
      trust === "global only" ? "global" : trust?.includes("max_p") ? "global·maxProb" : "global·entropy",
    form: loss_mode === undefined ? "ce-live" : loss_mode === "cross entropy" ? "ce-detached" : "kl-live",
    targetTemperature: 1,
    mask: null,
    reduction: "batchmean",
  });

  it.each(methodCases<Corrected>("distill-self-correction"))("gives what is known: $name", (given) => {
    const options = optionsOf(given.params);
    const z = deep(given, "zs");
    const q = tensorOf(given.inputs.q).to("float64");
    const loss = proSelfLoss(z, q, options);
    loss.backward();
    const { form: _, mask: __, reduction: ___, ...how } = options;
    const { target, trust } = proSelfTarget(z, q, how);
    const trusted = given.outputs.epsilon.data.length === 1 ? [numbers(trust)[0]] : numbers(trust);
    expect([
      ...differing(given, "loss", numbers(loss)),
      ...differing(given, "epsilon", trusted),
      ...differing(given, "target", numbers(target)),
      ...differing(given, "grad_zs", numbers(z.grad!)),
    ]).toEqual([]);
    expectClose(proSelfLoss(z, q.argmax({ axis: -1 }), options), loss);
  });

  it("trusts by the product of time and certainty", () => {
    const table = [
      [0.1, 0.1, 0.01],
      [0.1, 0.9, 0.09],
      [0.9, 0.1, 0.09],
      [0.9, 0.9, 0.81],
    ];
    for (const [g, sure, wanted] of table) {
      // A progress of sigmoid g, and logits (x, 0) of the certainty.
      const progress = 0.5 + Math.log(g / (1 - g)) / 10;
      let [low, high] = [0, 40];
      for (let i = 0; i < 60; i++) {
        const middle = (low + high) / 2;
        const certainty = 1 - entropy(tensor([[middle, 0]], { dtype: "float64" })).item() / Math.log(2);
        if (certainty < sure) low = middle;
        else high = middle;
      }
      const { trust } = proSelfTarget(tensor([[low, 0]], { dtype: "float64" }), [0], { progress });
      expect(trust.item()).toBeCloseTo(wanted, 6);
    }
  });

  it("sharpens what it adds to the target, not the trust", () => {
    const z = tensor([[1, 0, 0]]);
    const how = { progress: 1, trust: "global" } as const;
    const [plain, sharp] = [1, 0.4].map((targetTemperature) =>
      proSelfTarget(z, [1], { ...how, targetTemperature }),
    );
    expect(sharp.trust.toArray()).toEqual(plain.trust.toArray());
    expect(sharp.target.toArray()).not.toEqual(plain.target.toArray());
    expectClose(sharp.target.sum({ axis: -1 }), tensor([1]));
  });

  it("differentiates a detached target as a constant", () => {
    const z = randn([3, 4], { rng: new Rng(2), dtype: "float64" });
    const how = { progress: 0.7, targetTemperature: 0.5 };
    const s = tensor(z, { requiresGrad: true });
    proSelfLoss(s, [0, 1, 2], how).backward();
    const { target } = proSelfTarget(z, [0, 1, 2], how);
    expectClose(s.grad!, z.softmax().sub(target).div(3), { atol: 1e-6 });
  });

  it.each<[Partial<ProSelfLossOptions>, string]>([
    [{ progress: 1.5 }, "progress must lie between 0 and 1, got 1.5"],
    [{}, "progress must lie between 0 and 1, got undefined"],
    [{ progress: 1, steepness: -1 }, "steepness must be finite and not negative, got -1"],
    [{ progress: 1, center: Infinity }, "center must be finite"],
    [{ progress: 1, trust: "entropy" as "global" }, "trust must be one of"],
    [{ progress: 1, form: "kl" as "kl-live" }, "form must be one of"],
    [{ progress: 1, targetTemperature: 0 }, "temperature must be a finite number above 0"],
  ])("refuses %o", (options, text) => {
    expect(() => proSelfLoss(tensor([[1, 2]]), [0], options as ProSelfLossOptions)).toThrow(text);
  });
});

describe("injectLabelNoise", () => {
  const labels = tensor(
    Array.from({ length: 20_000 }, (_, i) => i % 10),
    { dtype: "int32" },
  );
  const share = (x: Tensor) => x.to("float32").mean().item();

  it("changes about the asked share to other classes alike", () => {
    const { labels: noisy, changed } = injectLabelNoise(labels, { rate: 0.4, classes: 10, rng: new Rng(3) });
    expect(share(changed)).toBeCloseTo(0.4, 1);
    expectClose(changed.to("int32"), noisy.notEqual(labels).to("int32"));
    const shifts = numbers(noisy.sub(labels)).map((by) => (by + 10) % 10);
    for (let k = 1; k < 10; k++) {
      expect(shifts.filter((s) => s === k).length / 20_000).toBeCloseTo(0.4 / 9, 1);
    }
  });

  it("changes by a map the classes that it names", () => {
    const map = [0, 7, 2, 3, 4, 5, 6, 1, 8, 9];
    const options = { rate: 1, kind: "asymmetric", classes: 10, map, rng: new Rng(3) } as const;
    const { labels: noisy, changed } = injectLabelNoise(labels, options);
    expect(numbers(noisy)).toEqual(numbers(labels).map((label) => map[label]));
    expect(share(changed)).toBeCloseTo(0.2, 5);
  });

  it("draws the same by the same seed, and leaves -100 alone", () => {
    const draw = () => injectLabelNoise([0, -100, 1], { rate: 1, classes: 2, rng: new Rng(4) });
    expect(draw().labels.toArray()).toEqual([1, -100, 0]);
    expect(draw().changed.toArray()).toEqual([true, false, true]);
    expect(injectLabelNoise(labels, { rate: 0, classes: 10 }).changed.any().item()).toBe(0);
  });

  it.each<[unknown, string]>([
    [{ rate: 2, classes: 3 }, "rate must lie between 0 and 1, got 2"],
    [{ rate: 0.5, classes: 1 }, "classes must be an integer of at least 2"],
    [{ rate: 0.5, classes: 2 }, "labels must be classes from 0 to 1 or -100, got 2"],
    [{ rate: 0.5, classes: 3, kind: "asymmetric" }, 'a map goes with "asymmetric" noise'],
    [{ rate: 0.5, classes: 3, map: [0, 1, 2] }, 'a map goes with "asymmetric" noise'],
    [{ rate: 0.5, classes: 3, kind: "asymmetric", map: [0, 1, 3] }, "map must be a list of a class"],
    [{ rate: 0.5, classes: 3, kind: "flip" }, "kind must be one of"],
  ])("refuses %o", (options, text) => {
    expect(() => injectLabelNoise([0, 1, 2], options as { rate: number; classes: number })).toThrow(text);
  });
});
