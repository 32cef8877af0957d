/** gpu.js in a browser, by the GPU that it has or the software that stands for one; without a browser the tests skip. */

import { Rng, randn } from "bitgrad";
import type { GpuOptions } from "bitgrad/gpu";
import { Llama, ResNet } from "bitgrad/models";
import { evaluate, type Layer, Linear } from "bitgrad/nn";
import {
  binarySigns,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
} from "bitgrad/quant";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GpuPageReport } from "../browser/gpu-page.ts";
import { bundled, findChromium, openPages, type Pages, softwareGpu } from "../browser/pages.ts";
import { caseOf, type PackedCase, problemsOf } from "./cases.ts";
import { trainedCases } from "./trained.ts";

const chromium = findChromium();
const rng = new Rng(3);

function packed(layer: Layer, config: QuantConfig | null) {
  const model = evaluate(layer);
  return pack(config ? freeze(prepare(model, plan({ default: config }))) : model);
}

const numbers = (...shape: number[]) =>
  randn(shape, { rng }) as { data: Float32Array; shape: readonly number[] };
const text = {
  vocabulary: 20,
  dim: 16,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  context: 16,
  feedForward: 24,
  initStd: 0.4,
  rng,
};
const drawn = (): PackedCase[] => [
  caseOf(
    "a Llama of int8",
    packed(new Llama(text), int8Dynamic()),
    { data: [3, 1, 4], shape: [1, 3] },
    { prompts: [{ ids: [3, 1], options: { maxTokens: 6, temperature: 0 } }] },
  ),
  caseOf(
    "a ResNet of int8",
    packed(new ResNet({ blocks: 1, width: 4, rng }), int8Dynamic()),
    numbers(1, 3, 8, 8),
  ),
  caseOf("1001 signs", packed(new Linear(1001, 3, { rng }), binarySigns()), numbers(2, 1001)),
  caseOf(
    "4097 weights of int4",
    packed(new Linear(4097, 3, { rng }), int4WeightOnly({ granularity: "channel" })),
    numbers(2, 4097),
  ),
  caseOf("65537 floats", packed(new Linear(65_537, 2, { rng }), null), numbers(1, 65_537)),
];

describe.skipIf(chromium === null)("gpu.js in a browser", () => {
  let pages: Pages;
  let cases: PackedCase[];

  beforeAll(async () => {
    cases = [...drawn(), ...(await trainedCases())];
    const files: Record<string, [type: string, body: string]> = {
      "/gpu": ["text/html", `<!doctype html><script type="module" src="/page.js"></script>`],
      "/page.js": ["text/javascript", await bundled("gpu-page.ts")],
      "/cases": ["application/json", JSON.stringify(cases)],
    };
    pages = await openPages(
      chromium!,
      (path) => (path in files ? { type: files[path][0], body: files[path][1] } : null),
      softwareGpu,
    );
  });
  afterAll(() => pages?.close());

  const visit = async (options: Partial<GpuOptions>): Promise<GpuPageReport> => {
    const query = new URLSearchParams({ options: JSON.stringify(options) });
    return (await pages.visit(`/gpu?${query}`, "/gpu")) as GpuPageReport;
  };

  it.each(["webgl2", "webgpu", "webasm", "cpu"] as const)(
    "mode %s gives the CPU's numbers, first choices and tokens, and no kernel falls back with a warning",
    async (mode) => {
      const ran = await visit({ mode });
      expect(problemsOf(ran, cases)).toEqual([]);
      expect(ran.report).toMatchObject({ mode, gpu: mode.startsWith("webg") });
      expect(ran.warned).toEqual([]);
    },
    120_000,
  );
});
