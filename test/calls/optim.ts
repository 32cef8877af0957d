/** A right call of everything that `bitgrad/optim` exports. */

import { ones } from "bitgrad";
import * as optim from "bitgrad/optim";
import {
  type Call,
  call,
  choice,
  count,
  each,
  exact,
  flag,
  fn,
  given,
  list,
  matrix,
  model,
  parameter,
  positive,
  real,
  share,
  small,
  type Table,
  text,
} from "./call.ts";

const lr = positive(0.1);
const weightDecay = positive(0);
const eps = positive(1e-8);
const betas = given(() => [0.9, 0.99], "", "fraction");
const decay = { ...share(0.9), takes: new Set(["fraction"] as const) };
const rule = { lr, eps, weightDecay };
const adaptive = { ...rule, betas };

const rules: Table = {
  adadelta: call([], { ...rule, rho: decay }),
  adagrad: call([], { ...rule, lrDecay: positive(0), initialAccumulator: positive(0) }),
  adam: call([], { ...adaptive, amsgrad: flag(false) }),
  adamw: call([], { ...adaptive, amsgrad: flag(false) }),
  adamax: call([], adaptive),
  lion: call([], { lr, betas, weightDecay }),
  nadam: call([], { ...adaptive, momentumDecay: positive(0.004) }),
  radam: call([], adaptive),
  rmsprop: call([], { ...rule, alpha: decay, momentum: positive(0), centered: flag(false) }),
  sgd: call([], {
    lr,
    momentum: positive(0.9),
    dampening: positive(0),
    nesterov: flag(false),
    weightDecay,
    maximize: flag(false),
  }),
  signSgd: call([], { lr, weightDecay }),
  signum: call([], { lr, momentum: decay, weightDecay }),
};

const total = count(10, "huge");
const factor = positive(0.5);
const schedules: Table = {
  constant: call([], { factor, total }),
  linear: call([], { start: factor, end: factor, total }, { needs: "total" }),
  polynomial: call([], { total, power: factor }, { needs: "total" }),
  step: call([], { size: total, gamma: factor }, { needs: "size" }),
  multiStep: call(
    [],
    { milestones: list(() => [2, 4], "list", "huge"), gamma: factor },
    { needs: "milestones" },
  ),
  exponential: call([], { gamma: factor }, { needs: "gamma" }),
  cosine: call([], { warmup: count(2), total, floor: factor }, { needs: "total" }),
  cosineAnnealing: call([], { period: total, floor: factor }, { needs: "period" }),
  cosineRestarts: call([], { period: total, growth: count(2, "huge"), floor: factor }, { needs: "period" }),
  oneCycle: call(
    [],
    {
      total,
      rise: share(0.5),
      start: factor,
      peak: factor,
      end: factor,
      anneal: choice("linear"),
    },
    { needs: "total" },
  ),
  cyclic: call([], { start: factor, peak: factor, up: total, down: total, decay: factor }, { needs: "up" }),
  noam: call([], { dim: total, warmup: total }, { needs: "dim warmup" }),
  sequential: call([
    list(() => [optim.constant(), optim.constant()], "", "function"),
    list(() => [3], "", "huge"),
  ]),
};

const made = () => optim.optimizer(small(), optim.adam());
const stepped = () => {
  const held = [parameter(), parameter()];
  for (const p of held) p.grad = ones(p.shape);
  return held;
};
const opt = (run: (o: optim.Optimizer, value: never) => void, place: Call["args"][number], says = ""): Call =>
  call([place], null, { run: (value: never) => run(made(), value), says: `optimizer ${says}`.trim() });

const optimizers: Table = {
  optimizer: call(
    [model(), given(() => optim.sgd(), "list")],
    {
      clipNorm: positive(1, "null"),
      clipValue: positive(1, "null"),
      rng: given(() => null, "null"),
    },
    { says: "model" },
  ),
  "optimizer().lr": opt((o, value) => {
    o.lr = value;
  }, positive(0.1)),
  "optimizer().loadStateDict": opt(
    (o, value) => o.loadStateDict(value),
    given(() => made().stateDict()),
  ),
  "optimizer().step": call([exact(matrix, "null")], null, {
    run: (grad: never) => {
      const p = parameter();
      p.grad = grad;
      optim.optimizer([p], optim.sgd()).step();
    },
    says: "grad",
  }),
  clipGradNorm: call([list(stepped, "list"), positive(1)], { normType: positive(2) }),
  clipGradValue: call([list(stepped, "list"), positive(1)]),
  plateau: call([], {
    mode: choice("max"),
    factor: share(0.5),
    patience: count(2, "huge"),
    threshold: positive(0.1),
    thresholdMode: choice("absolute"),
    cooldown: count(1, "huge"),
    floor: positive(0),
    eps: positive(0),
  }),
  "plateau().step": call([real(1)], null, {
    run: (metric: number) => optim.plateau().step(metric),
    says: "plateau",
  }),
  "plateau().loadStateDict": call([given(() => optim.plateau().stateDict())], null, {
    run: (state: never) => optim.plateau().loadStateDict(state),
    says: "plateau",
  }),
  schedule: call([given(made), fn(() => 1, ""), given(() => "eps", "undefined")]),
  "schedule().loadStateDict": call([given(() => ({ count: 1 }))], null, {
    run: (state: never) => optim.schedule(made(), () => 1).loadStateDict(state),
    says: "schedule",
  }),
  ...each("isBias isBinary isNorm everything", "called by the optimizer"),
  matching: call([text("*.weight")], null, { says: "matchPath" }),
};

export const table: Table = { ...rules, ...schedules, ...optimizers };
