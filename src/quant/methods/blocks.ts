/** Blocks of a model, visited one after another, whose weights are learned together from what the whole block computes. */

import { valueAndGrad } from "../../autograd.ts";
import { undoing } from "../../changes.ts";
import type { QTensor } from "../../codes/contract.ts";
import { quantizedTransform } from "../../codes/transform.ts";
import type { FloatArray } from "../../dtype.ts";
import { OptionError, StageError, show } from "../../errors.ts";
import { batchRunner } from "../../nn/batches.ts";
import type { Layer } from "../../nn/layer.ts";
import { noMatch, whileEvaluating, whileFloatBut } from "../../nn/modes.ts";
import type { Parameter } from "../../nn/parameter.ts";
import { type PathPattern, pathMatcher } from "../../nn/pattern.ts";
import { exactly } from "../../nn/statistics.ts";
import { type TappedCall, taps } from "../../nn/taps.ts";
import { findParameters, namedLayers } from "../../nn/tree.ts";
import { scope } from "../../storage.ts";
import { noGrad } from "../../tape.ts";
import { isTensor, type Tensor, wrap } from "../../tensor.ts";
import { squaredGradients } from "./output-weights.ts";
import type { Objective } from "./reconstruction.ts";
import { type CalibrationOptions, checkAgain, checkOnLayer, holding, type Site, sitesOf } from "./sites.ts";

/** A loss of a batch, computed by the model. */
export type BlockLoss<B> = (batch: B) => Tensor;
export type BlockPatterns = PathPattern | readonly PathPattern[];

/** A layer, and the quantized weights in it. */
interface Block {
  readonly path: string;
  readonly layer: Layer;
  readonly sites: readonly Site[];
}

/** The layers that patterns fit, with the sites in each. Throws OptionError where two share a site, or none has one. */
function blocksOf(op: string, model: object, patterns: BlockPatterns, sites: readonly Site[]): Block[] {
  const named = namedLayers(model);
  const chosen = new Map<Layer, string>();
  for (const pattern of (Array.isArray(patterns) ? patterns : [patterns]) as PathPattern[]) {
    const fits = pathMatcher(pattern);
    const found = named.filter(([path]) => fits(path));
    const names = named.map(([path]) => path);
    if (found.length === 0) throw noMatch(op, "layer", pattern, names);
    for (const [path, layer] of found) if (!chosen.has(layer)) chosen.set(layer, path);
  }
  const taken = new Map<Parameter, string>();
  const blocks = [...chosen].map(([layer, path]): Block => {
    const held = new Set<Parameter>(findParameters(layer).map(({ item }) => item));
    const own = sites.filter(({ parameter }) => held.has(parameter));
    for (const { parameter } of own) {
      const other = taken.get(parameter);
      if (other !== undefined) {
        throw new OptionError(
          `${op}: blocks must not share weights, got ${show(other)} and ${show(path)}; take one of them`,
        );
      }
      taken.set(parameter, path);
    }
    return { path, layer, sites: own };
  });
  const filled = blocks.filter((block) => block.sites.length > 0);
  if (filled.length > 0) return filled;
  throw new OptionError(`${op}: needs blocks with quantized weights, got none by ${show(patterns)}`);
}

/** Runs batches with the model float but for codes that stay, and gives the calls of the layers that a batch reached. */
async function* passes<B>(
  op: string,
  model: object,
  { forward, batches, stays }: Passing<B>,
  paths: readonly string[],
  until: string | null,
): AsyncGenerator<{ batch: B; calls: [path: string, calls: readonly TappedCall[]][] }> {
  const run = batchRunner(op, model, batches, forward);
  const tap = taps(model, paths.map(exactly));
  try {
    for await (const batch of batches) {
      const pass = () =>
        scope(() => {
          const { order, calls } =
            until === null ? tap.collect(() => run(batch)) : tap.collect(() => run(batch), { until });
          return order.map((path): [string, readonly TappedCall[]] => [path, calls.get(path)!]);
        });
      const calls = undoing(() =>
        whileEvaluating(model, () => noGrad(() => whileFloatBut(model, stays, pass))),
      );
      yield { batch, calls };
    }
  } finally {
    tap.dispose();
  }
}

interface Passing<B> {
  readonly batches: Iterable<B> | AsyncIterable<B>;
  readonly forward: CalibrationOptions<B>["forward"];
  readonly stays: (parameter: Parameter) => boolean;
}

/** Paths of blocks in the order in which they first return, with whether every batch runs each, and once. */
async function ordered<B>(
  op: string,
  model: object,
  passing: Passing<B>,
  blocks: readonly Block[],
): Promise<(readonly [block: Block, once: boolean])[]> {
  const found = new Map<string, boolean>();
  const paths = blocks.flatMap(({ path, sites }) => [path, ...sites.map(({ layer }) => layer)]);
  const missing = () => paths.find((path) => !found.has(path));
  let batch = 0;
  for await (const { calls } of passes(op, model, passing, paths, null)) {
    const reached = new Map(calls);
    for (const path of found.keys()) if (reached.get(path)?.length !== 1) found.set(path, false);
    for (const [path, { length }] of calls) found.set(path, (found.get(path) ?? batch === 0) && length === 1);
    batch++;
  }
  if (batch === 0) throw new StageError(`${op}: needs at least one batch, got none`);
  const idle = missing();
  if (idle !== undefined) {
    throw new StageError(
      `${op}: no batch reached a layer, got no input of ${show(idle)}; run it by { forward }, or leave it out by { layers } or { blocks }`,
    );
  }
  return [...found].flatMap(([path, once]) => {
    const block = blocks.find((each) => each.path === path);
    return block ? [[block, once] as const] : [];
  });
}

/**
 * Visits blocks in the order in which the model runs them, with the codes in place that earlier visits returned, all else
 * float: `visit` is given the weights of a block, and the error that numbers in their place cause in what the block
 * computes. Inputs and outputs of one block at a time are kept, of all batches. After an error every transform holds what
 * it held before.
 */
export async function visitBlocks<B>(
  op: string,
  model: object,
  batches: Iterable<B> | AsyncIterable<B>,
  { layers, forward, onLayer, loss }: CalibrationOptions<B> & { readonly loss: BlockLoss<B> | null },
  patterns: BlockPatterns,
  visit: (sites: readonly Site[], error: Objective) => readonly QTensor[],
): Promise<void> {
  checkOnLayer(op, onLayer);
  const sites = sitesOf(op, model, layers);
  const blocks = blocksOf(op, model, patterns, sites);
  checkAgain(op, batches);
  const chosen = new Map(blocks.flatMap((block) => block.sites.map((site) => [site.parameter, site])));
  const putBack = holding([...chosen.values()]);
  const done = new Set<Parameter>();
  const stays = (parameter: Parameter): boolean =>
    done.has(parameter) || (!chosen.has(parameter) && quantizedTransform(parameter)!.codes !== null);
  const passing = { batches, forward, stays };
  let count = 0;
  try {
    for (const [block, once] of await ordered(op, model, passing, blocks)) {
      const kept: BlockCall[] = [];
      for await (const { batch, calls } of passes(
        op,
        model,
        passing,
        [block.path],
        once ? block.path : null,
      )) {
        const of = checked(op, block, calls[0]?.[1] ?? []);
        const run = () => {
          const outputs = of.map(({ output }) => output);
          return squaredGradients(op, block.layer, block.path, outputs, () => loss!(batch));
        };
        const weights = loss && undoing(() => whileEvaluating(model, () => whileFloatBut(model, stays, run)));
        for (const [i, call] of of.entries()) kept.push({ ...call, weights: weights?.[i] ?? null });
      }
      const codes = visit(block.sites, new BlockError(model, block, kept, stays));
      for (const [i, { layer, parameter, transform }] of block.sites.entries()) {
        transform.hold(codes[i]);
        done.add(parameter);
        onLayer?.({ layer, done: ++count, of: chosen.size });
      }
    }
  } catch (error) {
    putBack();
    throw error;
  }
}

/** What a block was given and returned, and how much each number of that weighs; null for all alike. */
interface BlockCall extends TappedCall {
  readonly output: Tensor;
  readonly weights: Tensor | null;
}

/** Calls of a block. Throws OptionError for one that returned no tensor, or numbers that are not finite. */
function checked(op: string, { path }: Block, calls: readonly TappedCall[]): Omit<BlockCall, "weights">[] {
  for (const { output } of calls) {
    if (!isTensor(output)) {
      throw new OptionError(
        `${op}: a block must return a tensor, got ${show(output)} of ${show(path)}; take the layers in it as blocks`,
      );
    }
    const odd = (output.data as Float32Array).find((v) => !Number.isFinite(v));
    if (odd === undefined) continue;
    throw new OptionError(
      `${op}: what a block returns must be finite, got ${odd} of ${show(path)}; mend the batches or the layers before`,
    );
  }
  return calls as BlockCall[];
}

/** The mean over the calls of a block of the sum of squares by which numbers in place of its weights change its output. */
class BlockError implements Objective {
  readonly parts: number;
  private readonly model: object;
  private readonly block: Block;
  private readonly calls: readonly BlockCall[];
  private readonly stays: Passing<never>["stays"];

  constructor(model: object, block: Block, calls: readonly BlockCall[], stays: Passing<never>["stays"]) {
    this.model = model;
    this.block = block;
    this.calls = calls;
    this.stays = stays;
    this.parts = calls.length;
  }

  error(values: readonly FloatArray[], gradients: readonly FloatArray[] | null, part: number | null): number {
    const calls = part === null ? this.calls : [this.calls[part]];
    let sum = 0;
    for (const gradient of gradients ?? []) gradient.fill(0);
    for (const call of calls) {
      sum += scope(() => {
        const weights = this.block.sites.map(({ parameter }, i) =>
          wrap(Float32Array.from(values[i]), parameter.shape, "float32"),
        );
        if (!gradients) return noGrad(() => this.lossOf(call, weights)).item();
        const { value, grad } = valueAndGrad((given: readonly Tensor[]) => this.lossOf(call, given))(weights);
        for (const [i, gradient] of gradients.entries()) {
          // A call may pass a layer by.
          const data = (grad[i] as Tensor | null)?.data;
          for (let j = 0; data && j < gradient.length; j++) gradient[j] += (data[j] as number) / calls.length;
        }
        return value.item();
      });
    }
    return sum / calls.length;
  }

  private lossOf({ inputs, output, weights: by }: BlockCall, weights: readonly Tensor[]): Tensor {
    const { model, block, stays } = this;
    // whileFloatBut puts the transforms back.
    const run = () => {
      for (const [i, { parameter }] of block.sites.entries()) {
        parameter.transforms.splice(0, parameter.transforms.length, { apply: () => weights[i] });
      }
      const got = block.layer.forward(...(inputs as Parameters<Layer["forward"]>)) as Tensor;
      const squares = got.sub(output).square();
      return (by ? squares.mul(by) : squares).sum();
    };
    return undoing(() => whileEvaluating(model, () => whileFloatBut(model, stays, run)));
  }
}
