/** A right call of everything that the small entries export: distill, train, cost and testing. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng, type Tensor, tensor } from "bitgrad";
import { loader } from "bitgrad/data";
import { optimizer, sgd } from "bitgrad/optim";
import { bwn } from "bitgrad/quant";
import * as testing from "bitgrad/testing";
import { fit as fitModel, saveCheckpoint, trainStep as trainModel } from "bitgrad/train";
import {
  call,
  choice,
  count,
  each,
  exact,
  flag,
  fn,
  given,
  index,
  integer,
  like,
  list,
  matrix,
  model,
  positive,
  real,
  share,
  small,
  type Table,
  text,
  times,
  vector,
} from "./call.ts";

const logits = exact(matrix, "dtype");
const temperature = positive(2);

const anything = "undefined null text flag nan negative fraction huge object list function class shape dtype";
const anyLogits = exact(matrix, "dtype shape");
const classLabels = exact(() => index([0, 1]));
const divergence = {
  temperature,
  mask: exact(() => tensor([1, 1]), "null dtype"),
  reduction: choice("none"),
};
const proSelf = {
  progress: share(0.5),
  steepness: positive(10),
  center: real(0.5),
  trust: choice("global"),
  targetTemperature: temperature,
};

export const distill: Table = {
  kdLoss: call(
    [logits, logits],
    {
      temperature,
      alpha: share(0.5, "null"),
      labels: exact(() => index([0, 1])),
    },
    { says: "crossEntropy" },
  ),
  softCrossEntropy: call([logits, logits], { temperature, reduction: choice("none") }),
  ...Object.fromEntries(
    ["forwardKl", "reverseKl", "totalVariation"].map((name) => [name, call([logits, logits], divergence)]),
  ),
  ...Object.fromEntries(
    ["skewKl", "skewReverseKl"].map((name) => [
      name,
      call([logits, logits], { ...divergence, alpha: share(0.2) }),
    ]),
  ),
  jsd: call([logits, logits], { ...divergence, beta: share(0.2) }),
  dkd: call([logits, logits, classLabels], {
    temperature,
    alpha: positive(1),
    beta: positive(2),
    reduction: choice("none"),
  }),
  standardizeLogits: call([anyLogits]),
  pearsonKd: call([logits, logits], { temperature, beta: real(1), gamma: real(1) }),
  entropy: call([anyLogits]),
  confidenceMask: call(
    [anyLogits],
    { threshold: real(1), measure: choice("maxProb") },
    { needs: "threshold" },
  ),
  thresholdSchedule: call(
    [],
    { eta: positive(0.5), b: real(1), center: real(0.5), classes: count(10, "huge") },
    { needs: "classes" },
  ),
  mutualLoss: call([list(() => [matrix(), matrix()], "", "dtype")], {
    labels: exact(() => index([0, 1]), "null"),
    weight: positive(1),
    average: choice("mean"),
    temperature,
    masks: list(() => [tensor([1, 1]), tensor([1, 0])], "null", "null dtype"),
    maskNorm: choice("selected"),
  }),
  proSelfTarget: call([logits, classLabels], proSelf, { needs: "progress" }),
  proSelfLoss: call(
    [logits, classLabels],
    { ...proSelf, form: choice("kl-live"), reduction: choice("none") },
    { needs: "progress" },
  ),
  multiTeacherLoss: call(
    [logits, list(() => [matrix(), matrix()], "", "dtype")],
    { temperature, mask: exact(() => tensor([1, 1]), "null dtype"), reduction: choice("none") },
    { says: "softCrossEntropy" },
  ),
  consecutiveTeachers: call(
    [],
    {
      assistants: list(() => ["small"], "", anything),
      fixed: given(() => "large", anything.replace("undefined ", "").replace("nan ", "")),
      total: count(4, "huge"),
    },
    { needs: "assistants total" },
  ),
  distill: call(
    [],
    {
      student: model(small, "function"),
      teacher: model(small, "function"),
      terms: list(() => [{ weight: 1, loss: (s: Tensor) => s.sum() }]),
    },
    { needs: "student teacher terms" },
  ),
  injectLabelNoise: call(
    [like(() => index([0, 1]), "shape list")],
    {
      rate: share(0.5),
      kind: choice("pair"),
      classes: count(2, "huge"),
      rng: given(() => new Rng(1), "null"),
    },
    { needs: "rate classes" },
  ),
  hiddenMse: call([logits, logits], {
    project: given(() => (x: Tensor) => x, "null function"),
    mask: exact(() => tensor([1, 1]), "null dtype"),
  }),
};

const classes = exact(() => index([0, 1]));
const scores = exact(matrix, "dtype");
const loss = (net: { forward(x: Tensor): Tensor }) => net.forward(matrix()).sum();
const pairOf = () => {
  const net = small();
  return { net, made: optimizer(net, sgd()) };
};

const folder = mkdtempSync(join(tmpdir(), "bitgrad-calls-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const runParts = () => {
  const { net, made } = pairOf();
  return { model: net, optimizer: made, rng: new Rng(1), loader: loader({ x: vector() }, { batch: 1 }) };
};
const checkpointed = await saveCheckpoint(null, { ...runParts(), scheduler: [], step: 1 });
const parts = {
  model: model(),
  optimizer: given(() => runParts().optimizer),
  scheduler: list(() => [], "list"),
  loader: given(() => runParts().loader),
  rng: given(() => new Rng(1)),
};

export const train: Table = {
  saveCheckpoint: call(
    [given(() => null, "null text")],
    { ...parts, step: count(1), extra: given(() => ({ a: 1 }), "object") },
    {
      needs: "model step",
      // Text is a path, and would be written to.
      run: (sink: null, run: never) =>
        saveCheckpoint(typeof sink === "string" ? (`${sink}\0` as never) : sink, run),
      says: "model stateDict save",
    },
  ),
  loadCheckpoint: call([given(() => checkpointed)], parts, {
    needs: "model",
    says: "load open readSafetensors model",
  }),
  accuracy: call(
    [scores, classes],
    { topK: count(2), ignoreIndex: integer(-100, "huge fraction") },
    { says: "topK" },
  ),
  confusionMatrix: call([scores, classes], {
    classes: count(3, "null"),
    ignoreIndex: integer(-100, "huge fraction"),
  }),
  perplexity: call([given(() => 1.5, "negative fraction huge")], null, { says: "item" }),
  consoleLogger: call([], { every: count(3, "huge"), write: fn(() => {}, "null") }),
  jsonLines: call([text("log")]),
  csvLogger: call([text("log")]),
  tensorBoard: call([text("log")], { histograms: count(3, "null huge") }),
  trainStep: call([model(), given(() => pairOf().made), fn(() => loss(small()), "")], null, {
    run: (net: never, made: never, f: never) => trainModel(net, made, f),
    says: "model",
  }),
  fit: call(
    [model()],
    {
      data: list(
        () => [1],
        "text",
        "undefined null text flag nan negative fraction huge object list function class shape dtype",
      ),
      loss: fn(() => loss(small()), ""),
      optimizer: given(() => pairOf().made),
      epochs: times(1),
      accumulate: count(1, "huge"),
      schedule: fn(() => 1, "shape dtype"),
      signal: given(() => new AbortController().signal),
      validation: given(() => ({ data: [1] })),
      metrics: given(() => ({ score: () => 1 }), "object"),
      earlyStopping: given(() => ({ metric: "score" }), "object"),
      checkpoint: given(() => ({ path: join(folder, "run.safetensors") })),
      logger: list(() => [], "list"),
      onGradients: fn(() => {}),
      onStep: fn(() => {}),
      onEpoch: fn(() => {}),
    },
    {
      needs: "data loss optimizer epochs",
      says: "model schedule",
      run: (net: never, options: never) => fitModel(net, options),
    },
  ),
};

export const cost: Table = {
  summary: call([model()], { input: exact(matrix, "null dtype shape") }, { says: "model linear Linear" }),
};

const square = (x: Tensor) => x.square();
export const check: Table = {
  expectClose: call(
    [like(vector), like(vector)],
    { rtol: positive(1, "null"), atol: positive(1, "null") },
    {
      run: (a: never, b: never, options: never) => testing.expectClose(a, b, options),
    },
  ),
  ...each(
    "gradcheck gradgradcheck",
    call([fn(square, ""), list(() => [vector()], "", "nan negative fraction huge shape list")], {
      eps: positive(1e-5),
      tolerance: positive(1e-3),
      rng: given(() => null, "null"),
    }),
  ),
  leakCheck: call([fn(() => 1)], { runs: times(1), warmUp: times(1) }),
  laws: call(
    [fn(() => sgd())],
    { kind: choice("continuous"), left: share(0.5), says: fn(() => [], "null") },
    { run: (make: never, options: never) => testing.laws.optimizer(make, options), says: "laws.optimizer" },
  ),
  "laws.quantizer": call(
    [fn(() => bwn())],
    { nearest: flag(false), scaleFree: flag(false), except: list(() => [], "list") },
    { run: (make: never, options: never) => testing.laws.quantizer(make, options) },
  ),
  arb: "arbitraries, made by fast-check",
};
