import { expect, it } from "vitest";
import { fuzzPacked, fuzzTensors } from "./fuzz/fuzz.ts";

/** `npm run fuzz` sets these. */
const count = Number(process.env.BITGRAD_FUZZ_COUNT ?? 2000);
const seed = Number(process.env.BITGRAD_FUZZ_SEED ?? 1);
const only = process.env.BITGRAD_FUZZ_ONLY ? Number(process.env.BITGRAD_FUZZ_ONLY) : null;

it.each([
  ["a packed file, and it runs alike on every backend", fuzzPacked],
  ["a safetensors file", fuzzTensors],
])(
  `whatever is done to %s, it is read or refused by a typed error, within the memory it may take`,
  (_, fuzz) => {
    const { outcomes, faults } = fuzz(count, seed, only);
    console.log(`fuzz: seed ${seed}, ${JSON.stringify(outcomes)}`);
    expect(faults.slice(0, 20)).toEqual([]);
    if (only === null) expect(Math.min(outcomes.refused, outcomes.runs ?? outcomes.reads)).toBeGreaterThan(0);
  },
  60_000 + count * 100,
);
