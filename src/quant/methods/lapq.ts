/** LAPQ: the clips of all layers are searched together, by the loss of the model. */

import { SpecInputQuantizer } from "../../codes/input-quantizer.ts";
import { paramsOf, type Range, rangesOf } from "../../codes/params.ts";
import { shapeOfCodes } from "../../codes/quantizer.ts";
import { isSigns } from "../../codes/spec.ts";
import {
  checkInteger,
  isFunction,
  OptionError,
  readOptions,
  StageError,
  show,
  synchronous,
} from "../../errors.ts";
import { inside } from "../../nn/inside.ts";
import { whileEvaluating } from "../../nn/modes.ts";
import { writeBuffer } from "../../nn/state.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { isTensor, type Tensor } from "../../tensor.ts";
import { leastRanges, type Numbers, scaledRanges, shrunk } from "./clips.ts";
import { powell } from "./powell.ts";
import { checkRounding, roundedBy, type Seen, seenBy } from "./rounded.ts";
import {
  checkAgain,
  checkOnLayer,
  type DataFreeOptions,
  dataFreeDefaults,
  holding,
  type Site,
  sitesOf,
} from "./sites.ts";

export interface LapqOptions<B> extends DataFreeOptions {
  /** What is made less: runs the model on a batch and gives one number. It is called in evaluation, without gradients. */
  loss: (batch: B) => Tensor | number;
  /** The p of the clips that the search may begin at: those of the least Σ|w − ŵ|^p of each layer. */
  norms: readonly number[];
  /** How often the joint search goes over all clips. Default 2; 0 leaves it out. */
  rounds: number;
}

const norms = [2, 2.5, 3, 3.5, 4];

/** One clip of the joint search. */
interface Clip {
  /** Puts it in place, times a factor. */
  put(factor: number): void;
}

/** The clip of a weight: ranges of its runs that grow and shrink together. */
class WeightClip implements Clip {
  private readonly site: Site;
  private readonly seen: Seen;
  private readonly numbers: Numbers;
  ranges: readonly Range[];

  constructor(site: Site) {
    const { spec, layer, parameter } = site;
    if (isSigns(spec))
      throw new OptionError(
        `lapq: signs have no range to clip, got bits 1 of layer ${show(layer)}; leave it out by { layers }`,
      );
    checkRounding("lapq", site);
    this.site = site;
    this.seen = seenBy("lapq", site);
    const x = this.seen.latent.reshape(shapeOfCodes(spec, parameter.shape));
    this.ranges = x.size === 0 ? [] : rangesOf(x, spec);
    this.numbers = { x, spec, ranges: this.ranges, mass: null };
  }

  /** The ranges of the least Σ|w − ŵ|^norm. */
  least(norm: number): readonly Range[] {
    return leastRanges(this.numbers, shrunk(this.numbers.ranges, 50), norm);
  }

  put(factor: number): void {
    const { site, seen, ranges } = this;
    const { x, spec } = this.numbers;
    const params = paramsOf(scaledRanges(ranges, factor), x.shape, spec);
    site.transform.hold(roundedBy(site, seen, params));
  }
}

/** The clip of a static input, whose zero point stays: of its scales and, where these follow the batches, of the ranges. */
class InputClip implements Clip {
  private readonly buffers: readonly Tensor[];
  private readonly first: readonly Float64Array[];

  constructor(buffers: readonly Tensor[]) {
    this.buffers = buffers;
    this.first = buffers.map(({ data }) => Float64Array.from(data));
  }

  put(factor: number): void {
    this.buffers.forEach((buffer, i) => {
      writeBuffer(buffer, (data) => data.set(this.first[i].map((value) => value * factor)));
    });
  }
}

/** The scales of static inputs of the sites. Throws StageError for one that was not calibrated. */
function inputClips(sites: readonly Site[]): InputClip[] {
  return sites.flatMap(({ owner, layer }) => {
    const { inputQuantizer } = owner as { inputQuantizer?: unknown };
    if (!(inputQuantizer instanceof SpecInputQuantizer) || inputQuantizer.scale === null) return [];
    const { calibrated, scale, range } = inputQuantizer;
    if (calibrated) return [new InputClip(range ? [scale, range] : [scale])];
    throw new StageError(
      `lapq: static inputs must be calibrated, got none of layer ${show(layer)}; call calibrate first`,
    );
  });
}

const isPositive = (value: unknown): boolean => typeof value === "number" && value > 0 && value < Infinity;

function checkOptions<B>({ loss, norms, rounds }: LapqOptions<B>): void {
  if (!isFunction(loss)) {
    throw new OptionError(`lapq: option loss must be a function of a batch, got ${show(loss)}`);
  }
  if (!Array.isArray(norms) || norms.length === 0 || !norms.every(isPositive)) {
    throw new OptionError(`lapq: norms must be a list of positive numbers, got ${show(norms)}`);
  }
  checkInteger("lapq", "rounds", rounds, 0);
}

/** The mean loss of batches as the model is now. */
async function meanLoss<B>(
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  loss: (batch: B) => Tensor | number,
): Promise<number> {
  let sum = 0;
  let count = 0;
  for await (const batch of batches) {
    const run = (): number => {
      const found = synchronous("lapq", loss(batch), "loss");
      const value = isTensor(found) && found.size === 1 ? Number(found.item()) : found;
      if (typeof value === "number" && Number.isFinite(value)) return value;
      throw new OptionError(`lapq: the loss must be one finite number, got ${show(value)} of batch ${count}`);
    };
    sum += inside(model, () => whileEvaluating(model, () => noGrad(() => scope(run))));
    count++;
  }
  if (count === 0) throw new StageError("lapq: needs at least one batch, got none");
  return sum / count;
}

/** The vertex of the parabola of least squares through points, where it opens upwards within them; else null. */
export function vertexOf(points: readonly (readonly [x: number, y: number])[]): number | null {
  const n = points.length;
  const centre = points.reduce((sum, [x]) => sum + x, 0) / n;
  const moment = (p: number, q = 0) => points.reduce((sum, [x, y]) => sum + (x - centre) ** p * y ** q, 0);
  const [s1, s2, s3, s4] = [moment(1), moment(2), moment(3), moment(4)];
  const [y0, y1, y2] = [moment(0, 1), moment(1, 1), moment(2, 1)];
  // Normal equations of a + bx + cx²; s1 is 0 but for rounding.
  const det = n * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s3 * s2) + s2 * (s1 * s3 - s2 * s2);
  const b = n * (y1 * s4 - s3 * y2) - y0 * (s1 * s4 - s3 * s2) + s2 * (s1 * y2 - y1 * s2);
  const c = n * (s2 * y2 - y1 * s3) - s1 * (s1 * y2 - y1 * s2) + y0 * (s1 * s3 - s2 * s2);
  const vertex = centre - b / (2 * c);
  const xs = points.map(([x]) => x);
  const found = det > 0 && c > 0 && vertex > Math.min(...xs) && vertex < Math.max(...xs);
  return found ? vertex : null;
}

/**
 * Loss-aware clipping: the clips of the weights of all chosen layers, and of their static inputs, are searched together so
 * that the mean loss of the batches is least. The search begins at the whole ranges, at the clips of the least Σ|w − ŵ|^p
 * for each p of `norms`, and at the p of the vertex of a parabola through their losses, wherever the loss is least, and goes
 * on from there by Powell's method. Codes of weights are held as by `hold`, scales of inputs written, with the ranges that
 * go on from them where there is a momentum. The loss is never more than that of codes rounded in whole ranges. It is
 * computed several times for each layer. Nahshan et al., 2019, arXiv:1911.07190. Rejects with StageError for a model that is
 * not prepared, or frozen, for static inputs that were not calibrated, and without batches; OptionError for batches that can
 * be run through once only, a loss that is not one finite number, signs, codes of a quantizer's own, and a weight that is
 * not finite. The model is then as it was.
 *
 * @example
 * ```ts
 * import { randn, Rng } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { lapq, plan, prepare, ste } from "bitgrad/quant";
 *
 * const x = randn([32, 16], { rng: new Rng("x") });
 * const layer = new Linear(16, 4, { rng: new Rng("weights") });
 * const target = layer.forward(x);
 * const loss = () => layer.forward(x).sub(target).square().mean();
 * prepare(layer, plan({ default: { weight: ste({ bits: 3, granularity: "tensor" }) } }));
 * const rounded = loss().item();
 * await lapq(layer, [x], { loss });
 * console.log(loss().item() < rounded); // true
 * ```
 */
export async function lapq<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options: Partial<LapqOptions<B>> & Pick<LapqOptions<B>, "loss">,
): Promise<M> {
  const read = readOptions<LapqOptions<B>>("lapq", options, {
    ...dataFreeDefaults,
    loss: null as never,
    norms,
    rounds: 2,
  });
  checkOptions(read);
  checkOnLayer("lapq", read.onLayer);
  const sites = sitesOf("lapq", model, read.layers);
  const iterable = Object(batches) as Partial<Iterable<B> & AsyncIterable<B>>;
  if (!iterable[Symbol.iterator] && !iterable[Symbol.asyncIterator]) {
    throw new OptionError(`lapq: batches must be iterable: put one in a list, got ${show(batches)}`);
  }
  checkAgain("lapq", batches);
  const weights = sites.map((site) => new WeightClip(site));
  const inputs = inputClips(sites);
  const putBack = holding(sites);
  try {
    await search([...weights, ...inputs], weights, read, () => meanLoss(model, batches, read.loss));
    for (const [i, { layer }] of sites.entries()) read.onLayer?.({ layer, done: i + 1, of: sites.length });
  } catch (error) {
    putBack();
    for (const input of inputs) input.put(1);
    throw error;
  }
  return model;
}

/** Puts the best clips in place that it finds. */
async function search<B>(
  clips: readonly Clip[],
  weights: readonly WeightClip[],
  { norms, rounds }: LapqOptions<B>,
  loss: () => Promise<number>,
): Promise<void> {
  const now: number[] = clips.map(() => Number.NaN);
  const put = (factors: readonly number[]): void => {
    for (const [i, factor] of factors.entries()) {
      if (now[i] === factor) continue;
      clips[i].put(factor);
      now[i] = factor;
    }
  };
  const ones = clips.map(() => 1);
  const begin = async (ranges: readonly (readonly Range[])[]) => {
    for (const [i, weight] of weights.entries()) weight.ranges = ranges[i];
    now.fill(Number.NaN);
    put(ones);
    return { ranges, loss: await loss() };
  };
  let best = await begin(weights.map(({ ranges }) => ranges));
  const tried: [number, number][] = [];
  const tryNorm = async (norm: number): Promise<void> => {
    const next = await begin(weights.map((weight) => weight.least(norm)));
    tried.push([norm, next.loss]);
    if (next.loss < best.loss) best = next;
  };
  for (const norm of norms) await tryNorm(norm);
  const vertex = vertexOf(tried);
  if (vertex !== null) await tryNorm(vertex);
  await begin(best.ranges);
  const lossAt = async (logs: readonly number[]): Promise<number> => {
    put(logs.map(Math.exp));
    return loss();
  };
  const start = { at: clips.map(() => 0), value: best.loss };
  const { at } = await powell(lossAt, start, { rounds, step: 0.2 });
  put(at.map(Math.exp));
}
