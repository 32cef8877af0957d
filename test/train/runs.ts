/** Training runs of every kind, built anew at each call, to be interrupted and resumed. */

import { createHash } from "node:crypto";
import { Rng, randn, type Tensor, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import {
  BatchNorm1d,
  Dropout,
  Linear,
  mseLoss,
  Parameter,
  parametrize,
  Sequential,
  signs,
  stateDict,
  type Transform,
} from "bitgrad/nn";
import {
  adamw,
  cosine,
  everything,
  isBias,
  linear,
  matching,
  type Optimizer,
  optimizer,
  plateau,
  schedule,
  sgd,
} from "bitgrad/optim";
import { bwn, calibrate, dynamicInput, int8Static, plan, prepare, type Quantizer, spec } from "bitgrad/quant";
import { type Resumable, trainStep } from "bitgrad/train";
import { bop } from "../optim/bop.ts";
import { rules } from "../optim/rules.ts";

export interface Run {
  model: { forward(x: Tensor): Tensor };
  optimizer: Optimizer;
  scheduler?: Resumable | Resumable[];
  loader: ReturnType<typeof data>;
  rng: Rng;
  /** Called with every loss. */
  after(loss: number): void;
}

const data = (shuffle = true) =>
  loader(
    { x: randn([14, 6], { rng: new Rng(11) }), y: randn([14, 2], { rng: new Rng(12) }) },
    { batch: 4, shuffle, rng: new Rng(13) },
  );

const net = () =>
  new Sequential(
    new Linear(6, 8, { rng: new Rng(1) }),
    new BatchNorm1d(8),
    new Dropout(0.3, { rng: new Rng(2) }),
    // Draws from the default generator.
    new Dropout(0.1),
    new Linear(8, 2, { rng: new Rng(3) }),
  );

const run = (
  model: Run["model"],
  update: Optimizer,
  scheduler?: Run["scheduler"],
  after: Run["after"] = () => {},
): Run => ({ model, optimizer: update, scheduler, loader: data(), rng: new Rng(14), after });

/** A step of quantization that is learned with the weights. */
class Learned implements Quantizer {
  readonly name = "learned";
  readonly spec = spec({ bits: 4, granularity: "channel" });
  readonly step: Parameter;
  constructor(rows: number) {
    this.step = new Parameter(tensor(Array<number>(rows).fill(0.05)));
  }
  params() {
    return { scale: this.step.value, zeroPoint: null };
  }
}

class Masked implements Transform {
  readonly mask: Tensor;
  constructor(mask: Tensor) {
    this.mask = mask;
  }
  apply(weight: Tensor): Tensor {
    return weight.mul(this.mask);
  }
}

/** Weights of one bit each, between layers of floats. */
class Signs {
  readonly first = new Linear(6, 8, { rng: new Rng(1) });
  readonly weight = new Parameter(
    randn([8, 2], { rng: new Rng(2) })
      .less(0)
      .where(tensor(-1), tensor(1)),
    { store: signs },
  );
  forward(x: Tensor): Tensor {
    return this.first.forward(x).matmul(this.weight.effective());
  }
}

export const runs: Record<string, () => Run | Promise<Run>> = {
  "AdamW with a cosine": () => {
    const model = net();
    const update = optimizer(model, adamw({ lr: 0.01 }), { clipNorm: 1 });
    return run(model, update, schedule(update, cosine({ warmup: 3, total: 40 })));
  },
  "SGD with momentum, which a schedule drives too, and a plateau": () => {
    const model = net();
    const update = optimizer(model, sgd({ lr: 0.05, momentum: 0.9, nesterov: true }));
    const momentum = schedule(update, linear({ start: 1, end: 0.5, total: 30 }), "momentum");
    const rate = schedule(update, plateau({ patience: 0, factor: 0.7 }));
    const made = run(model, update, [momentum, rate], (loss) => {
      momentum.step();
      rate.step(loss);
    });
    return { ...made, loader: data(false) };
  },
  "rows of two rules": () => {
    const model = net();
    return run(
      model,
      optimizer(model, [
        [isBias, sgd({ lr: 0.05, momentum: 0.5 })],
        [everything, adamw({ lr: 0.01 })],
      ]),
    );
  },
  ...Object.fromEntries(
    Object.entries(rules).map(([name, rule]) => [
      name,
      () => {
        const model = net();
        return run(model, optimizer(model, rule({ lr: 0.01 })));
      },
    ]),
  ),
  "stored signs that flip": () => {
    const model = new Signs();
    return run(
      model,
      optimizer(model, [
        [matching("weight"), bop({ gamma: 0.1, tau: 1e-3 })],
        [everything, adamw({ lr: 0.01 })],
      ]),
    );
  },
  "binary weights and int8 inputs": () => {
    const model = prepare(net(), plan({ default: { weight: bwn(), input: dynamicInput() } }));
    return run(model, optimizer(model, adamw({ lr: 0.01 })));
  },
  "learned scales": () => {
    const weight = ({ shape }: Parameter) => new Learned(shape[0]);
    const model = prepare(net(), plan({ default: { weight } }));
    return run(model, optimizer(model, adamw({ lr: 0.01 })));
  },
  "static scales of inputs": async () => {
    const model = prepare(net(), plan({ default: int8Static() }));
    await calibrate(model, [randn([8, 6], { rng: new Rng(4) })]);
    return run(model, optimizer(model, adamw({ lr: 0.01 })));
  },
  "masked weights": () => {
    const model = net();
    const mask = (p: Parameter) =>
      new Masked(
        randn(p.shape, { rng: new Rng(5) })
          .greater(0)
          .where(tensor(1), tensor(0)),
      );
    parametrize(model, "**.weight", mask);
    return run(model, optimizer(model, sgd({ lr: 0.05, momentum: 0.9 })));
  },
};

/** Trains until `steps` more are done, from wherever the loader is, and gives their losses. */
export async function advance({ model, optimizer, scheduler, loader, rng, after }: Run, steps: number) {
  const losses: number[] = [];
  while (losses.length < steps) {
    for await (const { x, y } of loader) {
      const noise = randn(x.shape, { rng }).mul(0.1);
      losses.push(trainStep(model, optimizer, (m) => mseLoss(m.forward(x.add(noise)), y)));
      if (scheduler && !Array.isArray(scheduler)) (scheduler as { step?(): void }).step?.();
      after(losses[losses.length - 1]);
      if (losses.length === steps) break;
    }
  }
  return losses;
}

/** All that a run is, as one hash. */
export function digest({ model, optimizer, scheduler, loader, rng }: Run): string {
  const sum = createHash("sha256");
  const add = (state: object) => {
    for (const [name, value] of Object.entries(state)) {
      sum.update(name);
      const { data } = value as Tensor;
      if (ArrayBuffer.isView(data)) sum.update(new Uint8Array(data.slice().buffer));
      else sum.update(JSON.stringify(value));
    }
  };
  add(stateDict(model));
  add(optimizer.stateDict());
  for (const each of [scheduler ?? []].flat()) add(each.stateDict());
  add(loader.state);
  add(rng.state);
  return sum.digest("hex");
}
