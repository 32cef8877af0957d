/** Packed layers and functions one after another. */

import { sum } from "../backend.ts";
import { ShapeError, show } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { activations, mapped } from "./elementwise.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import { reshaped, room, type Values } from "./values.ts";

/** A layer that takes one array and gives one. */
export interface PackedStep extends PackedLayer {
  forward(x: Values, call?: object): Values;
}

/** Functions that are not of single elements: the average of (N, C, H, W) over positions, (N, C, …) in rows. */
const functions: Readonly<Record<string, (x: Values) => Values>> = {
  identity: (x) => x,
  average({ data, shape }) {
    const [b, c, h, w] = shape;
    if (shape.length !== 4) throw new ShapeError(`PackedFunction: needs (N, C, H, W), got ${show(shape)}`);
    const out = room(b * c);
    sum(out, data, { outer: b * c, n: h * w, inner: 1 }, 1 / (h * w));
    return { data: out, shape: [b, c, 1, 1] };
  },
  flatten: (x) => reshaped(x, [x.shape[0], sizeOf(x.shape.slice(1))]),
};

/** An activation, "identity", "average" over the positions of (N, C, H, W) or "flatten" of all axes but the first. */
export class PackedFunction implements PackedStep {
  readonly kind = "function";
  readonly name: string;

  constructor(fields: Fields) {
    const names = Object.keys({ ...functions, ...activations });
    this.name = new FieldReader("function", fields).choice("name", names);
  }

  forward(x: Values): Values {
    const f = activations[this.name];
    return f ? mapped(x, f) : functions[this.name](x);
  }
}

export class PackedSequential implements PackedStep {
  readonly kind = "sequential";
  readonly steps: readonly PackedStep[];

  constructor(fields: Fields) {
    this.steps = new FieldReader("sequential", fields).layers("steps", ...stepKinds);
  }

  forward(x: Values): Values {
    return this.steps.reduce((y, step) => step.forward(y), x);
  }
}

/** The kinds of layers that are steps. */
export const stepKinds: readonly string[] = [
  "embedding",
  "linear",
  "conv1d",
  "conv2d",
  "norm",
  "batchNorm",
  "groupNorm",
  "prelu",
  "attention",
  "feedForward",
  "block",
  "function",
  "subsample",
  "branch",
  "sequential",
];
