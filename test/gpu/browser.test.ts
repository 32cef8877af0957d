/** Both executors in a browser, by the GPU that it has or the software that stands for one; without a browser the tests skip. */

import { Rng, randn } from "bitgrad";
import type { GpuOptions, Mode } from "bitgrad/gpu";
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
import { bundled, findChromium, isolation, openPages, type Pages, softwareGpu } from "../browser/pages.ts";
import { caseOf, type PackedCase, problemsOf } from "./cases.ts";
import { trainedCases } from "./trained.ts";

const chromium = findChromium();
const modes = ["webgl2", "webgpu", "webasm", "cpu"] as const;
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

const headers: Record<string, Readonly<Record<string, string>>> = {
  "/plain": {},
  "/isolated": isolation,
  "/strict": {
    ...isolation,
    "Content-Security-Policy":
      "default-src 'none'; script-src 'self'; worker-src 'self' blob:; connect-src 'self'",
  },
};

describe.skipIf(chromium === null)("a GPU in a browser", () => {
  let pages: Pages;
  let cases: Record<"drawn" | "all" | "few", PackedCase[]>;

  beforeAll(async () => {
    const trained = await trainedCases();
    const named = (names: RegExp) => trained.filter(({ name }) => names.test(name));
    const few = named(/^GPT, 1 bit$/);
    // Software is slow: all widths run in Node.
    const some = drawn();
    const all = [...some, ...named(/int8 dynamic$|^(GPT|ResNet), 1 bit of both$/)];
    cases = { drawn: some, all, few };
    const page = (script: string) => `<!doctype html><script type="module" src="${script}"></script>`;
    const files: Record<string, [type: string, body: string]> = {
      "/page": ["text/html", page("page.js")],
      "/worker": ["text/html", page("hired.js")],
      "/hired.js": ["text/javascript", `new Worker("page.js" + location.search, { type: "module" })`],
      "/page.js": ["text/javascript", await bundled("gpu-page.ts")],
      ...Object.fromEntries(
        Object.entries(cases).map(([name, some]) => [`/${name}`, ["application/json", JSON.stringify(some)]]),
      ),
    };
    pages = await openPages(
      chromium!,
      (path) => {
        const [, at, file] = /^(\/\w+)(\/.+)$/.exec(path) ?? [];
        return at in headers && file in files
          ? { type: files[file][0], body: files[file][1], headers: headers[at] }
          : null;
      },
      softwareGpu,
    );
  });
  afterAll(() => pages?.close());

  const visit = async (
    at: string,
    given: keyof typeof cases,
    options: readonly Partial<GpuOptions>[],
  ): Promise<GpuPageReport> => {
    const query = new URLSearchParams({ cases: given, options: JSON.stringify(options) });
    return (await pages.visit(`${at}?${query}`, "/gpu", 240)) as GpuPageReport;
  };

  /** Trained models run by what computes on a GPU where there is one. */
  const opened: readonly [Partial<GpuOptions>, "all" | "drawn", object][] = [
    [{ executor: "webgpu" }, "all", { executor: "webgpu", gpu: true, lanes: 32 }],
    [{}, "drawn", { executor: "webgpu", gpu: true }],
    ...modes.map((mode): [Partial<GpuOptions>, "all" | "drawn", object] => [
      { mode },
      mode === "webgl2" ? "all" : "drawn",
      { executor: "gpu.js", mode, gpu: mode.startsWith("webg") },
    ]),
  ];
  it.each(opened)(
    "opened with %j gives the CPU's numbers, first choices and tokens of %s cases, and no kernel falls back with a warning",
    async (options, given, report) => {
      const { ran, warned } = await visit("/plain/page", given, [options]);
      expect(problemsOf(ran[0], cases[given])).toEqual([]);
      expect(ran[0].report).toMatchObject(report);
      expect(warned).toEqual([]);
    },
    250_000,
  );

  const forbidden = /^openGpu: mode \w+ does not work here, got .*Content Security Policy/s;
  it.each([
    ["an isolated worker", "/isolated/worker", {}],
    [
      "a worker whose policy lets nothing be compiled",
      "/strict/worker",
      { cpu: forbidden, webasm: forbidden },
    ],
  ] as [string, string, Partial<Record<Mode, RegExp>>][])(
    "every executor and mode runs in %s, or says why it does not",
    async (_, at, refused) => {
      const options = [{ executor: "webgpu" }, ...modes.map((mode) => ({ mode }))] as Partial<GpuOptions>[];
      const { ran, warned } = await visit(at, "few", options);
      expect(ran).toHaveLength(options.length);
      for (const one of ran) {
        const reason = refused[one.options.mode!];
        if (reason) expect(one.error).toMatch(reason);
        else expect(problemsOf(one, cases.few), JSON.stringify(one.options)).toEqual([]);
      }
      expect(warned).toEqual([]);
    },
    250_000,
  );
});
