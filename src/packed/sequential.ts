/** Packed layers and elementwise functions one after another, and what they need beside products: batch norm, flattening. */

import { gelu, silu } from "../../kernels/elementwise/activation.ts";
import { rectified, type Unary } from "../../kernels/elementwise/arithmetic.ts";
import { sigmoid } from "../../kernels/elementwise/special.ts";
import { FormatError, ShapeError, show } from "../errors.ts";
import { sizeOf } from "../shape.ts";
import { functionNames } from "./function-names.ts";
import { FieldReader, type Fields, type PackedLayer } from "./layer.ts";
import { mapped } from "./transformer.ts";
import { room, type Values } from "./values.ts";

const functions: Readonly<Record<string, Unary>> = {
  identity: (x) => x,
  relu: rectified,
  gelu,
  silu,
  sigmoid,
  tanh: Math.tanh,
};

/** An elementwise function. */
export class PackedFunction implements PackedLayer {
  readonly kind = "function";
  readonly name: string;

  constructor(fields: Fields) {
    this.name = new FieldReader("function", fields).choice("name", functionNames);
  }

  forward(x: Values): Values {
    return mapped(x, functions[this.name]);
  }
}

/** A batch norm in evaluation: (x − mean) · factor + bias for every channel of (N, C, …). */
export class PackedBatchNorm implements PackedLayer {
  readonly kind = "batchNorm";
  readonly mean: Float32Array;
  readonly factor: Float32Array;
  readonly bias: Float32Array | null;

  constructor(fields: Fields) {
    const read = new FieldReader("batchNorm", fields);
    const channels = (fields.mean as Float32Array | null)?.length ?? 0;
    const mean = read.floats("mean", channels);
    const factor = read.floats("factor", channels);
    if (!mean || !factor) throw new FormatError("batchNorm: needs mean and factor, got null");
    this.mean = mean;
    this.factor = factor;
    this.bias = read.floats("bias", channels);
  }

  forward({ data, shape }: Values): Values {
    const { mean, factor, bias } = this;
    if (shape.length < 2 || shape[1] !== mean.length) {
      throw new ShapeError(`PackedBatchNorm: needs (N, ${mean.length}, …), got ${show(shape)}`);
    }
    const inner = sizeOf(shape.slice(2));
    const out = room(data.length);
    for (let at = 0, c = 0; at < data.length; at += inner, c = (c + 1) % mean.length) {
      for (let i = at; i < at + inner; i++) {
        const y = Math.fround(Math.fround(data[i] - mean[c]) * factor[c]);
        out[i] = bias ? y + bias[c] : y;
      }
    }
    return { data: out, shape };
  }
}

/** A layer that takes one array and gives one. */
export interface PackedStep extends PackedLayer {
  forward(x: Values): Values;
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

const stepKinds = ["linear", "conv2d", "norm", "batchNorm", "feedForward", "block", "function", "sequential"];
