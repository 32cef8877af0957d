/** The measures of sensitivity: what a config costs a layer. Each writes the cost of every candidate. */

import type { FloatArray } from "../../dtype.ts";
import { OptionError, StageError, show } from "../../errors.ts";
import type { Parameter, Transform } from "../../nn/parameter.ts";
import { exactly, gather, matrixLayers } from "../../nn/statistics.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { DistortionSum, firstOrderScore, fisherScore, ratio } from "./distortion.ts";
import {
  checkAlike,
  checkRan,
  classesOf,
  forDivergences,
  type Output,
  quietly,
  runOutput,
} from "./outputs.ts";
import { deltaOf, type InputLayer, whileOn } from "./parts.ts";
import { type ProbedCall, type Slopes, withSlopes } from "./slopes.ts";
import type { Candidate, Study, Subject } from "./study.ts";

/** Gathers by how much the outputs of a changed model differ from the float one's. */
interface Gap {
  add(float: Output, other: Output, at: string): void;
  result(): number;
}

/** The mean divergence of a row of logits. */
function divergenceGap(op: string): Gap {
  let [sum, rows] = [0, 0];
  return {
    add(float, other, at) {
      if (classesOf(float) === 0) {
        throw new OptionError(
          `${op}: measure "kl" needs logits of two classes or more, got ${show(float.shape)} in ${at}; take measure "mse"`,
        );
      }
      forDivergences(op, float, other, at, (kl) => {
        sum += kl;
        rows++;
      });
    },
    result: () => (rows === 0 ? 0 : sum / rows),
  };
}

/** The mean square of the differences. */
function squareGap(): Gap {
  const sum = new DistortionSum();
  let count = 0;
  return {
    add(float, other) {
      sum.add(float.data, other.data);
      count += float.data.length;
    },
    result: () => sum.meanSquare(count),
  };
}

type GapMeasure = "kl" | "mse";
const gaps: Record<GapMeasure, (op: string) => Gap> = { kl: divergenceGap, mse: squareGap };

/** Throws StageError for a layer whose weight no batch read: it would seem to cost nothing. */
function checkReached<B>({ op, subjects }: Study<B>, reached: ReadonlySet<Parameter>): void {
  const idle = subjects.find(({ parameter }) => !reached.has(parameter));
  if (!idle) return;
  throw new StageError(
    `${op}: no batch reached a layer, got no input of ${show(idle.layer)}; run it by { forward }, or leave it out by { layers }`,
  );
}

/** Adds weights to `reached` that are read while `fn` runs. */
async function whileTelling(
  weights: readonly Parameter[],
  reached: Set<Parameter>,
  fn: () => Promise<void>,
): Promise<void> {
  const told = weights.map((parameter): [Transform[], Transform] => {
    const apply = (weight: Tensor): Tensor => {
      reached.add(parameter);
      return weight;
    };
    return [parameter.transforms, { apply }];
  });
  for (const [transforms, each] of told) transforms.push(each);
  try {
    await fn();
  } finally {
    for (const [transforms, each] of told) transforms.splice(transforms.lastIndexOf(each), 1);
  }
}

/**
 * The gap of the outputs under each of some settings of a model, batch by batch: `within` puts a setting in place, and
 * `heard` is told of each setting that a batch is done with.
 */
export async function gapsOf<B, S>(
  { op, model, batches, run }: Pick<Study<B>, "op" | "model" | "batches" | "run">,
  measure: GapMeasure,
  settings: readonly { readonly within: (fn: () => void) => void; readonly of: string; readonly key: S }[],
  heard: (key: S) => void,
): Promise<number[]> {
  const found = settings.map(() => gaps[measure](op));
  let [batch, numbers] = [0, 0];
  for await (const given of batches) {
    const at = `batch ${batch++}`;
    quietly(model, () => {
      const float = runOutput(op, run, given, at);
      numbers += float.data.length;
      for (const [i, { within, of, key }] of settings.entries()) {
        const where = `${at} with ${of}`;
        within(() => {
          const other = runOutput(op, run, given, where);
          checkAlike(op, float, other, where);
          found[i].add(float, other, where);
        });
        heard(key);
      }
    });
  }
  checkRan(op, batch, numbers);
  return found.map((gap) => gap.result());
}

/** Candidates that quantize, with the layers they are of. */
const quantized = (subjects: readonly Subject[]): [Subject, Candidate][] =>
  subjects.flatMap((subject) =>
    subject.candidates.filter(({ part }) => part).map((each): [Subject, Candidate] => [subject, each]),
  );

/** Tells `onLayer` of each layer when the last of its candidates is done. */
function progress<B>({ options: { onLayer }, subjects }: Study<B>): (subject: Subject, left: number) => void {
  return (subject, left) => {
    if (left > 0) return;
    onLayer?.({ layer: subject.layer, done: subjects.indexOf(subject) + 1, of: subjects.length });
  };
}

const byOutputs =
  (measure: GapMeasure) =>
  async <B>(study: Study<B>): Promise<void> => {
    const pairs = quantized(study.subjects);
    const tell = progress(study);
    const settings = pairs.map(([subject, { choice, part }], i) => ({
      within: (fn: () => void) => whileOn([part!], fn),
      of: `${choice} of ${show(subject.layer)}`,
      key: [subject, Number(pairs[i + 1]?.[0] === subject)] as const,
    }));
    const reached = new Set<Parameter>();
    const weights = study.subjects.map(({ parameter }) => parameter);
    await whileTelling(weights, reached, async () => {
      const found = await gapsOf(study, measure, settings, ([subject, left]) => tell(subject, left));
      for (const [i, [, candidate]] of pairs.entries()) candidate.cost = found[i];
    });
    checkReached(study, reached);
  };

/** tr(W·H·Wᵀ) of a matrix (rows, columns), whose rows lie in as many groups as H has. */
function quadratic(matrix: Float64Array, hessian: Tensor<"float64">): number {
  const columns = hessian.shape.at(-1)!;
  const groups = hessian.size / (columns * columns);
  const w = wrap(matrix, [groups, matrix.length / (groups * columns), columns], "float64");
  const sum = w
    .matmul(hessian.reshape([groups, columns, columns]))
    .mul(w)
    .sum()
    .item();
  // Rounding can leave a little less than nothing.
  return Math.max(0, sum);
}

/** ‖ΔW·X‖²/‖W·X‖², from XᵀX alone. */
async function byProxy<B>(study: Study<B>): Promise<void> {
  const { op, model, batches, subjects, options } = study;
  const { forward } = options;
  const layers = matrixLayers(
    op,
    model,
    subjects.map(({ layer }) => exactly(layer)),
  );
  const around = (fn: () => void): void => fn();
  const found = await gather(op, model, layers, batches, { keep: ["hessian"], forward, around, until: null });
  const tell = progress(study);
  for (const subject of subjects) {
    const { hessian } = found.get(subject.layer)!;
    for (const candidate of subject.candidates) {
      if (!candidate.part) continue;
      const { latent, delta } = deltaOf(candidate.part);
      if (latent.length % hessian.shape.at(-1)! !== 0) {
        throw new OptionError(
          `${op}: measure "proxy" needs a weight with the columns of its input, got ${show(subject.parameter.shape)} of ${show(subject.layer)}; leave it out by { layers }`,
        );
      }
      candidate.cost = noGrad(() =>
        scope(() => ratio(quadratic(delta, hessian), quadratic(latent, hessian))),
      );
    }
    tell(subject, 0);
  }
}

/** Runs the loss of each batch with the slopes of all weights, and of the inputs that a candidate quantizes. */
async function forSlopes<B>(
  study: Study<B>,
  withInputs: boolean,
  use: (slopes: Slopes) => void,
): Promise<number> {
  const { op, model, batches, subjects, options } = study;
  const { loss } = options;
  if (!loss) {
    throw new OptionError(
      `${op}: measures by gradients need a loss, got none; pass { loss: (batch) => … }, or take measure "kl"`,
    );
  }
  const parts = quantized(subjects).map(([, { part }]) => part!);
  const layers: InputLayer[] = withInputs
    ? [...new Set(parts.flatMap(({ inputs }) => [...inputs.keys()]))]
    : [];
  const weights = subjects.map(({ parameter }) => parameter);
  const reached = new Set<Parameter>();
  let batch = 0;
  await whileTelling(weights, reached, async () => {
    for await (const given of batches) {
      withSlopes(op, model, weights, layers, () => loss(given), `batch ${batch++}`, use);
    }
  });
  if (batch === 0) throw new StageError(`${op}: needs at least one batch, got none`);
  checkReached(study, reached);
  return batch;
}

/** Σ E[g²]·Δ² of the weights; g² is each sample's own. */
async function byFisher<B>(study: Study<B>): Promise<void> {
  const { subjects } = study;
  const squares = subjects.map(({ parameter }) => new Float64Array(parameter.size));
  let samples = 0;
  await forSlopes(study, false, ({ losses, backward }) => {
    for (let i = 0; i < losses; i++) {
      scope(() => {
        const seed = new Float64Array(losses);
        seed[i] = 1;
        const found = backward(seed, i + 1 < losses);
        for (const [k, into] of squares.entries()) addSquares(into, found[k]);
      });
    }
    samples += losses;
  });
  const tell = progress(study);
  for (const [k, subject] of subjects.entries()) {
    const mean = squares[k].map((sum) => sum / samples);
    for (const candidate of subject.candidates) {
      if (candidate.part) candidate.cost = fisherScore(mean, deltaOf(candidate.part).delta);
    }
    tell(subject, 0);
  }
}

function addSquares(into: Float64Array, gradient: FloatArray | undefined): void {
  if (gradient) for (let j = 0; j < into.length; j++) into[j] += gradient[j] * gradient[j];
}

/** What a candidate's input quantizer makes of an input, less the input. */
function inputDelta({ layer, x, axis }: ProbedCall, { part }: Candidate): Float64Array | null {
  const quantizer = part!.inputs.get(layer);
  if (!quantizer) return null;
  const values = quantizer.run(x, { weight: layer.weight, bias: null }, (given) => given, axis);
  return Float64Array.from(values.data, (value, i) => value - x.data[i]);
}

/** Σ|g·Δw| + Σ|g·Δx|, where g is the gradient of the mean loss: of all batches for weights, of each for its inputs. */
async function byFirstOrder<B>(study: Study<B>): Promise<void> {
  const { subjects } = study;
  const pairs = quantized(subjects);
  const sums = subjects.map(({ parameter }) => new Float64Array(parameter.size));
  const count = await forSlopes(study, true, ({ losses, calls, backward }) => {
    const found = backward(new Float64Array(losses).fill(1 / losses), false);
    for (const [k, into] of sums.entries()) {
      const gradient = found[k];
      if (gradient) for (let j = 0; j < into.length; j++) into[j] += gradient[j];
    }
    for (const [c, call] of calls.entries()) {
      const gradient = found[subjects.length + c];
      if (!gradient) continue;
      for (const [, candidate] of pairs) {
        const delta = noGrad(() => scope(() => inputDelta(call, candidate)));
        if (delta) candidate.cost += firstOrderScore(gradient, delta);
      }
    }
  });
  const tell = progress(study);
  for (const [k, subject] of subjects.entries()) {
    const mean = sums[k].map((sum) => sum / count);
    for (const candidate of subject.candidates) {
      if (!candidate.part) continue;
      candidate.cost = candidate.cost / count + firstOrderScore(mean, deltaOf(candidate.part).delta);
    }
    tell(subject, 0);
  }
}

/** By name. Those by outputs can be measured of several layers together. */
export const measures = {
  kl: byOutputs("kl"),
  mse: byOutputs("mse"),
  fisher: byFisher,
  firstOrder: byFirstOrder,
  proxy: byProxy,
} as const;
export type Measure = keyof typeof measures;

export const isGap = (measure: Measure): measure is GapMeasure => Object.hasOwn(gaps, measure);
