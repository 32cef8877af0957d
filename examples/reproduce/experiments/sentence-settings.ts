/** How the sentence models of `ptq-language` are best trained, by sentences held out of those to train on. */

import type { Cell, Experiment } from "../experiment.ts";
import { heldOutAccuracy, type SourceName, type Training } from "../sentences.ts";

const rates: Readonly<Record<SourceName, readonly number[]>> = {
  trec: [7.5e-4, 1.5e-3],
  sst2: [5e-4, 1e-3],
};
const lengths: Readonly<Record<SourceName, readonly number[]>> = { trec: [4, 8], sst2: [2, 4] };

const titles: Readonly<Record<SourceName, string>> = { trec: "TREC", sst2: "SST-2" };

const cellOf = (name: SourceName, training: Training): Cell => ({
  name: `${titles[name]} ${training.epochs} ${training.lr}`,
  labels: { sentences: `${titles[name]}, learning rate ${training.lr}`, epochs: training.epochs },
  run: async (setting) => ({ accuracy: await heldOutAccuracy(name, training, setting) }),
});

const cellsOf = (name: SourceName): Cell[] =>
  lengths[name].flatMap((epochs) => rates[name].map((lr) => cellOf(name, { epochs, lr })));

export default {
  about:
    "Trains small BERTs for TREC and SST-2 by several learning rates and for several epochs, to choose among them.",
  text: `[ptq-language](ptq-language.md) rounds BERTs that are trained from nothing. How long and by which learning rate is chosen
here, without the sentences that are scored there: every tenth training sentence is held out, and a network learns from the
others alone. The rate rises over a tenth of the steps, and falls by a cosine to a twentieth. First weights that training
leaves at guessing are drawn again.

The best of each data set is taken, and trained there on all training sentences. One seed and 545 questions of TREC or 692
reviews of SST-2 tell which: an accuracy has a standard error of 1.5 points, so that near ones may be as good. Both best lie at
the end of what was tried.`,
  version: 1,
  seeds: 1,
  needsData: true,
  columns: { accuracy: { title: "accuracy on sentences held out", digits: 2, percent: true } },
  picture: { x: "epochs", y: "accuracy", series: "sentences" },
  cells: () => [...cellsOf("sst2"), ...cellsOf("trec")],
  claims: [],
} satisfies Experiment;
