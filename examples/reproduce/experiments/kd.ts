/** Students of less than a fifth of the size, alone and with a teacher. Hinton et al., 2015, arXiv:1503.02531. */

import { noGrad, Rng, scope, type Tensor } from "bitgrad";
import { kdLoss } from "bitgrad/distill";
import { crossEntropy } from "bitgrad/nn";
import type { Cell, Claim, Experiment, Measures, Setting } from "../experiment.ts";
import {
  accuracyOf,
  type GarmentNet,
  type Garments,
  heldOutOf,
  logitsOf,
  GarmentNet as Net,
  studentWidths,
  teacherOf,
  testOf,
  trained,
  trainingOf,
} from "../garments.ts";
import * as sentences from "../sentences.ts";

type Way = "labels" | "teacher";
const ways: readonly Way[] = ["labels", "teacher"];

/** What a student learns of a batch; the teacher's logits are made when they are asked for. */
const lossOf = (way: Way, logits: Tensor, teacher: () => Tensor, labels: Tensor): Tensor =>
  way === "labels"
    ? crossEntropy(logits, labels)
    : kdLoss(
        logits,
        scope(() => noGrad(teacher)),
        { temperature: 4, alpha: 0.9, labels },
      );

const garmentLoss =
  (way: Way, teacher: GarmentNet) =>
  (net: GarmentNet, { x, y }: Garments): Tensor =>
    lossOf(way, net.forward(x), () => teacher.forward(x), y);

const student = ({ seed }: Setting): GarmentNet => new Net(studentWidths, new Rng(`student ${seed}`));

const garmentTeacher: Cell = {
  name: "the teacher of garments",
  labels: { task: "garments", network: "teacher" },
  seeds: 1,
  async run(setting) {
    const test = await testOf(setting);
    return { accuracy: accuracyOf(logitsOf(await teacherOf(setting), test), test.y) };
  },
};

interface Amount {
  readonly task: string;
  readonly images: number;
  readonly epochs: number;
  readonly batch: number;
}

const amounts: readonly Amount[] = [
  { task: "garments", images: 60_000, epochs: 3, batch: 100 },
  { task: "1,000 garments", images: 1_000, epochs: 60, batch: 50 },
];

const garmentCell = ({ task, images, epochs, batch }: Amount, way: Way): Cell => ({
  name: `${task} ${way}`,
  labels: { task, network: "student", learns: way },
  reads: garmentTeacher,
  async run(setting) {
    const loss = garmentLoss(way, await teacherOf(setting));
    const net = await trained(
      student(setting),
      await trainingOf(setting, images),
      { epochs, batch, lr: 1e-2, loss },
      setting,
    );
    const test = await testOf(setting);
    return { accuracy: accuracyOf(logitsOf(net, test), test.y) };
  },
});

/** The class that no picture of a student's has: dresses. */
const omitted = 3;

const recall = (logits: Tensor, { y }: Garments): number => {
  const found = logits.argmax({ axis: 1 }).data;
  const own = [...y.data].flatMap((label, i) => (label === omitted ? [Number(found[i] === omitted)] : []));
  return own.reduce((a, b) => a + b, 0) / own.length;
};

/** Logits with so much more for the omitted class. */
const biased = (logits: Tensor, bias: number): Tensor =>
  logits.add(Array.from({ length: 10 }, (_, label) => (label === omitted ? bias : 0)));

/** The bias of the omitted class by which most pictures are told right. */
function bestBias(logits: Tensor, y: Tensor): number {
  const biases = Array.from({ length: 33 }, (_, i) => i / 4);
  const right = biases.map((bias) => accuracyOf(biased(logits, bias), y));
  return biases[right.indexOf(Math.max(...right))];
}

const omittedCell = (way: Way): Cell => ({
  name: `garments without dresses ${way}`,
  labels: { task: "garments without dresses", network: "student", learns: way },
  reads: garmentTeacher,
  async run(setting) {
    const teacher = await teacherOf(setting);
    const net = await trained(
      student(setting),
      await trainingOf(setting, 20_000, (label) => label !== omitted),
      {
        epochs: 4,
        batch: 100,
        lr: 1e-2,
        loss: (model, { x, y }) =>
          way === "labels"
            ? crossEntropy(model.forward(x), y)
            : kdLoss(
                model.forward(x),
                scope(() => noGrad(() => teacher.forward(x))),
                { temperature: 4 },
              ),
      },
      setting,
    );
    const [test, heldOut] = [await testOf(setting), await heldOutOf(setting, 2_000)];
    const logits = logitsOf(net, test);
    const raised = biased(logits, bestBias(logitsOf(net, heldOut), heldOut.y));
    return {
      accuracy: accuracyOf(raised, test.y),
      recall: recall(logits, test),
      raised: recall(raised, test),
    };
  },
});

const titles = { trec: "TREC", sst2: "SST-2" } as const;
const sources = ["trec", "sst2"] as const;
type Source = (typeof sources)[number];

/** One teacher, whatever the seed of its students. */
const teacherOn = (name: Source, setting: Setting) => sentences.trainedOn(name, { ...setting, seed: 1 });

const sentenceTeacher = (name: Source): Cell => ({
  name: `the teacher of ${titles[name]}`,
  labels: { task: titles[name], network: "teacher" },
  seeds: 1,
  run: async (setting) => ({
    accuracy: await sentences.accuracyOf(await teacherOn(name, setting), name, setting),
  }),
});

const teachers: Readonly<Record<Source, Cell>> = {
  trec: sentenceTeacher("trec"),
  sst2: sentenceTeacher("sst2"),
};

const sentenceCell = (name: Source, way: Way): Cell => ({
  name: `${titles[name]} ${way}`,
  labels: { task: titles[name], network: "student", learns: way },
  reads: teachers[name],
  async run(setting) {
    const teacher = await teacherOn(name, setting);
    const model = await sentences.studentOn(name, setting, (logits, batch) =>
      lossOf(way, logits, () => sentences.logitsOf(teacher, batch), batch.y),
    );
    return { accuracy: await sentences.accuracyOf(model, name, setting) };
  },
});

const points = { title: "accuracy", digits: 2, percent: true };

/** How much more a student has with the teacher than from the labels alone. */
const gain = (task: string, of: string, above = 0): Pick<Claim, "difference" | "as" | "above"> => ({
  difference: (at) => at(`${task} teacher`)[of] - at(`${task} labels`)[of],
  above,
  as: { ...points, title: "gain" },
});

const reaches = (cell: string, accuracy: number): Claim => ({
  says: `${cell} reaches ${(100 * accuracy).toFixed(0)} %`,
  difference: (at: (cell: string) => Measures) => at(cell).accuracy,
  above: accuracy,
  as: "accuracy",
});

export default {
  about:
    "Distills networks for garments, questions and film reviews to students of less than a fifth of their size.",
  text: `After Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015,
[arXiv:1503.02531](https://arxiv.org/abs/1503.02531). A student learns from the labels alone, or by nine tenths from a teacher's
logits at a temperature of 4 and by one tenth from the labels: \`kdLoss\` as it comes, nothing was chosen for these tasks. Both
ways have the same first weights, the same order of the same examples, and as many steps.

The teacher of garments is a convolutional network with three convolutions of stride 2, of 32, 64 and 128 channels, trained on
the 60,000 pictures of Fashion-MNIST for 8 epochs; its students have 8, 16 and 32 channels, a fifteenth of the parameters. The
teachers of questions (TREC, six kinds) and of film reviews (SST-2, two) are the BERTs of [ptq-language](ptq-language.md), of 6
layers of width 128; their students have 3 layers of width 32, less than a fifth of the parameters. There is one teacher for each
task; a seed draws the student's first weights, the order, and which pictures.

Students of garments see all pictures for 3 epochs, 1,000 of them for 60, or 20,000 without a dress for 4. Of the last, those with
a teacher learn from its logits alone. Then a number is added to the logit of dresses, the one of 0 to 8 by which most of
2,000 held-out training pictures are told right; "dresses found" is the share of the 1,000 dresses of the test set that are
told, before and with it.

Accuracies are of the 10,000 test pictures, the 500 test questions, and the 872 reviews of SST-2's dev set.`,
  version: 1,
  seeds: 5,
  needsData: true,
  columns: {
    accuracy: points,
    recall: { ...points, title: "dresses found" },
    raised: { ...points, title: "dresses found, with a bias" },
  },
  picture: { x: "task", y: "accuracy", series: "learns", only: ["labels", "teacher"] },
  cells: () => [
    garmentTeacher,
    ...amounts.flatMap((amount) => ways.map((way) => garmentCell(amount, way))),
    ...ways.map(omittedCell),
    ...sources.flatMap((name) => [teachers[name], ...ways.map((way) => sentenceCell(name, way))]),
  ],
  claims: [
    reaches("the teacher of garments", 0.92),
    reaches("the teacher of TREC", 0.85),
    reaches("the teacher of SST-2", 0.77),
    { says: "a teacher helps where all 60,000 garments are seen", ...gain("garments", "accuracy") },
    { says: "a teacher adds two points where 1,000 are", ...gain("1,000 garments", "accuracy", 0.02) },
    { says: "a teacher helps a Transformer on TREC", ...gain("TREC", "accuracy") },
    { says: "a teacher helps a Transformer on SST-2", ...gain("SST-2", "accuracy") },
    {
      says: "a student that saw no dress, but a teacher's logits, finds half of them with a bias",
      difference: (at) => at("garments without dresses teacher").raised,
      above: 0.5,
      as: "raised",
    },
    {
      says: "from labels alone it finds none of them without the bias",
      difference: (at) => at("garments without dresses labels").recall,
      below: 0.001,
      as: "recall",
    },
    {
      says: "with the bias the teacher's student finds 20 points more of them",
      ...gain("garments without dresses", "raised", 0.2),
    },
  ],
} satisfies Experiment;
