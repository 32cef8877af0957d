/** Right calls of what quantizes weights without data, and of LAPQ. */

import { Rng } from "bitgrad";
import { FeedForward, Linear } from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import {
  call,
  choice,
  count,
  flag,
  fn,
  given,
  list,
  matrix,
  model,
  positive,
  share,
  type Table,
  times,
} from "./call.ts";

const ready = (config: quant.QuantConfig) =>
  model(() => quant.prepare(new Linear(3, 2), quant.plan({ default: config })));
const int4 = ready(quant.int4WeightOnly());
const floatZeros = ready({ weight: quant.ste({ bits: 4, scheme: "affine", zeroPoint: "float" }) });

const sites = { layers: given(() => "**", "null"), onLayer: fn(() => {}, "null") };
const priors = { prior: choice("gauss"), constants: choice("ocs"), keepWhole: flag(false) };
/** A batch may be anything that the loss takes. */
const batches = list(
  () => [matrix()],
  "text list",
  "undefined null nan negative fraction huge flag text object list function class shape dtype",
);
const said = { says: "model matchPath" };

export const dataFree: Table = {
  hqq: call(
    [floatZeros],
    { ...sites, iterations: times(20), norm: share(0.7), beta: positive(10), kappa: positive(1.01) },
    said,
  ),
  aciq: call([int4], { ...sites, ...priors }, said),
  lapq: call(
    [int4, batches],
    { ...sites, loss: fn(() => 1), norms: list(() => [2, 3], "", "fraction huge"), rounds: times(1) },
    { ...said, needs: "loss" },
  ),
  aciqObserver: call([given(() => quant.spec())], { ...priors, bins: count(64) }, { says: "observer" }),
  rotate: call(
    [model(() => new FeedForward(4, 8))],
    {
      residual: given(() => false),
      heads: flag(true),
      online: given(() => "**", "null"),
      rng: given(() => new Rng(1), "null"),
    },
    { ...said, needs: "residual" },
  ),
  splitOutlierChannels: call(
    [ready(quant.int8WeightOnly())],
    { ...sites, ratio: share(0.5), aware: flag(true), threshold: share(0) },
    said,
  ),
};
