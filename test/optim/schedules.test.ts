import * as optim from "bitgrad/optim";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OptionError } from "../../src/errors.ts";
import { plateau } from "../../src/optim/plateau.ts";
import type { Schedule } from "../../src/optim/schedules.ts";
import { type Case, expectWithin, golden } from "./golden.ts";

interface Curves {
  /** The learning rate the optimizer is made with. */
  readonly base: number;
  readonly lr: Schedule;
  readonly momentum?: Schedule;
}

// biome-ignore format: one row a schedule
const curves: Record<string, (p: Record<string, never>, variant: Case["variant"]) => Curves> = {
  step: (p) => ({ base: p.base_lr, lr: optim.step({ size: p.step_size, gamma: p.gamma }) }),
  multi_step: (p) => ({ base: p.base_lr, lr: optim.multiStep({ milestones: p.milestones, gamma: p.gamma }) }),
  exponential: (p) => ({ base: p.base_lr, lr: optim.exponential({ gamma: p.gamma }) }),
  cosine_annealing: (p) => ({ base: p.base_lr, lr: optim.cosineAnnealing({ period: p.T_max, floor: (p.eta_min ?? 0) / p.base_lr }) }),
  cosine_warm_restarts: (p) => ({ base: p.base_lr, lr: optim.cosineRestarts({ period: p.T_0, growth: p.T_mult }) }),
  linear: (p) => ({ base: p.base_lr, lr: optim.linear({ start: p.start_factor, end: p.end_factor ?? 1, total: p.total_iters }) }),
  constant: (p) => ({ base: p.base_lr, lr: optim.constant({ factor: p.factor, total: p.total_iters }) }),
  polynomial: (p) => ({ base: p.base_lr, lr: optim.polynomial({ total: p.total_iters, power: p.power }) }),
  warmup_cosine: (p) => ({ base: p.base_lr, lr: optim.cosine({ warmup: p.warmup, total: p.total, floor: p.floor }) }),
  one_cycle(p) {
    const shape = { total: p.total_steps, rise: p.pct_start, anneal: p.anneal_strategy };
    const start = 1 / (p.div_factor ?? 25);
    return {
      base: p.max_lr,
      lr: optim.oneCycle({ ...shape, start, end: start / (p.final_div_factor ?? 1e4) }),
      momentum: optim.oneCycle({ ...shape, start: 0.95, peak: 0.85, end: 0.95 }),
    };
  },
  cyclic(p, { options }) {
    const shape = { up: p.step_size_up, down: p.step_size_down, decay: p.mode === "triangular2" ? 0.5 : 1 };
    // In params the optimizer's own rate stands under base_lr, the name of CyclicLR's lower bound.
    const low = options?.base_lr as number;
    return {
      base: p.max_lr,
      lr: optim.cyclic({ ...shape, start: low / p.max_lr }),
      momentum: optim.cyclic({ ...shape, start: 0.9, peak: 0.8 }),
    };
  },
  sequential(p) {
    const { first, second, milestone } = p as Record<string, Record<string, never>>;
    return {
      base: p.base_lr,
      lr: optim.sequential(
        [
          optim.linear({ start: first.start_factor, end: 1, total: first.total_iters }),
          optim.cosineAnnealing({ period: second.T_max }),
        ],
        [milestone as unknown as number],
      ),
    };
  },
};

describe("golden schedule cases", () => {
  const cases = golden("schedule");

  it.each(cases.filter((c) => c.op !== "reduce_on_plateau").map((c) => [c.id, c] as const))(
    "%s",
    (_id, { op, params, variant, outputs, tol }: Case) => {
      const { base, lr, momentum } = curves[op](params as Record<string, never>, variant);
      expectWithin(
        outputs.lr.data.map((_, k) => base * lr(k)),
        outputs.lr.data,
        tol,
      );
      expect(outputs.momentum === undefined).toBe(momentum === undefined);
      if (momentum) {
        expectWithin(
          outputs.momentum.data.map((_, k) => momentum(k)),
          outputs.momentum.data,
          tol,
        );
      }
    },
  );

  it.each(cases.filter((c) => c.op === "reduce_on_plateau").map((c) => [c.id, c] as const))(
    "%s",
    (_id, { params, inputs, outputs, tol }: Case) => {
      const { base_lr: base, min_lr = 0, ...options } = params as Record<string, number>;
      const reducer = plateau({ ...options, floor: min_lr / base, eps: 1e-8 / base });
      expectWithin(
        inputs.metric.data.map((metric) => base * reducer.step(metric)),
        outputs.lr.data,
        tol,
      );
    },
  );
});

describe("schedules", () => {
  it("end where they say", () => {
    expect(optim.cosine({ warmup: 2, total: 10, floor: 0.1 })(50)).toBeCloseTo(0.1, 15);
    expect(optim.linear({ total: 10 })(50)).toBe(0);
    expect(optim.polynomial({ total: 10, power: 2 })(50)).toBe(0);
    expect(optim.oneCycle({ total: 10 })(50)).toBeCloseTo(1 / 25e4, 15);
    expect(optim.constant()(1e9)).toBe(1);
    expect(optim.constant({ factor: 0.5 })(1e9)).toBe(0.5);
  });

  it("noam peaks at the end of its warmup with dim^-½ · warmup^-½", () => {
    const curve = optim.noam({ dim: 512, warmup: 4000 });
    expect(curve(3999)).toBeCloseTo(1 / Math.sqrt(512 * 4000), 12);
    expect(curve(0)).toBeCloseTo(512 ** -0.5 * 4000 ** -1.5, 15);
    expect(curve(3998)).toBeLessThan(curve(3999));
    expect(curve(4000)).toBeLessThan(curve(3999));
    expect(curve(15999)).toBeCloseTo(curve(3999) / 2, 12);
  });

  it("cosine restarts begin at 1 after each period, and every period is growth times as long", () => {
    const curve = optim.cosineRestarts({ period: 3, growth: 2, floor: 0.2 });
    for (const start of [0, 3, 9, 21]) expect(curve(start)).toBe(1);
    for (const k of [1, 2, 8, 20]) expect(curve(k)).toBeLessThan(1);
  });

  it("stay between their floor and 1, whatever the step", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.nat(200),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (n, k, floor) => {
          for (const curve of [
            optim.cosine({ warmup: n - 1, total: n, floor }),
            optim.cosineAnnealing({ period: n, floor }),
            optim.cosineRestarts({ period: n, growth: 2, floor }),
            optim.cyclic({ up: n, start: floor }),
          ]) {
            const value = curve(k);
            expect(value).toBeGreaterThanOrEqual(Math.min(floor, 1 / n) - 1e-12);
            expect(value).toBeLessThanOrEqual(1 + 1e-12);
          }
        },
      ),
    );
  });

  it.each<[string, () => unknown]>([
    ["constant", () => optim.constant({ factor: -1 })],
    ["linear", () => optim.linear({ total: 0 })],
    ["linear", () => optim.linear({ total: 5, begin: 1 } as never)],
    ["polynomial", () => optim.polynomial({ total: 2.5 })],
    ["step", () => optim.step({ size: 3, gamma: Number.NaN })],
    ["multiStep", () => optim.multiStep({ milestones: [4, 2] })],
    ["exponential", () => optim.exponential({ gamma: 0 })],
    ["cosine", () => optim.cosine({ warmup: 10, total: 10 })],
    ["cosine", () => optim.cosine({} as never)],
    ["cosineAnnealing", () => optim.cosineAnnealing({ period: -1 })],
    ["cosineRestarts", () => optim.cosineRestarts({ period: 2, growth: 1.5 })],
    ["oneCycle", () => optim.oneCycle({ total: 10, rise: 0.05 })],
    ["oneCycle", () => optim.oneCycle({ total: 10, anneal: "cubic" as never })],
    ["cyclic", () => optim.cyclic({ up: 0 })],
    ["noam", () => optim.noam({ dim: 0, warmup: 1 })],
    ["sequential", () => optim.sequential([optim.constant()], [3])],
    ["plateau", () => plateau({ factor: 1 })],
    ["plateau", () => plateau({ mode: "up" as never })],
    ["plateau", () => plateau().step(Number.NaN)],
    ["plateau", () => plateau().loadStateDict({ multiplier: 1 } as never)],
  ])("%s names itself when it refuses its options (%#)", (name, make) => {
    expect(make).toThrow(OptionError);
    expect(make).toThrow(new RegExp(`^${name}: `));
  });
});

describe("plateau", () => {
  it("resumes from its state as if it had not stopped", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }),
        fc.nat(30),
        (metrics, cut) => {
          const options = { patience: 1, cooldown: 1, factor: 0.5 } as const;
          const whole = plateau(options);
          const expected = metrics.map((m) => whole.step(m));
          const first = plateau(options);
          for (const m of metrics.slice(0, cut)) first.step(m);
          const second = plateau(options);
          second.loadStateDict(JSON.parse(JSON.stringify(first.stateDict())));
          expect(metrics.slice(cut).map((m) => second.step(m))).toEqual(expected.slice(cut));
        },
      ),
    );
  });

  it("measures its threshold by the size of the best metric, below zero too", () => {
    const falling = plateau({ mode: "min", patience: 3 });
    // From −1 to −0.5: worse at every reading.
    const rises = Array.from({ length: 8 }, (_, i) => falling.step(-1 + i * 5e-5));
    expect(rises.at(-1)).toBeLessThan(1);
    const climbing = plateau({ mode: "max", patience: 0 });
    expect([-1, -1.00005, -0.5].map((m) => climbing.step(m))).toEqual([1, 0.1, 0.1]);
    const gaining = plateau({ mode: "min", patience: 0 });
    expect([-1, -1.1, -1.10001].map((m) => gaining.step(m))).toEqual([1, 1, 0.1]);
  });

  it("takes any number for better than an infinite one", () => {
    const reducer = plateau({ patience: 0 });
    expect([Infinity, 3, 2].map((m) => reducer.step(m))).toEqual([1, 1, 1]);
  });

  it.each([{ multiplier: -1 }, { multiplier: Infinity }, { bad: 0.5 }, { cooling: -1 }, { best: "1" }])(
    "refuses a state with %o and keeps its own",
    (wrong) => {
      const reducer = plateau();
      reducer.step(2);
      const before = reducer.stateDict();
      expect(() => reducer.loadStateDict({ ...before, ...wrong } as never)).toThrow(OptionError);
      expect(reducer.stateDict()).toEqual(before);
    },
  );

  it("counts an absolute gain below the threshold as none", () => {
    const reducer = plateau({ patience: 0, threshold: 0.1, thresholdMode: "absolute" });
    expect([1, 0.95, 0.8].map((m) => reducer.step(m))).toEqual([1, 0.1, 0.1]);
  });
});
