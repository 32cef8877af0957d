/** Right calls of what scales channels between what makes and what reads them. */

import { Rng, zeros } from "bitgrad";
import { MnistCnn } from "bitgrad/models";
import { int8WeightOnly, plan, prepare } from "bitgrad/quant";
import { call, flag, fn, given, model, share, type Table, times } from "./call.ts";

const digits = () => zeros([1, 1, 28, 28]);
const sizes = { channels: [1, 1, 1], hidden: 2, rng: new Rng(1) };
const cnn = prepare(new MnistCnn(sizes), plan({ default: int8WeightOnly() }));
const pairs = { layers: given(() => "fc2", "null"), onPair: fn(() => {}, "null") };
const calibrated = { ...pairs, forward: fn(() => cnn.forward(digits()), "null") };
const calibration = [model(() => cnn), given(() => [digits()], "text list")];
const says = { says: "model matchPath" };

export const scaling: Table = {
  equalize: call([model(() => cnn)], { ...pairs, iterations: times(3) }, says),
  smoothQuant: call(calibration, { ...calibrated, alpha: share(0.5) }, says),
  awq: call(
    calibration,
    {
      ...calibrated,
      onLayer: fn(() => {}, "null"),
      grid: times(2),
      clip: flag(false),
      unclipped: given(() => "**.query", "text list"),
    },
    says,
  ),
};
