/** What tests of methods that scale channels share: golden cases, and a small model whose channels have gains. */

import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "bitgrad";
import { Linear, Parameter, type ScalePair } from "bitgrad/nn";
import type { PairProgress } from "bitgrad/quant";
import { expect } from "vitest";

interface Numbers {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

export interface Case {
  readonly name: string;
  readonly method: string;
  readonly params: Readonly<Record<string, number> & { clip_search: boolean }>;
  readonly inputs: Readonly<Record<string, Numbers>>;
  readonly outputs: Readonly<Record<string, Numbers>>;
  readonly tolerance: { readonly rtol: number; readonly atol: number };
}

const file = new URL("../golden/methods/calib-scales.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { cases: Case[] };

/** The cases of a method, each behind its name. */
export const casesOf = (method: string): [string, Case][] =>
  cases.filter((each) => each.method === method).map((each) => [each.name, each]);

export const floats = ({ shape, data }: Numbers): Tensor =>
  tensor(Float32Array.from(data)).reshape([...shape]);

/** Holds numbers to those of a case, within its own tolerance. */
export function expectNumbers(got: ArrayLike<number>, { data }: Numbers, { rtol, atol }: Case["tolerance"]) {
  expect(got.length).toBe(data.length);
  data.forEach((want, i) => {
    expect(Math.abs(got[i] - want), `${got[i]} for ${want} at ${i}`).toBeLessThanOrEqual(
      atol + rtol * Math.abs(want),
    );
  });
}

/** Gains of channels, (…, C) -> (…, C). */
class Gains {
  weight: Parameter;
  constructor(gains: Tensor) {
    this.weight = new Parameter(gains);
  }
  forward(x: Tensor): Tensor {
    return x.mul(this.weight.effective());
  }
}

/** Channels with gains, read by a linear layer, (…, C) -> (…, out). */
export class Gained {
  gains: Gains;
  linear: Linear;

  constructor(weight: Tensor) {
    const [out, channels] = weight.shape;
    this.gains = new Gains(tensor(new Float32Array(channels).fill(1)));
    this.linear = new Linear(channels, out, { bias: false });
    this.linear.weight.assign(weight);
  }

  forward(x: Tensor): Tensor {
    return this.linear.forward(this.gains.forward(x));
  }

  scalePairs(): ScalePair[] {
    const place = { repeat: 1, size: 1 };
    return [
      {
        channels: this.linear.inFeatures,
        producer: [{ name: "gains.weight", axis: 0, ...place }],
        consumers: [{ name: "linear.weight", axis: 1, ...place }],
        between: "nothing",
      },
    ];
  }
}

/** Σ(a − b)² / Σb². */
export function relativeError(a: Tensor, b: Tensor): number {
  return a.sub(b).square().sum().item() / b.square().sum().item();
}

/** A listener of pairs, and what it heard. */
export function listening<P extends PairProgress = PairProgress>() {
  const heard: P[] = [];
  return { heard, onPair: (progress: P) => void heard.push(progress) };
}
