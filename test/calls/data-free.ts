/** Right calls of what quantizes weights without data. */

import { Linear } from "bitgrad/nn";
import * as quant from "bitgrad/quant";
import { call, fn, given, model, positive, share, type Table, times } from "./call.ts";

const ready = (config: quant.QuantConfig) =>
  model(() => quant.prepare(new Linear(3, 2), quant.plan({ default: config })));
const floatZeros = ready({ weight: quant.ste({ bits: 4, scheme: "affine", zeroPoint: "float" }) });

const sites = { layers: given(() => "**", "null"), onLayer: fn(() => {}, "null") };
const said = { says: "model matchPath" };

export const dataFree: Table = {
  hqq: call(
    [floatZeros],
    { ...sites, iterations: times(20), norm: share(0.7), beta: positive(10), kappa: positive(1.01) },
    said,
  ),
};
