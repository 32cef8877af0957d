/** PackedModel: a model for inference alone. */

import { isFloat32Array } from "../dtype.ts";
import { FormatError, isPlainObject, OptionError, readOptions, refuseJson, show } from "../errors.ts";
import {
  type GenerateOptions,
  generateFrom,
  type Reader,
  type StreamOptions,
  streamFrom,
} from "../generation/loop.ts";
import { readPacked, writePacked } from "./file/file.ts";
import { endless, type PackedKind, type PackedLayer, type PackedStep } from "./file/layer.ts";
import { PackedWeight } from "./file/weight.ts";
import { checkGiven } from "./given.ts";
import type { PackedAttentionCall } from "./layers/attention.ts";
import { isOurs, type Kinds, known } from "./layers/kinds.ts";
import type {
  PackedLanguage,
  PackedLanguageCall,
  PackedSeq2Seq,
  PackedSeq2SeqCall,
} from "./layers/language.ts";
import type { PackedBlockCall } from "./layers/transformer.ts";
import { type PackedBudget, type PackedSource, plainOptions, readRun, readsIds, readText } from "./run.ts";
import { copied, type Ids, inArena, inRoom, type Values } from "./values.ts";

/** What a model can be told beside its input, by the names of the model that was packed. */
export interface PackedCall
  extends PackedBudget,
    Omit<Pick<PackedAttentionCall, "context"> & PackedBlockCall & PackedSeq2SeqCall, "cache">,
    Pick<PackedLanguageCall, "segments"> {}

export interface PackedOptions {
  /** Classes of layers of one's own, beside those of the library. */
  readonly kinds: readonly PackedKind[];
}

/** No model has as many levels of fields, and the engine's stack is short. */
const mostLevels = 512;

const below = (path: string, name: string | number): string => (path === "" ? `${name}` : `${path}.${name}`);

/** Makes layers of their fields, those below first. `above` holds what the fields lie in. */
function assemble(value: unknown, kinds: Kinds, path = "", above: readonly object[] = []): unknown {
  if (!Array.isArray(value) && !isPlainObject(value)) return value;
  const wrong = endless(value, above, mostLevels);
  if (wrong) throw new FormatError(`PackedModel: ${wrong}, got ${show(path)}`);
  const made = (field: unknown, name: string | number): unknown =>
    assemble(field, kinds, below(path, name), [...above, value]);
  if (Array.isArray(value)) return value.map(made);
  const fields = Object.fromEntries(Object.entries(value).map(([name, field]) => [name, made(field, name)]));
  // The input of a product has a kind, and is no layer.
  const { kind } = fields;
  const Kind = typeof kind === "string" ? kinds.get(kind) : undefined;
  if (!Kind) return fields;
  const layer = new Kind(fields);
  if (layer.kind === kind) return layer;
  throw new OptionError(
    `PackedModel: a layer must have the kind of its class, got ${show(layer.kind)} for ${show(kind)}`,
  );
}

/**
 * A packed layer and all below it: runs on typed arrays, on the SIMD heap where there is one, without autograd.
 *
 * @example
 * ```ts
 * import { Gpt } from "bitgrad/models";
 * import { evaluate } from "bitgrad/nn";
 * import { freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";
 *
 * const gpt = new Gpt({ vocabulary: 20, context: 16, dim: 16, layers: 1, heads: 2 });
 * const packed = pack(freeze(prepare(evaluate(gpt), plan({ default: int8Dynamic() }))));
 * packed.warmUp();
 * console.log(packed.generate([3, 1], { maxTokens: 4, temperature: 0 }).length); // 4
 * ```
 */
export class PackedModel {
  readonly root: PackedLayer;

  /**
   * Takes a layer, or what it is made of. Throws FormatError for what is none, and OptionError for kinds that are none or
   * whose names or options are taken, and for a root without `forward`. What layers of those kinds give is checked as they
   * run: ShapeError names the kind and the path of one that gives other than float32 values of a shape.
   */
  constructor(layer: PackedLayer, options?: Partial<PackedOptions>) {
    const { kinds: own } = readOptions<PackedOptions>("PackedModel", options, { kinds: [] });
    const kinds = known(own);
    const root = assemble(layer, kinds) as PackedLayer | null;
    if (isPlainObject(root) || !kinds.has(String(root?.kind))) {
      throw new FormatError(`PackedModel: needs a layer of a known kind, got ${show(root?.kind ?? root)}`);
    }
    if (typeof (root as Partial<PackedStep>).forward !== "function")
      throw new OptionError(`PackedModel: the root must have forward, got ${show(root!.kind)}`);
    this.root = root!;
    walk(root, (item, path) => {
      const { kind, forward } = item as Partial<PackedStep>;
      if (typeof forward === "function" && kinds.has(kind!) && !isOurs(kind!))
        checkGiven(item as PackedStep, path);
    });
  }

  /** Bytes of all codes, scales and float32 numbers, shared ones once: the size of a file but for its header. */
  get byteLength(): number {
    let sum = 0;
    walk(this.root, (item) => {
      if (item instanceof PackedWeight || isFloat32Array(item)) sum += item.byteLength;
    });
    return sum;
  }

  /** JSON.stringify of it throws OptionError: `toBytes` and `save` of bitgrad/io keep it. */
  toJSON(): never {
    return refuseJson(this);
  }

  /**
   * Does before the first request of a server what that would wait for: weights are laid out, kernels compiled, and the ways
   * of products chosen. Runs the model on `x` as `forward` does, and a causal one also as `generate`; what comes of it is
   * dropped. Ways follow the number of rows: x is to be as large as a request. A model of text needs none, and then reads
   * 128 ids, or as many as it can; others throw OptionError without one. `dispose` undoes what lies on the heap.
   */
  warmUp<C extends object = PackedCall>(
    x: Values | Ids | null = null,
    options?: Partial<NoInfer<C> & PackedBudget>,
  ): void {
    const { root } = this;
    const model = root.kind === "seq2seq" ? (root as PackedSeq2Seq).decoder : (root as PackedLanguage);
    const isText = model.kind === "language";
    const most = (isText ? model.context : null) ?? Infinity;
    const zeros = (length: number): Ids => ({ data: new Int32Array(length), shape: [1, length] });
    if (x !== null) this.forward(x, options);
    else if (isText) {
      const ids = zeros(Math.min(128, most));
      const target = model === root ? {} : { target: ids };
      this.forward<object>(ids, { ...target, ...options });
    } else
      throw new OptionError(`warmUp: needs an input like that of a request, got none for ${show(root.kind)}`);
    if (!isText || !model.causal) return;
    // The prompt is read for the first token, one position for the second.
    const prompt = zeros(Math.max(1, Math.min(x?.shape[1] ?? 128, most - 1)));
    const source = model === root ? null : prompt;
    this.generate(prompt.data, { maxTokens: 2, temperature: 0, source });
  }

  /** Gives back what the model's products hold of the SIMD heap; the next run lays them out again. */
  dispose(): void {
    walk(this.root, (item) => {
      (item as { dispose?(): void }).dispose?.();
    });
  }

  /**
   * Runs the model on float32 values, or on ids (B, T) for models of text, whose result is as of the model that was packed.
   * Takes what its kind can be told: see PackedCall. Throws ShapeError for shapes that do not fit and beyond the budget,
   * BitgradError ("NUMERICS") for an input that is not finite and where numbers overflow before codes are made of them,
   * OptionError for what this model cannot be told; a kind of one's own names in `C` what it takes. Floats that overflow
   * elsewhere give infinities and NaN, as in the model that was packed.
   */
  forward<C extends object = PackedCall>(
    x: Values | Ids,
    options?: Partial<NoInfer<C> & PackedBudget>,
  ): Values {
    const { root, given, told, values, budget } = readRun(this.root, x, options);
    const run = (): Values => {
      for (const name of values) told[name] = inRoom(told[name] as Values);
      return root.forward(readsIds(root) ? (given as Values) : inRoom(given as Values), told);
    };
    return inArena(run, copied, budget);
  }

  /**
   * The tokens after the prompt, as `Gpt.stream` makes them, with a cache of keys and values; those of a target that
   * begins with the prompt, where the model reads a source. Throws OptionError for other models, and without a source
   * there.
   */
  stream(
    prompt: ArrayLike<number>,
    options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens"> & PackedSource,
  ): Generator<number, void, undefined> {
    const { source, sourceMask, budget, ...rest } = plainOptions(options);
    return streamFrom(this.reader({ source, sourceMask, budget }), prompt, rest);
  }

  /** The tokens after the prompt, all at once. */
  generate(
    prompt: ArrayLike<number>,
    options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens"> & PackedSource,
  ): number[] {
    const { source, sourceMask, budget, ...rest } = plainOptions(options);
    return generateFrom(this.reader({ source, sourceMask, budget }), prompt, rest);
  }

  /** The file of this model, which `loadPacked` reads: docs/formats.md. */
  toBytes(): Uint8Array {
    return writePacked(this.root);
  }

  private reader(from: PackedSource): Reader {
    const { encoder, decoder, source, sourceMask, budget } = readText(this.root, from);
    const memory =
      encoder && source
        ? inArena(() => encoder.forward(source, { mask: sourceMask }), copied, budget(source.data.length))
        : null;
    const caches = decoder.newCache();
    const call = { cache: caches, last: true, memory, memoryMask: sourceMask };
    return {
      context: decoder.context ?? Infinity,
      get length() {
        return caches[0]?.length ?? 0;
      },
      read: (ids) => {
        const most = budget(ids.length, memory?.data.length ?? 0);
        return inArena(() => decoder.forward({ data: ids, shape: [1, ids.length] }, call), copied, most).data;
      },
      clear() {
        for (const cache of caches) cache.clear();
      },
    };
  }
}

/** Calls `visit` once for every object that is part of a layer, with its path. */
export function walk(
  value: unknown,
  visit: (item: object, path: string) => void,
  path = "",
  seen = new Set<object>(),
): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  visit(value, path);
  if (value instanceof PackedWeight || ArrayBuffer.isView(value)) return;
  for (const [name, child] of Object.entries(value))
    if (!name.startsWith("_")) walk(child, visit, below(path, name), seen);
}

/**
 * The model of a file that `toBytes` wrote. No float weights are made on the way. Throws FormatError for a file that is
 * truncated, damaged anywhere, broken in any way, or of another version than 1 to 4, OptionError for kinds as `new
 * PackedModel`.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { loadPacked } from "bitgrad/packed";
 * import { pack } from "bitgrad/quant";
 *
 * const bytes = pack(new Linear(8, 2)).toBytes();
 * const { data, shape } = loadPacked(bytes).forward({ data: new Float32Array(16), shape: [2, 8] });
 * console.log(data.length, shape); // 4 [2, 2]
 * ```
 */
export const loadPacked = (bytes: Uint8Array | ArrayBuffer, options?: Partial<PackedOptions>): PackedModel =>
  new PackedModel(readPacked(bytes) as PackedLayer, options);
