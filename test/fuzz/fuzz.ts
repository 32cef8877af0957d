/** Mutated files by the thousand, from a seed. */

import { Rng, randn, tensor } from "bitgrad";
import { writeSafetensors } from "bitgrad/io";
import type { Ids, Values } from "bitgrad/packed";
import { checkPacked, checkTensors } from "./check.ts";
import { type Sample, samples } from "./models.ts";
import { below, mutated, pick } from "./mutate.ts";
import { storedFiles } from "./stored.ts";

export interface Report {
  /** How often each outcome came. */
  readonly outcomes: Record<string, number>;
  /** What did not hold, with the run that shows it: `--only N` repeats it alone. */
  readonly faults: string[];
}

const safetensors = (): Uint8Array[] => {
  const x = randn([3, 4], { rng: new Rng(1) });
  const ints = tensor([1, -2, 3], { dtype: "int32" });
  const all = {
    x,
    tied: x,
    ints,
    bools: tensor([true, false]),
    doubles: tensor([1.5], { dtype: "float64" }),
  };
  const notes = { metadata: { format: "pt", "a key": "a value" } };
  return [
    writeSafetensors(all, notes),
    writeSafetensors({ x, y: randn([5], { rng: new Rng(2) }) }, { dtype: "float16" }),
    writeSafetensors({ x }, { dtype: "bfloat16", ...notes }),
    writeSafetensors({ empty: tensor([], { shape: [0, 3] }), scalar: tensor(2) }),
  ];
};

/** Every run has a generator of its own, so that one can be repeated alone. */
function fuzz(count: number, seed: number, only: number | null, run: (rng: Rng) => [string, string]): Report {
  const report: Report = { outcomes: {}, faults: [] };
  for (let n = only ?? 0; n < (only === null ? count : only + 1); n++) {
    const rng = new Rng(`${seed} ${n}`);
    let how = "";
    try {
      const [outcome, told] = run(rng);
      how = told;
      report.outcomes[outcome] = (report.outcomes[outcome] ?? 0) + 1;
    } catch (error) {
      how ||= String((error as { how?: string }).how ?? "");
      report.faults.push(
        `--seed ${seed} --only ${n}: ${how}: ${(error as Error).stack?.split("\n").slice(0, 4).join(" ")}`,
      );
    }
  }
  return report;
}

/** Runs `check`, whose error says what was mutated. */
function told(how: string, check: () => string): [string, string] {
  try {
    return [check(), how];
  } catch (error) {
    throw Object.assign(error as Error, { how });
  }
}

/** The same input, much larger or smaller in some places. */
function stretched(input: Values | Ids, rng: Rng): Values | Ids {
  const { data, shape } = input;
  if (!(data instanceof Float32Array)) return { data: Array.from(data, (id) => id + below(rng, 9)), shape };
  const factor = pick(rng, [1e-44, 1e-30, 1e-9, 1e9, 1e19, 1e30, 1e38]);
  return {
    data: data.map((v) => (rng.next() < 0.5 ? v * factor : v)).map((v) => Math.max(-3e38, Math.min(3e38, v))),
    shape,
  };
}

type Given = Omit<Sample, "model"> & {
  readonly bytes: Uint8Array;
  /** Of a stored file. */
  readonly version?: number;
};

/** Whether a file of version 1 has no checksum, as it may: nothing tells then that its key was damaged. */
const lacksChecksum = ({ version }: Given, file: Uint8Array): boolean =>
  version === 1 && !Buffer.from(file).includes('"bitgrad.crc32"');

export function fuzzPacked(count: number, seed: number, only: number | null = null): Report {
  const fresh: Given[] = samples().map((sample) => ({ ...sample, bytes: sample.model.toBytes() }));
  const old: Given[] = [1, 2, 3].flatMap((version) =>
    storedFiles(version).map((file) => ({ ...file, version })),
  );
  for (const given of [...fresh, ...old])
    if (checkPacked(given.bytes, given, false) !== "runs") throw new Error(`${given.name} does not run`);
  return fuzz(count, seed, only, (rng) => {
    const from = pick(rng, rng.next() < 0.7 ? fresh : old);
    const { name, bytes, input, told: options } = from;
    const file = mutated(bytes, rng);
    const changed = !file.sealed && Buffer.compare(file.bytes, bytes) !== 0;
    const damaged = changed && !lacksChecksum(from, file.bytes);
    const given = { input: rng.next() < 0.2 ? stretched(input, rng) : input, told: options };
    return told(`${name}, ${file.how}`, () => checkPacked(file.bytes, given, damaged));
  });
}

export function fuzzTensors(count: number, seed: number, only: number | null = null): Report {
  const corpus = safetensors();
  return fuzz(count, seed, only, (rng) => {
    const file = mutated(corpus[below(rng, corpus.length)], rng);
    return told(file.how, () => checkTensors(file.bytes));
  });
}
