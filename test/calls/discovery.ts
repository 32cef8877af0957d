/** A right call of everything that bitgrad/discovery exports. */

import { Rng, tensor } from "bitgrad";
import { DiscoveryHeads, Prototypes } from "bitgrad/discovery";
import {
  any,
  call,
  choice,
  count,
  exact,
  flag,
  fn,
  given,
  index,
  like,
  matrix,
  positive,
  real,
  share,
  type Table,
  times,
} from "./call.ts";

const rows = any(matrix);
const sameRows = like(matrix);
const labels = exact(() => index([0, 1]));
const rng = given(() => new Rng(1), "null");
const mmd = { kernel: choice("laplacian"), factor: positive(2), widths: times(3) };
const means = {
  k: count(2),
  init: exact(matrix, "null dtype"),
  restarts: times(2),
  iterations: times(5),
  rng,
};
const balance = { iterations: times(2), temperature: positive(0.1) };
const four = (n: number) =>
  tensor(
    Array.from({ length: n * 4 }, (_, i) => i % 3),
    { shape: [n, 1, 2, 2] },
  );

export const discovery: Table = {
  hungarian: call([rows], { maximize: flag(true) }),
  clusterAccuracy: call([labels, labels]),
  nmi: call([labels, labels], { average: choice("max") }),
  ari: call([labels, labels]),
  kMeans: call([rows], means, { needs: "k" }),
  mmd2: call([rows, rows], mmd),
  mmd2PerWidth: call([rows, rows], mmd),
  transferFlow: call([sameRows, labels], mmd),
  pseudoTransferFlow: call([rows], { ...mmd, ...means }, { needs: "k" }),
  chooseKnowledge: call([sameRows, sameRows], { ...mmd, ...means }, { needs: "k" }),
  bootstrap: call([count(4), fn(() => 1)], { resamples: times(3), rng }),
  sinkhorn: call([rows], balance),
  mixTargets: call([sameRows, sameRows], { alpha: share(0.5) }, { needs: "alpha" }),
  discoveryTargets: call([labels, sameRows, sameRows], { ...balance, alpha: share(0.5) }),
  pairwiseRankTarget: call([rows], { k: count(2) }, { needs: "k" }),
  pairBce: call(
    [
      sameRows,
      sameRows,
      exact(() =>
        index([
          [1, -1],
          [0, 1],
        ]),
      ),
    ],
    { eps: real(1e-7) },
  ),
  swappedPrediction: call([like(() => four(2)), like(() => four(2))], { temperature: positive(0.1) }),
  sigmoidRampup: call([positive(1), positive(5)]),
  normalizeRows: call([given(() => new Prototypes(3, 2).linear.weight)]),
  Prototypes: call([count(3), count(2)], { rng }),
  "Prototypes.forward": call([rows], null, {
    run: ((x: never) => new Prototypes(3, 2).forward(x)) as never,
    says: "Prototypes",
  }),
  DiscoveryHeads: call([count(3), count(2), count(2)], {
    heads: times(2),
    overFactor: count(2),
    hidden: count(4),
    projected: count(3),
    rng,
  }),
  "DiscoveryHeads.forward": call([rows], null, {
    run: ((x: never) => new DiscoveryHeads(3, 2, 2, { hidden: 4, projected: 3 }).forward(x)) as never,
    says: "DiscoveryHeads",
  }),
};
