/** Right calls of what fits 1-bit weights and corrects quantized ones, of `bitgrad/quant`. */

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

const signsOnly = quant.prepare(small(), quant.plan({ default: quant.binaryWeightOnly() }));
const calibration = (run: () => unknown) => ({
  layers: given(() => "**", "null"),
  forward: fn(run, "null"),
  onLayer: fn(() => {}, "null"),
});

export const oneBit: Table = {
  binarize: call(
    [model(() => signsOnly), given(() => [matrix()], "text list")],
    {
      ...calibration(() => signsOnly.forward(matrix())),
      ...{ method: choice("arbX"), iterations: times(2), damping: positive(0.1) },
    },
    { says: "model matchPath" },
  ),
  signApproximation: call([exact(matrix, "list dtype")], {
    form: choice("grouped"),
    iterations: times(2),
    groups: count(2, "huge"),
    window: count(1, "huge null"),
  }),
};
