/**
 * Distillation: a small student learns from a large teacher, and the same student learns from the labels alone. Hinton et
 * al., 2015, arXiv:1503.02531.
 *
 * You learn: how `kdLoss` is used in a loop, how a teacher's answers are made once and kept, and how to compare two ways of
 * training honestly: with several seeds, the same ones for both, and the spread beside the mean.
 * Time: 7 seconds. Data: none.
 *
 *   npx tsx examples/07-distil/main.ts
 */

import assert from "node:assert/strict";
import { noGrad, Rng, scope, type Tensor } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import { kdLoss } from "bitgrad/distill";
import { mlp } from "bitgrad/models";
import { crossEntropy, evaluate, parameterCount } from "bitgrad/nn";
import { adamw, cosine, optimizer } from "bitgrad/optim";
import { accuracy, fit } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const seeds = quick ? 3 : 5;

// Noisy digits. The teacher has seen 8000 of them, the student is given 400: where data is dear, a teacher helps most.
const digits = (name: string, count: number) => glyphs({ count, noise: 0.2, rng: new Rng(name) });
const many = digits("many", quick ? 4000 : 8000);
const few = digits("few", 400);
const test = digits("test", 2000);

type Net = { forward(x: Tensor): Tensor };
const score = (net: Net): number =>
  scope(() => noGrad(() => accuracy(evaluate(net).forward(test.x), test.y)));

const teacher = mlp([144, 256, 10], { rng: new Rng("teacher") });
const teacherSteps = quick ? 300 : 800;
await fit(teacher, {
  data: loader(many, { batch: 100, shuffle: true, rng: new Rng("teacher's order") }),
  loss: (net, { x, y }) => crossEntropy(net.forward(x), y),
  optimizer: optimizer(teacher, adamw({ lr: 2e-3, weightDecay: 0.01 })),
  schedule: cosine({ total: teacherSteps }),
  steps: teacherSteps,
});

// The teacher does not change any more, so its logits are computed once and stand in the data set as another column.
// Where pictures are altered at random while training, it has to answer anew each time, in a `noGrad`.
evaluate(teacher);
const answered = { ...few, soft: noGrad(() => teacher.forward(few.x)) };

/** A student of 16 hidden features. Both ways begin with the same weights and see the same batches. */
async function student(seed: number, fromTeacher: boolean): Promise<number> {
  const net = mlp([144, 16, 10], { rng: new Rng(`student ${seed}`) });
  const steps = quick ? 300 : 800;
  await fit(net, {
    data: loader(answered, { batch: 40, shuffle: true, rng: new Rng(`order ${seed}`) }),
    loss: (model, { x, y, soft }) => {
      const logits = model.forward(x);
      // At a temperature of 3 the teacher's doubts show: which wrong digits are nearly right. 0.9 of the loss is the
      // teacher's, the rest the labels'.
      return fromTeacher
        ? kdLoss(logits, soft, { temperature: 3, alpha: 0.9, labels: y })
        : crossEntropy(logits, y);
    },
    optimizer: optimizer(net, adamw({ lr: 1e-2, weightDecay: 0.01 })),
    schedule: cosine({ total: steps }),
    steps,
  });
  return score(net);
}

const rows: { alone: number; taught: number }[] = [];
for (let seed = 0; seed < seeds; seed++) {
  rows.push({ alone: await student(seed, false), taught: await student(seed, true) });
}

// The differences are paired: both of a row had the same luck with their first weights.
const mean = (values: number[]): number => values.reduce((a, b) => a + b) / values.length;
const spread = (values: number[]): number =>
  Math.sqrt(values.reduce((sum, v) => sum + (v - mean(values)) ** 2, 0) / (values.length - 1));
const gains = rows.map(({ alone, taught }) => taught - alone);
const teacherScore = score(teacher);
console.log(`teacher, ${parameterCount(teacher)} parameters: ${teacherScore.toFixed(4)}`);
console.table(rows.map(({ alone, taught }) => ({ "labels alone": alone, "with the teacher": taught })));
const line = (name: string, values: number[]) =>
  console.log(`${name}: ${mean(values).toFixed(4)} ± ${spread(values).toFixed(4)}`);
line(
  "labels alone",
  rows.map(({ alone }) => alone),
);
line(
  "with the teacher",
  rows.map(({ taught }) => taught),
);
line("gain", gains);

// Of a true gain the mean lies well beyond what chance gives: here beyond two standard errors.
const error = spread(gains) / Math.sqrt(seeds);
assert(teacherScore > mean(rows.map(({ taught }) => taught)), "the teacher must know more than the student");
assert(mean(gains) > 2 * error, `the gain is ${mean(gains)}, its standard error ${error}`);
console.log(`shown: the teacher adds ${mean(gains).toFixed(4)} ± ${error.toFixed(4)} to the accuracy`);
