/** Models of two parameters that rules are tried on: the same first numbers and gradients each time. */

import type { FloatArray } from "../dtype.ts";
import { BitgradError } from "../errors.ts";
import { Parameter } from "../nn/parameter.ts";
import type { Store } from "../nn/store.ts";
import type { Group } from "../optim/group.ts";
import { type Optimizer, optimizer } from "../optim/optimizer.ts";
import type { UpdateRule } from "../optim/rule.ts";
import { Rng } from "../random/rng.ts";
import { sizeOf } from "../shape.ts";
import { type Tensor, tensor } from "../tensor.ts";

type Float = "float32" | "float64";
export const dtypes = ["float32", "float64"] as const;
// c ends beside whole vectors.
const shapes: Readonly<Record<string, readonly number[]>> = { a: [3], b: [2, 4], c: [37] };

export interface Trial {
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly optimizer: Optimizer;
  readonly group: Group;
}

/** Makes models of two parameters, all with the same first numbers and gradients. */
export class Trials {
  readonly make: () => UpdateRule;
  readonly dtype: Float;
  private readonly ofSigns: boolean;
  private readonly law: string;

  constructor(make: () => UpdateRule, dtype: Float, ofSigns: boolean, law: string) {
    this.make = make;
    this.dtype = dtype;
    this.ofSigns = ofSigns;
    this.law = law;
  }

  /** `values` in the order of the parameters; the first ones by default. */
  model(values: Readonly<Record<string, Tensor>> = this.values(), store: Store | null = null): Trial {
    const named = Object.entries(values).map(([name, value]) => [
      name,
      new Parameter(tensor(value), { store }),
    ]);
    const parameters: Record<string, Parameter> = Object.fromEntries(named);
    const made = optimizer(parameters, this.make(), { rng: new Rng("first states") });
    return { parameters, optimizer: made, group: made.groups[0] };
  }

  values(): Record<string, Tensor> {
    const all = Object.entries(shapes).map(([name, shape]) => {
      const value = this.normal(shape, `value of ${name}`);
      return [name, this.ofSigns ? value.map((v) => (v < 0 ? -1 : 1)) : value] as const;
    });
    return Object.fromEntries(
      all.map(([name, data]) => [name, tensor(data, { dtype: this.dtype }).reshape(shapes[name])]),
    );
  }

  /** Around a mean of each element's own, so that rules that wait for agreement move too. */
  grads(step: number): Record<string, FloatArray> {
    const all = Object.entries(shapes).map(([name, shape]) => {
      const mean = this.normal(shape, `mean of ${name}`);
      return [name, this.normal(shape, `${name} ${step}`).map((g, i) => g + mean[i])];
    });
    return Object.fromEntries(all);
  }

  step({ parameters, optimizer }: Trial, from: number, to = from + 1): void {
    for (let step = from; step < to; step++) {
      const grads = this.grads(step);
      for (const [name, parameter] of Object.entries(parameters)) {
        parameter.grad = tensor(grads[name], { dtype: this.dtype }).reshape(shapes[name]);
      }
      optimizer.step();
    }
  }

  /** Throws unless the numbers of both are the same bits. */
  same(what: string, found: Numbers, wanted: Numbers): void {
    for (const key of new Set([...Object.keys(found), ...Object.keys(wanted)])) {
      const [a, b] = [found[key] ?? [], wanted[key] ?? []];
      for (let i = 0; i < Math.max(a.length, b.length); i++) {
        if (!Object.is(a[i], b[i])) this.fail(`${what}: ${key} at ${i} is ${a[i]} in the place of ${b[i]}`);
      }
    }
  }

  fail(what: string): never {
    throw new BitgradError(
      `laws.optimizer: ${this.make().name} breaks its law, "${this.law}", got in ${this.dtype} ${what}`,
      "LAW",
    );
  }

  normal(shape: readonly number[], seed: string): FloatArray {
    const size = sizeOf(shape);
    const data = this.dtype === "float64" ? new Float64Array(size) : new Float32Array(size);
    new Rng(seed).fillNormal(data);
    return data;
  }
}

type Numbers = Readonly<Record<string, ArrayLike<number>>>;

export const weightsOf = ({ parameters }: Trial): Numbers =>
  Object.fromEntries(
    Object.entries(parameters).map(([name, { value }]) => [name, Array.from(value.data as FloatArray)]),
  );

/** Weights, rates, hyper-parameters and all that the rule remembers. */
export const allOf = (trial: Trial): Numbers => ({
  ...weightsOf(trial),
  ...Object.fromEntries(
    Object.entries(trial.optimizer.stateDict()).map(([key, held]) => [
      key,
      typeof held === "number" ? [held] : Array.from(held.data as FloatArray),
    ]),
  ),
});

export const valuesOf = ({ parameters }: Trial): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(parameters).map(([name, { value }]) => [name, value]));
