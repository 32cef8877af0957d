import { describe, expect, it } from "vitest";
import { type Line, problem, sentence } from "./compare.ts";
import type { Report } from "./consumer.ts";

const good: Report = {
  results: { training: { losses: [2.5, 1.25], resumes: true }, signs: { equalsFrozen: true } },
  backend: "simd",
  threads: 2,
  reason: null,
};

describe("a consumer fails", () => {
  const alone = { threads: 1, reason: "the page is not isolated" };
  it.each<[string, object, 1 | 2, string | null]>([
    ["not when it is as the first", {}, 2, null],
    ["not with one thread where there may be no more, and it says why", alone, 1, null],
    ["when its program does", { error: "TypeError: no" }, 2, "TypeError: no"],
    ["on the reference", { backend: "reference", reason: "no SIMD" }, 2, "the backend is reference: no SIMD"],
    ["with fewer threads", alone, 2, "1 threads run, not 2: the page is not isolated"],
    ["with threads where it can have none", {}, 1, "2 threads run, not 1: null"],
    ["with one thread and no reason", { threads: 1 }, 1, "one thread runs, and no reason is given"],
    [
      "when a run does not resume bit for bit",
      { results: { training: { resumes: false } } },
      2,
      "resumes is false",
    ],
    [
      "when a bit differs",
      {
        results: {
          ...(good.results as object),
          training: { losses: [2.5, 1.2500000000000002], resumes: true },
        },
      },
      2,
      "results.training.losses.1 is 1.2500000000000002 and not 1.25",
    ],
    [
      "when a result is missing",
      { results: { training: { losses: [2.5, 1.25], resumes: true } } },
      2,
      'results.signs is undefined and not {"equalsFrozen":true}',
    ],
  ])("%s", (_, changes, threads, says) => {
    expect(problem({ ...good, ...changes }, threads, good)).toBe(says);
  });
});

it("the sentence names every version once, in lines that fit", () => {
  const line = (versions: Record<string, string>): Line => ({
    ...{ consumer: "", result: "passed", seconds: 1, why: "", versions },
  });
  const text = sentence([
    line({ Node: "20.1.0" }),
    line({ Node: "22.3.0" }),
    ...Array.from({ length: 9 }, (_, i) => line({ [`bundler${i}`]: "1.0.0", Chromium: "150" })),
  ]);
  expect(text.replaceAll("\n", " ")).toMatch(
    /Node 20\.1\.0, 22\.3\.0; bundler0 1\.0\.0; Chromium 150; bundler1/,
  );
  expect(text.match(/Chromium/g)).toHaveLength(1);
  for (const row of text.split("\n")) expect(row.length).toBeLessThanOrEqual(120);
});
