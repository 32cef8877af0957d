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
import type { Fields, PackedLayer, PackedStep } from "./file/layer.ts";
import { PackedWeight } from "./file/weight.ts";
import { PackedAttention, type PackedAttentionCall } from "./layers/attention.ts";
import { PackedConv1d, PackedConv2d } from "./layers/conv.ts";
import { PackedBatchNorm, PackedBranch, PackedPReLU, PackedSubsample } from "./layers/images.ts";
import {
  PackedLanguage,
  type PackedLanguageCall,
  PackedSeq2Seq,
  type PackedSeq2SeqCall,
} from "./layers/language.ts";
import { PackedEmbedding, PackedLinear } from "./layers/linear.ts";
import { PackedNorm } from "./layers/norm.ts";
import { PackedFunction, PackedSequential } from "./layers/sequential.ts";
import { PackedBlock, type PackedBlockCall, PackedFeedForward } from "./layers/transformer.ts";
import { checkFinite } from "./products/input.ts";
import { budgetOf, checkValues, copied, type Ids, inArena, inRoom, steady, type Values } from "./values.ts";

const kinds: Readonly<Record<string, new (fields: Fields) => PackedLayer>> = {
  linear: PackedLinear,
  embedding: PackedEmbedding,
  conv1d: PackedConv1d,
  conv2d: PackedConv2d,
  norm: PackedNorm,
  batchNorm: PackedBatchNorm,
  prelu: PackedPReLU,
  attention: PackedAttention,
  feedForward: PackedFeedForward,
  block: PackedBlock,
  function: PackedFunction,
  subsample: PackedSubsample,
  branch: PackedBranch,
  sequential: PackedSequential,
  language: PackedLanguage,
  seq2seq: PackedSeq2Seq,
};

/** How much a run may take. */
export interface PackedBudget {
  /**
   * The numbers, of four bytes, that a run may make, and 1024 products for each. Default: 2^16 for each number of its input, an id
   * counting as the row that it becomes, but at least 2^24, and above 2^30 in all 2^12 for each. It is for files that nobody
   * vouches for; more than that throws ShapeError before it is allocated.
   */
  readonly budget?: number | null;
}

/** What a model can be told beside its input, by the names of the model that was packed. */
export interface PackedCall
  extends PackedBudget,
    Omit<Pick<PackedAttentionCall, "context"> & PackedBlockCall & PackedSeq2SeqCall, "cache">,
    Pick<PackedLanguageCall, "segments"> {}

/** What is told, by kind. */
const calls: Readonly<Record<string, Partial<PackedCall>>> = {
  attention: { causal: false, mask: null, context: null },
  block: { causal: undefined, mask: null, memory: null, memoryMask: null },
  language: { mask: null, segments: null },
  seq2seq: { target: null, sourceMask: null },
};

/** Options to be told apart: `generate` reads those that it knows. */
function given<O extends object>(options: O): O {
  if (options !== undefined && !isPlainObject(options)) {
    throw new OptionError(`generate: options must be a plain object, got ${show(options)}`);
  }
  return { ...options };
}

/** What a model with an encoder generates from: ids (1, S), and (1, S): 1 where they may be read. */
export interface PackedSource extends PackedBudget {
  readonly source?: Ids | null;
  readonly sourceMask?: Ids | null;
}

/** Makes layers of their fields, those below first. */
function assemble(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(assemble);
  if (!isPlainObject(value)) return value;
  const fields = Object.fromEntries(Object.entries(value).map(([name, field]) => [name, assemble(field)]));
  // The input of a product has a kind, and is no layer.
  const { kind } = fields;
  return typeof kind === "string" && Object.hasOwn(kinds, kind) ? new kinds[kind](fields) : fields;
}

/** A packed layer and all below it: runs on typed arrays, on the SIMD heap where there is one, without autograd. */
export class PackedModel {
  readonly root: PackedLayer;

  /** Takes a layer, or what it is made of. Throws FormatError for what is none. */
  constructor(layer: PackedLayer) {
    const root = assemble(layer) as PackedLayer | null;
    if (isPlainObject(root) || !Object.hasOwn(kinds, String(root?.kind))) {
      throw new FormatError(`PackedModel: needs a layer of a known kind, got ${show(root?.kind ?? root)}`);
    }
    this.root = root!;
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

  /** Gives back what the model's products hold of the SIMD heap; the next run lays them out again. */
  dispose(): void {
    walk(this.root, (item) => {
      (item as { dispose?(): void }).dispose?.();
    });
  }

  /**
   * Runs the model on float32 values, or on ids (B, T) for models of text, whose result is as of the model that was packed. Takes
   * what its kind can be told: see PackedCall. Throws ShapeError for shapes that do not fit and beyond the budget, BitgradError
   * ("NUMERICS") for an input that is not finite and where numbers overflow before codes are made of them, OptionError for what
   * this model cannot be told. Floats that overflow elsewhere give infinities and NaN, as in the model that was packed.
   */
  forward(x: Values | Ids, options?: Partial<PackedCall>): Values {
    const root = this.root as PackedStep;
    const known = { ...calls[root.kind], budget: null };
    const call: Partial<PackedCall> = readOptions<object>("forward", options, known);
    const { budget, ...told }: Partial<PackedCall> & Record<string, unknown> = call;
    for (const name of ["mask", "memoryMask", "segments", "sourceMask", "target"] as const)
      if (call[name]) told[name] = steady(checkValues(`forward: ${name}`, call[name], true));
    for (const name of ["context", "memory"] as const)
      if (call[name]) told[name] = steady(checkValues(`forward: ${name}`, call[name]));
    const ids = takesIds(root);
    const given = steady(checkValues("forward", x, ids));
    for (const read of [ids ? null : given, told.context, told.memory] as (Values | null)[])
      if (read) checkFinite("forward", read.data, read.data.length);
    const inputs = [given, ...Object.values(told)].map((read) => (read as Ids | null)?.data?.length ?? 0);
    const run = (): Values => {
      for (const name of ["context", "memory"]) if (told[name]) told[name] = inRoom(told[name] as Values);
      return root.forward(ids ? (given as Values) : inRoom(given as Values), told);
    };
    return inArena(run, copied, budgetFor("forward", budget, root, ...inputs));
  }

  /**
   * The tokens after the prompt, as `Gpt.stream` makes them, with a cache of keys and values; those of a target that begins with
   * the prompt, where the model reads a source. Throws OptionError for other models, and without a source there.
   */
  stream(
    prompt: ArrayLike<number>,
    options: Partial<StreamOptions> & Pick<StreamOptions, "maxTokens"> & PackedSource,
  ): Generator<number, void, undefined> {
    const { source, sourceMask, budget, ...rest } = given(options);
    return streamFrom(this.reader({ source, sourceMask, budget }), prompt, rest);
  }

  /** The tokens after the prompt, all at once. */
  generate(
    prompt: ArrayLike<number>,
    options: Partial<GenerateOptions> & Pick<GenerateOptions, "maxTokens"> & PackedSource,
  ): number[] {
    const { source, sourceMask, budget, ...rest } = given(options);
    return generateFrom(this.reader({ source, sourceMask, budget }), prompt, rest);
  }

  /** The file of this model, which `loadPacked` reads: docs/formats.md. */
  toBytes(): Uint8Array {
    return writePacked(this.root);
  }

  private reader({ source = null, sourceMask = null, budget = null }: PackedSource): Reader {
    const { root } = this;
    const pair = root.kind === "seq2seq" ? (root as PackedSeq2Seq) : null;
    const model = (pair?.decoder ?? root) as PackedLanguage;
    const isText = model.kind === "language";
    if (!isText || !model.causal) {
      throw new OptionError(
        `generate: needs a ${isText ? "causal " : ""}language model, got ${show(root.kind)}`,
      );
    }
    if ((pair !== null) !== (source !== null)) {
      throw new OptionError(
        `generate: a source goes with an encoder, got ${source ? "one" : "none"} for ${show(root.kind)}`,
      );
    }
    const memory =
      pair && source
        ? inArena(
            () => pair.encoder.forward(checkValues("generate", source, true), { mask: sourceMask }),
            copied,
            budgetFor("generate", budget, root, Number(source.data?.length)),
          )
        : null;
    const caches = model.newCache();
    const call = { cache: caches, last: true, memory, memoryMask: sourceMask };
    return {
      context: model.context ?? Infinity,
      get length() {
        return caches[0]?.length ?? 0;
      },
      read: (ids) => {
        const most = budgetFor("generate", budget, root, ids.length, memory?.data.length ?? 0);
        return inArena(() => model.forward({ data: ids, shape: [1, ids.length] }, call), copied, most).data;
      },
      clear() {
        for (const cache of caches) cache.clear();
      },
    };
  }
}

/** Numbers that an id becomes, and 1 where inputs are numbers. */
function widthOf(layer: PackedLayer): number {
  const { weight, token, encoder, decoder } = layer as unknown as {
    readonly [name in "weight" | "token" | "encoder" | "decoder"]: never;
  };
  switch (layer.kind) {
    case "embedding":
      return (weight as PackedWeight).columns;
    case "language":
      return widthOf(token);
    case "seq2seq":
      return Math.max(widthOf(encoder), widthOf(decoder));
    case "sequential": {
      const [first] = (layer as PackedSequential)._flat;
      return first ? widthOf(first) : 1;
    }
    default:
      return 1;
  }
}

/** The budget of a run of `layer` on so many numbers or ids. Throws OptionError for one that is none. */
function budgetFor(
  op: string,
  given: number | null | undefined,
  layer: PackedLayer,
  ...inputs: number[]
): number {
  if ((given ?? null) === null) return budgetOf(inputs.reduce((a, b) => a + b, 0) * widthOf(layer));
  if (!(typeof given === "number" && given > 0)) {
    throw new OptionError(`${op}: budget must be a positive number, got ${show(given)}`);
  }
  return given;
}

/** Whether a layer reads ids: a model of text, a table, or a sequence that begins with one. */
const takesIds = (layer: PackedLayer | undefined): boolean =>
  ["language", "seq2seq", "embedding"].includes(layer?.kind ?? "") ||
  (layer?.kind === "sequential" && takesIds((layer as PackedSequential)._flat[0]));

/** Calls `visit` once for every object that is part of a layer. */
function walk(value: unknown, visit: (item: object) => void, seen = new Set<object>()): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  visit(value);
  if (value instanceof PackedWeight || ArrayBuffer.isView(value)) return;
  for (const [name, child] of Object.entries(value)) if (!name.startsWith("_")) walk(child, visit, seen);
}

/**
 * The model of a file that `toBytes` wrote. No float weights are made on the way. Throws FormatError for a file that is
 * truncated, damaged anywhere, broken in any way, or of another version than 1 and 2.
 */
export const loadPacked = (bytes: Uint8Array | ArrayBuffer): PackedModel =>
  new PackedModel(readPacked(bytes) as PackedLayer);
