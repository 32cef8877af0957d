/** Trained models on a GPU give the CPU's first choices and tokens: every width of weights, in Node. */

import type { GpuOptions } from "bitgrad/gpu";
import { beforeAll, describe, expect, it } from "vitest";
import { type PackedCase, problemsOf, type Ran, runCases } from "./cases.ts";
import { trainedCases } from "./trained.ts";

let cases: PackedCase[];
beforeAll(async () => {
  cases = await trainedCases();
});

const opened: Partial<GpuOptions>[] = [{ mode: "webasm" }];

describe.each(opened)("opened with %j", (options) => {
  let ran: Ran;
  beforeAll(async () => {
    ran = await runCases(options, cases);
  });

  it("packed GPTs, BERTs, ResNets and encoder-decoders give the CPU's first choices and tokens", () => {
    expect(problemsOf(ran, cases)).toEqual([]);
  });

  it("no choice is so close that rounding makes it", () => {
    for (const { name, margin } of ran.outcomes) expect(margin, name).toBeGreaterThan(0.001);
  });
});

describe("a run is not right", () => {
  const given = { name: "a", far: 1e-4 } as PackedCase;
  const same = { cpu: [1, 2], gpu: [1, 2] };
  const good = { name: "a", off: 1e-5, margin: 0.1, choices: same, tokens: same };
  const problems = (outcomes: Ran["outcomes"], error?: string) =>
    problemsOf({ options: {}, outcomes, ...(error && { error }) }, [given]);

  it.each([
    ["where a case did not run", problems([]), "0 of 1 cases ran"],
    ["where it failed", problems([{ ...good, error: "no" }]), "a: no"],
    ["where nothing opened", problems([good], "no"), "no"],
    ["where numbers are off", problems([{ ...good, off: 1e-3 }]), "a: off by 0.001"],
    ["where they are none", problems([{ ...good, off: Number.NaN }]), "a: off by NaN"],
    [
      "where a token is another",
      problems([{ ...good, tokens: { cpu: [1], gpu: [2] } }]),
      "a: tokens 2, the CPU's 1",
    ],
    [
      "where a choice is another",
      problems([{ ...good, choices: { cpu: [1], gpu: [2] } }]),
      "a: choices 2, the CPU's 1",
    ],
  ])("%s", (_, found, want) => {
    expect(problems([good])).toEqual([]);
    expect(found).toEqual([want]);
  });
});
