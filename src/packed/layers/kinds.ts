/** The classes of packed layers by their kinds. */

import { isPlainObject, OptionError, show } from "../../errors.ts";
import type { Fields, PackedKind } from "../file/layer.ts";
import { PackedAttention } from "./attention.ts";
import { PackedConv1d, PackedConv2d } from "./conv.ts";
import { PackedConvTranspose2d } from "./conv-transpose.ts";
import { PackedCopyFeatures } from "./copy-features.ts";
import { PackedHadamard } from "./hadamard.ts";
import { PackedBatchNorm, PackedBranch, PackedPReLU, PackedSubsample } from "./images.ts";
import { PackedLanguage, PackedSeq2Seq } from "./language.ts";
import { PackedEmbedding, PackedLinear } from "./linear.ts";
import { PackedNorm } from "./norm.ts";
import { PackedFlatten, PackedPool } from "./pool.ts";
import { PackedFunction, PackedSequential } from "./sequential.ts";
import { PackedBlock, PackedFeedForward } from "./transformer.ts";

const ours: readonly PackedKind[] = [
  PackedLinear,
  PackedEmbedding,
  PackedConv1d,
  PackedConv2d,
  PackedConvTranspose2d,
  PackedPool,
  PackedFlatten,
  PackedNorm,
  PackedHadamard,
  PackedCopyFeatures,
  PackedBatchNorm,
  PackedPReLU,
  PackedAttention,
  PackedFeedForward,
  PackedBlock,
  PackedFunction,
  PackedSubsample,
  PackedBranch,
  PackedSequential,
  PackedLanguage,
  PackedSeq2Seq,
];

export type Kinds = ReadonlyMap<string, PackedKind>;

/** The kinds of what makes codes of inputs, which stands among the fields of layers. */
const inputs = ["dynamic", "static", "signs", "mixed"];

/** Whether a kind is one of the library's. */
export const isOurs = (kind: unknown): boolean => ours.some((Kind) => Kind.kind === kind);

/**
 * What fields of the library's kinds are, whichever kind it is, where a file of version 4 leaves them out. Those not listed
 * are null then, as their layers take what is missing.
 */
export const defaults: Fields = {
  bias: null,
  input: { kind: "dynamic", bits: 8 },
  inputSteps: [],
  stride: [1, 1],
  padding: [
    [0, 0],
    [0, 0],
  ],
  dilation: [1, 1],
  groups: 1,
  join: "sum",
  type: "layer",
  eps: 1e-5,
  weight: null,
  rotary: null,
  norm: "pre",
  causal: true,
  context: null,
  scale: 1,
};

/** Throws OptionError for static options that are no object by name, or have the name of one that every run has. */
function checkOptions(kind: string, options: unknown): void {
  if (options === undefined) return;
  if (!isPlainObject(options)) {
    throw new OptionError(
      `PackedModel: static options must be an object by name, got ${show(options)} of ${show(kind)}`,
    );
  }
  if (Object.hasOwn(options, "budget")) {
    throw new OptionError(
      `PackedModel: an option must not be named "budget", which every run has, got it of ${show(kind)}`,
    );
  }
}

/**
 * All classes by kind. Throws OptionError for those from outside that are no class with a kind, whose kind is taken, or
 * whose static options are none.
 */
export function known(own: readonly PackedKind[]): Kinds {
  if (!Array.isArray(own))
    throw new OptionError(`PackedModel: kinds must be a list of classes, got ${show(own)}`);
  const kinds = new Map(ours.map((Kind) => [Kind.kind, Kind]));
  for (const Kind of own) {
    const kind = typeof Kind === "function" ? Kind.kind : null;
    if (typeof kind !== "string" || kind === "") {
      throw new OptionError(
        `PackedModel: a class must have a static kind, a text, got ${show(kind)} of ${show(Kind)}`,
      );
    }
    if (inputs.includes(kind) || (kinds.has(kind) && kinds.get(kind) !== Kind)) {
      throw new OptionError(
        `PackedModel: a kind must not be taken, got ${show(kind)} of ${show(Kind)}; rename it`,
      );
    }
    checkOptions(kind, Kind.options);
    kinds.set(kind, Kind);
  }
  return kinds;
}
