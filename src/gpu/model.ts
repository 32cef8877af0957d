/** Packed models on a GPU. */

import { OptionError, show } from "../errors.ts";
import {
  type GenerateOptions,
  generateLater,
  type LaterReader,
  type StreamOptions,
  streamLater,
} from "../generation/loop.ts";
import type { PackedStep } from "../packed/file/layer.ts";
import { isOurs } from "../packed/layers/kinds.ts";
import { type PackedCall, type PackedModel, walk } from "../packed/model.ts";
import {
  type PackedBudget,
  type PackedSource,
  plainOptions,
  readRun,
  readsIds,
  readText,
} from "../packed/run.ts";
import { runOn } from "../packed/running.ts";
import { type Ids, type Values, within } from "../packed/values.ts";
import type { Far, FarCache } from "./engine.ts";
import type { Gpu } from "./open.ts";

/** Layers are written for arrays: what a GPU holds goes through them unread. */
const asValues = (data: Far, shape: readonly number[]): Values => ({ data, shape }) as unknown as Values;

/**
 * A packed model whose numbers stay on a GPU from its input to its result.
 *
 * @example
 * ```ts
 * import { openGpu, toGpu } from "bitgrad/gpu";
 * import { Linear } from "bitgrad/nn";
 * import { pack } from "bitgrad/quant";
 *
 * const gpu = await openGpu({ mode: "cpu" });
 * const model = await toGpu(pack(new Linear(8, 2)), gpu);
 * const { shape } = await model.forward({ data: new Float32Array(16), shape: [2, 8] });
 * console.log(shape); // [2, 2]
 * await gpu.close();
 * ```
 */
export class GpuModel {
  readonly packed: PackedModel;
  readonly gpu: Gpu;

  constructor(packed: PackedModel, gpu: Gpu) {
    this.packed = packed;
    this.gpu = gpu;
  }

  /**
   * As `PackedModel.forward`, of which the results differ by rounding. Rejects as that throws, and with BackendError
   * where the GPU fails, by the name of the op.
   */
  async forward<C extends object = PackedCall>(
    x: Values | Ids,
    options?: Partial<NoInfer<C> & PackedBudget>,
  ): Promise<Values> {
    const { root, given, told, values, budget } = readRun(this.packed.root, x, options);
    return this.run(() => {
      for (const name of values) told[name] = this.brought(told[name] as Values);
      const x = readsIds(root) ? (given as Values) : this.brought(given as Values);
      return within(budget, () => root.forward(x, told));
    });
  }

  /** As `PackedModel.stream`, one token after the other. */
  stream(
    prompt: ArrayLike<number>,
    options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens"> & PackedSource,
  ): AsyncGenerator<number, void, undefined> {
    const { source, sourceMask, budget, ...rest } = plainOptions(options);
    return streamLater(this.reader({ source, sourceMask, budget }), prompt, rest);
  }

  /** As `PackedModel.generate`. */
  async generate(
    prompt: ArrayLike<number>,
    options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens"> & PackedSource,
  ): Promise<number[]> {
    const { source, sourceMask, budget, ...rest } = plainOptions(options);
    return generateLater(this.reader({ source, sourceMask, budget }), prompt, rest);
  }

  private brought({ data, shape }: Values): Values {
    return asValues(this.gpu._opened.engine.bring(data.slice()), shape);
  }

  private run(fn: () => Values, kept?: () => Iterable<Far>): Promise<Values> {
    const { engine, executor } = this.gpu._opened;
    return engine.during(
      "a model",
      async () => {
        const { data, shape } = runOn(executor, fn) as unknown as Values<Far>;
        return { data: (await data.read()).slice(), shape };
      },
      kept,
    );
  }

  private reader(from: PackedSource): LaterReader {
    const { engine, executor } = this.gpu._opened;
    const { encoder, decoder, source, sourceMask, budget } = readText(this.packed.root, from);
    const caches = runOn(executor, () => decoder.newCache()) as unknown as FarCache[];
    // What the encoder made of the source, until all is forgotten.
    let memory: Values | null = null;
    const held = (): Far[] => (memory ? [memory.data as unknown as Far] : []);
    const encoded = (): Values | null =>
      encoder &&
      source &&
      within(budget(source.data.length), () => encoder.forward(source, { mask: sourceMask }));
    return {
      context: decoder.context ?? Infinity,
      get length() {
        return caches[0]?.length ?? 0;
      },
      read: async (ids) => {
        const run = (): Values => {
          memory ??= encoded();
          const call = { cache: caches as never, last: true, memory, memoryMask: sourceMask };
          const most = budget(ids.length, memory?.data.length ?? 0);
          return within(most, () => decoder.forward({ data: ids, shape: [1, ids.length] }, call));
        };
        return (await this.run(run, () => [...held(), ...caches.flatMap((cache) => [...cache.kept()])])).data;
      },
      clear() {
        for (const cache of caches) cache.clear();
        for (const far of held()) engine.discard(far);
        memory = null;
      },
    };
  }
}

/**
 * A packed model that runs on a GPU. Weights go there at their first use. Throws OptionError for what is no packed
 * model or no GPU, for layers of kinds from outside, which compute on arrays, and for inputs of which outliers are looked
 * for, as by `mixedInput`.
 *
 * @example
 * ```ts
 * import { openGpu, toGpu } from "bitgrad/gpu";
 * import { Gpt } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 * import { pack } from "bitgrad/quant";
 *
 * const packed = pack(evaluate(new Gpt({ vocabulary: 8, context: 4, dim: 4, layers: 1, heads: 1 })));
 * const gpu = await openGpu({ mode: "cpu" });
 * const model = await toGpu(packed, gpu);
 * console.log((await model.generate([1, 2], { maxTokens: 2, temperature: 0 })).length); // 2
 * await gpu.close();
 * ```
 */
export async function toGpu(packed: PackedModel, gpu: Gpu): Promise<GpuModel> {
  if (typeof packed?.forward !== "function" || !packed.root)
    throw new OptionError(`toGpu: needs a packed model, got ${show(packed)}; pack it first`);
  if (typeof gpu?._opened?.engine?.during !== "function")
    throw new OptionError(`toGpu: needs what openGpu gives, got ${show(gpu)}`);
  walk(packed.root, (item, path) => {
    const { kind, forward } = item as Partial<PackedStep>;
    if (kind === "mixed")
      throw new OptionError(
        `toGpu: outliers of inputs are found on the CPU, got a mixed one at ${path}; take dynamicInput()`,
      );
    if (typeof forward === "function" && !isOurs(kind))
      throw new OptionError(
        `toGpu: layers of kinds from outside run on the CPU, got ${show(kind)} at ${path || "the root"}`,
      );
  });
  return new GpuModel(packed, gpu);
}
