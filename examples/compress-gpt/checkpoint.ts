/** Interrupted training as a safetensors file, and back. */

import { readFileSync } from "node:fs";
import { isTensor, type RngState, type Tensor } from "bitgrad";
import { readSafetensors, save } from "bitgrad/io";
import { loadStateDict, stateDict } from "bitgrad/nn";
import { type Checkpoint, makeModel, type Sizes } from "./job.ts";

interface Notes {
  step: number;
  rng: RngState;
  losses: number[];
  numbers: Record<string, number>;
}

const prefixes = { model: "model.", optimizer: "optimizer." };

export async function saveCheckpoint(
  path: string,
  { model, optimizer, step, rng, losses }: Checkpoint,
): Promise<void> {
  const tensors: Record<string, Tensor> = {};
  const numbers: Record<string, number> = {};
  for (const [name, t] of Object.entries(stateDict(model))) tensors[prefixes.model + name] = t;
  for (const [name, value] of Object.entries(optimizer)) {
    if (isTensor(value)) tensors[prefixes.optimizer + name] = value;
    else numbers[name] = value;
  }
  const notes: Notes = { step, rng, losses, numbers };
  await save(path, tensors, { metadata: { checkpoint: JSON.stringify(notes) } });
}

export function loadCheckpoint(path: string, sizes: Sizes): Checkpoint {
  const { tensors, metadata } = readSafetensors(readFileSync(path));
  const { step, rng, losses, numbers } = JSON.parse(metadata.checkpoint) as Notes;
  const below = (prefix: string) =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, t]) =>
        name.startsWith(prefix) ? [[name.slice(prefix.length), t]] : [],
      ),
    );
  const model = makeModel(sizes, 0);
  loadStateDict(model, below(prefixes.model));
  return { model, optimizer: { ...numbers, ...below(prefixes.optimizer) }, step, rng, losses };
}
