/** gpu.js in a browser, by the GPU that it has or the software that stands for one; without a browser the tests skip. */

import { Rng, randn } from "bitgrad";
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
import type { GpuCase, GpuPageReport, ModeReport } from "../browser/gpu-page.ts";
import { bundled, findChromium, openPages, type Pages, softwareGpu } from "../browser/pages.ts";

const chromium = findChromium();
const rng = new Rng(3);

function caseOf(
  name: string,
  layer: Layer,
  config: QuantConfig | null,
  x: { data: ArrayLike<number>; shape: readonly number[] },
): GpuCase {
  const model = evaluate(layer);
  const packed = pack(config ? freeze(prepare(model, plan({ default: config }))) : model);
  const { data, shape } = x;
  return {
    name,
    bytes: Array.from(packed.toBytes()),
    x: { data: Array.from(data), shape: [...shape] },
    ids: shape.length === 2 && name.includes("Llama"),
  };
}

const ids = { data: [3, 1, 4], shape: [1, 3] };
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
const cases: GpuCase[] = [
  caseOf("a Llama of int8", new Llama(text), int8Dynamic(), ids),
  caseOf("a ResNet of int8", new ResNet({ blocks: 1, width: 4, rng }), int8Dynamic(), numbers(1, 3, 8, 8)),
  caseOf("1001 signs", new Linear(1001, 3, { rng }), binarySigns(), numbers(2, 1001)),
  caseOf(
    "4097 weights of int4",
    new Linear(4097, 3, { rng }),
    int4WeightOnly({ granularity: "channel" }),
    numbers(2, 4097),
  ),
  caseOf("65537 floats", new Linear(65_537, 2, { rng }), null, numbers(1, 65_537)),
];

describe.skipIf(chromium === null)("gpu.js in a browser", () => {
  let pages: Pages;
  let report: GpuPageReport;

  beforeAll(async () => {
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
    report = (await pages.visit("/gpu")) as GpuPageReport;
  });
  afterAll(() => pages?.close());

  it.each(["webgl2", "webgpu", "webasm", "cpu"] as const)(
    "mode %s gives the CPU's numbers and tokens",
    (mode) => {
      const { report: ran, off, tokens } = report.modes[mode] as ModeReport;
      expect(report.modes[mode]).not.toHaveProperty("error");
      expect(ran).toMatchObject({ mode, gpu: mode.startsWith("webg") });
      for (const [name, far] of Object.entries(off)) expect(far, name).toBeLessThan(1e-4);
      expect(Object.keys(off)).toHaveLength(cases.length);
      expect(tokens).toEqual(report.tokens);
    },
  );

  it("no kernel falls back to the CPU with a warning", () => {
    expect(report.warned).toEqual([]);
  });
});
