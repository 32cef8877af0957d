/** A student, a teacher, and what the one learns from the other. */

import { isFunction, OptionError, readOptions, show, synchronous } from "../errors.ts";
import { isLayer } from "../nn/layer.ts";
import { whileEvaluating } from "../nn/modes.ts";
import { taps } from "../nn/taps.ts";
import type { Schedule } from "../optim/schedules.ts";
import { noGrad } from "../tape.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import type { Projection } from "./hidden.ts";

/** A model, which takes `batch.x` or a batch that is a tensor, or a function of the batch. */
export type Network<B> = { forward(x: Tensor): Tensor } | ((batch: B) => Tensor);

export interface Term<B> {
  /** By which `parts` tells of it; default: its place. */
  readonly name?: string;
  /** A factor, or one by the step. */
  readonly weight: number | Schedule;
  /** Any loss of what student and teacher give, a single number. */
  readonly loss: (student: Tensor, teacher: Tensor, batch: B) => Tensor;
  /** The paths of a layer of the student and one of the teacher whose outputs are meant; default: those of the networks. */
  readonly at?: readonly [student: string, teacher: string];
  /** What the student's output passes first; its parameters are the caller's to optimize. */
  readonly project?: Projection;
}

export interface Distilled {
  readonly loss: Tensor;
  /** Each term's loss before its weight. */
  readonly parts: Readonly<Record<string, Tensor>>;
}

/**
 * A function of a batch, and of the step where weights have a schedule, that runs both networks once and adds the terms.
 * The teacher runs in evaluation and without a gradient.
 *
 * @example
 * ```ts
 * import { randn, relu } from "bitgrad";
 * import { distill, hiddenMse, kdLoss } from "bitgrad/distill";
 * import { Linear, Sequential } from "bitgrad/nn";
 * import { linear, optimizer, sgd } from "bitgrad/optim";
 * import { trainStep } from "bitgrad/train";
 *
 * const net = (width: number) => new Sequential(new Linear(4, width), relu, new Linear(width, 3));
 * const [student, teacher, widen] = [net(8), net(16), new Linear(8, 16)];
 * const losses = distill({
 *   student,
 *   teacher,
 *   terms: [
 *     { name: "soft", weight: 1, loss: (s, t) => kdLoss(s, t) },
 *     { weight: linear({ total: 100 }), loss: (s, t) => hiddenMse(s, t), at: ["0", "0"], project: widen },
 *   ],
 * });
 * const both = [student, widen];
 * const optim = optimizer(both, sgd());
 * const x = randn([5, 4]);
 * console.log(Object.keys(losses(x, 0).parts)); // ["1", "soft"]
 * console.log(trainStep(both, optim, () => losses(x, 0).loss) > 0); // true
 * ```
 */
export function distill<B = Tensor>(options: {
  student: Network<B>;
  teacher: Network<B>;
  terms: readonly Term<B>[];
}): (batch: B, step?: number) => Distilled {
  const op = "distill";
  const { student, teacher, terms } = readOptions<typeof options>(op, options, {
    student: null as never,
    teacher: null as never,
    terms: undefined as never,
  });
  for (const [name, network] of Object.entries({ student, teacher })) {
    if (!isFunction(network) && !isLayer(network)) {
      throw new OptionError(`${op}: ${name} must be a model or a function, got ${show(network)}`);
    }
  }
  if (!Array.isArray(terms) || terms.length === 0) {
    throw new OptionError(`${op}: terms must be a list of at least one, got ${show(terms)}`);
  }
  const named = terms.map((term, i): [string, Term<B>] => [checkTerm(op, term)?.name ?? String(i), term]);
  const twice = named.find(([name], i) => named.findIndex(([other]) => other === name) !== i);
  if (twice) throw new OptionError(`${op}: terms must have different names, got ${show(twice[0])} twice`);
  const paths = [0, 1].map((side) => terms.flatMap(({ at }) => (at ? [at[side]] : [])));

  return (batch, step) => {
    const taught = noGrad(() => {
      const run = () => outputs(op, teacher, batch, paths[1]);
      return isLayer(teacher) ? whileEvaluating(teacher, run) : run();
    });
    const learnt = outputs(op, student, batch, paths[0]);
    const parts: Record<string, Tensor> = {};
    let loss: Tensor | null = null;
    for (const [name, { weight, at, project, loss: of }] of named) {
      const own = learnt(at?.[0]);
      const passed = project === undefined ? own : isFunction(project) ? project(own) : project.forward(own);
      const part = synchronous(op, of(passed, taught(at?.[1]).detach(), batch), "a loss");
      if (!isTensor(part) || part.size !== 1) {
        throw new OptionError(
          `${op}: a loss must give a single number, got ${show(part)} from ${show(name)}`,
        );
      }
      parts[name] = part;
      const weighed = part.mul(factor(op, weight, step));
      loss = loss === null ? weighed : loss.add(weighed);
    }
    return { loss: loss!, parts };
  };
}

/** What a network gives: its output, and by their paths those of its layers. */
function outputs<B>(op: string, network: Network<B>, batch: B, paths: string[]): (path?: string) => Tensor {
  const x = isTensor(batch) ? batch : (batch as { x?: unknown } | null)?.x;
  const forward = () => {
    if (isFunction(network)) return (network as (batch: B) => Tensor)(batch);
    if (!isTensor(x)) throw new OptionError(`${op}: a model takes a tensor or { x }, got ${show(batch)}`);
    return network.forward(x);
  };
  if (paths.length === 0) {
    const output = synchronous(op, forward(), "a network");
    return () => output;
  }
  const listening = taps(network, paths);
  try {
    const { result, output } = listening.collect(forward);
    return (path) => (path === undefined ? result : output(path));
  } finally {
    listening.dispose();
  }
}

function factor(op: string, weight: number | Schedule, step: number | undefined): number {
  if (typeof weight === "number") return weight;
  if (!(Number.isInteger(step) && step! >= 0)) {
    throw new OptionError(
      `${op}: a weight with a schedule needs the step, an integer from 0, got ${show(step)}`,
    );
  }
  const value = synchronous(op, weight(step!), "a schedule");
  if (!Number.isFinite(value)) {
    throw new OptionError(`${op}: a schedule must give finite weights, got ${show(value)} at step ${step}`);
  }
  return value;
}

function checkTerm<B>(op: string, term: Term<B>): Term<B> {
  const { weight, loss, at, project } = readOptions<Record<keyof Term<B>, unknown>>(op, term, {
    name: undefined,
    weight: null,
    loss: null,
    at: undefined,
    project: undefined,
  });
  if (!Number.isFinite(weight) && !isFunction(weight)) {
    throw new OptionError(`${op}: a weight must be a finite number or a schedule, got ${show(weight)}`);
  }
  if (!isFunction(loss)) throw new OptionError(`${op}: a loss must be a function, got ${show(loss)}`);
  if (at !== undefined && !(Array.isArray(at) && at.length === 2 && at.every((p) => typeof p === "string"))) {
    throw new OptionError(`${op}: at must be the paths of two layers, got ${show(at)}`);
  }
  if (project !== undefined && !isFunction(project) && !isLayer(project)) {
    throw new OptionError(`${op}: project must be a layer or a function, got ${show(project)}`);
  }
  return term;
}
