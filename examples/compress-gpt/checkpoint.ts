/** An interrupted run as a safetensors file, and back: what it was asked for, and how far it came. */

import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isTensor, type RngState, type Tensor } from "bitgrad";
import { readSafetensors, save } from "bitgrad/io";
import type { Gpt } from "bitgrad/models";
import { loadStateDict, stateDict } from "bitgrad/nn";
import { Refusal } from "./corpus.ts";
import { type Checkpoint, makeModel, makeTuned, type Sizes, type Training } from "./job.ts";

/** What a run was asked for. The same run gives the same numbers. */
export interface Run {
  /** The full path of the text; null for the repository's own. */
  text: string | null;
  /** The SHA-256 of the text. */
  sha256: string;
  steps: number;
  seed: number;
  sizes: Sizes;
}

interface Progress {
  step: number;
  rng: RngState;
  losses: number[];
  /** The numbers of the optimizer's state; its tensors are tensors of the file. */
  numbers: Record<string, number>;
}

interface Notes {
  run: Run;
  float: Progress;
  tuned?: Progress;
}

export const hash = (text: Uint8Array): string => createHash("sha256").update(text).digest("hex");

export async function saveCheckpoint(path: string, run: Run, { float, tuned }: Checkpoint): Promise<void> {
  const tensors: Record<string, Tensor> = {};
  const progress = (prefix: string, { model, optimizer, step, rng, losses }: Training): Progress => {
    const numbers: Record<string, number> = {};
    for (const [name, t] of Object.entries(stateDict(model))) tensors[`${prefix}.model.${name}`] = t;
    for (const [name, value] of Object.entries(optimizer)) {
      if (isTensor(value)) tensors[`${prefix}.optimizer.${name}`] = value;
      else numbers[name] = value;
    }
    return { step, rng, losses, numbers };
  };
  const notes: Notes = {
    run,
    float: progress("float", float),
    ...(tuned && { tuned: progress("tuned", tuned) }),
  };
  await save(path, tensors, { metadata: { checkpoint: JSON.stringify(notes) } });
}

/** Throws a Refusal where there is no checkpoint at `path`, and a FormatError for a file that is damaged. */
export function loadCheckpoint(path: string): { run: Run; checkpoint: Checkpoint } {
  if (!existsSync(path)) throw new Refusal(`there is no checkpoint at ${path}`);
  const { tensors, metadata } = readSafetensors(readFileSync(path));
  if (!metadata.checkpoint) throw new Refusal(`${path} is no checkpoint of this job`);
  const { run, float, tuned } = JSON.parse(metadata.checkpoint) as Notes;
  const below = (prefix: string) =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, t]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [],
      ),
    );
  const training = (prefix: string, model: Gpt, { step, rng, losses, numbers }: Progress): Training => {
    loadStateDict(model, below(`${prefix}.model.`));
    return { model, optimizer: { ...numbers, ...below(`${prefix}.optimizer.`) }, step, rng, losses };
  };
  const trained = training("float", makeModel(run.sizes, run.seed), float);
  return {
    run,
    checkpoint: {
      float: trained,
      ...(tuned && { tuned: training("tuned", makeTuned(trained.model), tuned) }),
    },
  };
}
