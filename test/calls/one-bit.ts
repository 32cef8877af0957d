/** Right calls of what fits 1-bit weights and corrects quantized ones, of `bitgrad/quant`. */

import { Rng } from "bitgrad";
import { MnistCnn } from "bitgrad/models";
import * as quant from "bitgrad/quant";
import {
  call,
  choice,
  count,
  exact,
  fn,
  given,
  matrix,
  model,
  positive,
  small,
  type Table,
  times,
} from "./call.ts";

const corrected = () => quant.prepare(small(), quant.plan({ default: quant.int8WeightOnly() }));
const signsOnly = quant.prepare(small(), quant.plan({ default: quant.binaryWeightOnly() }));
/** Made anew where it is changed. */
let correctable = corrected();
const calibration = (run: () => unknown) => ({
  layers: given(() => "**", "null"),
  forward: fn(run, "null"),
  onLayer: fn(() => {}, "null"),
});

const sizes = { channels: [1, 1, 1], hidden: 2, rng: new Rng(1) };
const signedNet = quant.prepare(new MnistCnn(sizes), quant.plan({ default: quant.binaryWeightOnly() }));

export const oneBit: Table = {
  binarize: call(
    [model(() => signsOnly), given(() => [matrix()], "text list")],
    {
      ...calibration(() => signsOnly.forward(matrix())),
      ...{ method: choice("arbX"), iterations: times(2), damping: positive(0.1) },
    },
    { says: "model matchPath" },
  ),
  lowRankCorrection: call(
    [
      model(() => {
        correctable = corrected();
        return correctable;
      }),
      given(() => [matrix()], "text list"),
    ],
    {
      ...calibration(() => correctable.forward(matrix())),
      ...{ rank: count(1, "huge"), method: choice("eigen") },
    },
    { says: "model matchPath" },
  ),
  equalizeColumns: call(
    [model(() => signedNet)],
    { layers: given(() => "fc2", "null"), onPair: fn(() => {}, "null"), iterations: times(2) },
    { says: "model matchPath" },
  ),
  signApproximation: call([exact(matrix, "list dtype")], {
    form: choice("grouped"),
    iterations: times(2),
    groups: count(2, "huge"),
    window: count(1, "huge null"),
  }),
};
