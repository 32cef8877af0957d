/** The heads of UNO, on top of any encoder. */

import { checkInteger, OptionError, readOptions, show } from "../errors.ts";
import { BatchNorm1d } from "../nn/batch-norm.ts";
import { normalize } from "../nn/functional.ts";
import type { RngOption } from "../nn/init.ts";
import { inside } from "../nn/inside.ts";
import { Linear } from "../nn/linear.ts";
import { isParameter, type Parameter } from "../nn/parameter.ts";
import { Sequential } from "../nn/sequential.ts";
import { checkSizes } from "../nn/sizes.ts";
import { stack } from "../ops/join.ts";
import { relu } from "../ops/methods.ts";
import { asTensor, type Tensor } from "../tensor.ts";

/**
 * Gives each row of a parameter, along its first axis, length 1, in place; rows of zeros stay. Call it before each step.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { normalizeRows } from "bitgrad/discovery";
 * import { Parameter } from "bitgrad/nn";
 *
 * const weight = new Parameter(tensor([[3, 4], [0, 0]]));
 * normalizeRows(weight);
 * console.log(weight.value.toArray()); // [[0.6, 0.8], [0, 0]]
 * ```
 */
export function normalizeRows(parameter: Parameter): void {
  const op = "normalizeRows";
  if (!isParameter(parameter)) throw new OptionError(`${op}: expected a parameter, got ${show(parameter)}`);
  const [rows = 1] = parameter.shape;
  const width = parameter.size / rows;
  parameter.update((data) => {
    for (let start = 0; start < data.length; start += width) {
      // Squares of shares of the largest number neither overflow nor vanish.
      let most = 0;
      for (let i = start; i < start + width; i++) most = Math.max(most, Math.abs(data[i]));
      if (most === 0) continue;
      let squares = 0;
      for (let i = start; i < start + width; i++) squares += (data[i] / most) ** 2;
      const root = Math.sqrt(squares);
      for (let i = start; i < start + width; i++) data[i] = data[i] / most / root;
    }
  }, op);
}

/**
 * Cosines of x to a direction for each class, (…, in) -> (…, classes): a Linear without a bias, whose rows `normalizeRows`
 * keeps at length 1, over x of length 1. Caron et al., 2020, arXiv:2006.09882.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { Prototypes } from "bitgrad/discovery";
 *
 * const heads = new Prototypes(8, 3, { rng: new Rng(1) });
 * console.log(heads.forward(randn([2, 8])).abs().max().item() <= 1); // true
 * ```
 */
export class Prototypes {
  linear: Linear;

  constructor(inFeatures: number, classes: number, options?: Partial<RngOption>) {
    const { rng } = readOptions<RngOption>("Prototypes", options, { rng: null });
    checkSizes("Prototypes", { inFeatures, classes });
    this.linear = new Linear(inFeatures, classes, { bias: false, rng });
    normalizeRows(this.linear.weight);
  }

  forward(x: Tensor): Tensor {
    return inside(this, () => this.linear.forward(normalize(asTensor("Prototypes", x), { axis: -1 })));
  }
}

export interface DiscoveryHeadsOptions extends RngOption {
  /** Heads of each kind. */
  heads: number;
  /** Classes of an over-clustering head per unlabelled class. */
  overFactor: number;
  /** The projector's sizes. */
  hidden: number;
  projected: number;
}

/** A projector and prototypes. */
class Head {
  projector: Sequential;
  prototypes: Prototypes;

  constructor(
    inFeatures: number,
    classes: number,
    { hidden, projected, rng }: Pick<DiscoveryHeadsOptions, "hidden" | "projected" | "rng">,
  ) {
    this.projector = new Sequential(
      new Linear(inFeatures, hidden, { rng }),
      new BatchNorm1d(hidden),
      relu,
      new Linear(hidden, projected, { rng }),
    );
    this.prototypes = new Prototypes(projected, classes, { rng });
  }

  forward(x: Tensor): Tensor {
    return inside(this, () => this.prototypes.forward(this.projector.forward(x)));
  }
}

export interface DiscoveryLogits {
  /** (B, labelled) */
  readonly labelled: Tensor;
  /** (heads, B, unlabelled) */
  readonly unlabelled: Tensor;
  /** (heads, B, unlabelled·overFactor) */
  readonly over: Tensor;
}

/**
 * What UNO puts on features (B, in): prototypes of the labelled classes, and for the others `heads` heads of clusters and as
 * many of finer clusters, each a projector (Linear, BatchNorm1d, ReLU, Linear) and prototypes. Fini et al., 2021,
 * arXiv:2108.08536.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { DiscoveryHeads } from "bitgrad/discovery";
 *
 * const heads = new DiscoveryHeads(16, 5, 4, { heads: 2, hidden: 32, projected: 8 });
 * const { labelled, unlabelled, over } = heads.forward(randn([6, 16]));
 * console.log(labelled.shape, unlabelled.shape, over.shape); // [6, 5] [2, 6, 4] [2, 6, 12]
 * heads.normalizePrototypes(); // before each step
 * ```
 */
export class DiscoveryHeads {
  labelled: Prototypes;
  unlabelled: Head[];
  over: Head[];

  constructor(
    inFeatures: number,
    labelled: number,
    unlabelled: number,
    options?: Partial<DiscoveryHeadsOptions>,
  ) {
    const op = "DiscoveryHeads";
    const { heads, overFactor, hidden, projected, rng } = readOptions<DiscoveryHeadsOptions>(op, options, {
      heads: 4,
      overFactor: 3,
      hidden: 2048,
      projected: 256,
      rng: null,
    });
    checkSizes(op, { inFeatures, labelled, unlabelled, hidden, projected, overFactor });
    checkInteger(op, "heads", heads, 1);
    const made = (classes: number) =>
      Array.from({ length: heads }, () => new Head(inFeatures, classes, { hidden, projected, rng }));
    this.labelled = new Prototypes(inFeatures, labelled, { rng });
    this.unlabelled = made(unlabelled);
    this.over = made(unlabelled * overFactor);
  }

  forward(x: Tensor): DiscoveryLogits {
    asTensor("DiscoveryHeads", x);
    return inside(this, () => ({
      labelled: this.labelled.forward(x),
      unlabelled: stack(this.unlabelled.map((head) => head.forward(x))),
      over: stack(this.over.map((head) => head.forward(x))),
    }));
  }

  /** `normalizeRows` of all prototypes. */
  normalizePrototypes(): void {
    normalizeRows(this.labelled.linear.weight);
    for (const { prototypes } of [...this.unlabelled, ...this.over]) normalizeRows(prototypes.linear.weight);
  }
}
