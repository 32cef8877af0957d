import { noGrad, Rng, scope, tensor, useBackend } from "bitgrad";
import { Bert, Llama, Transformer } from "bitgrad/models";
import { binarySigns, int8Dynamic, int8WeightOnly, type QuantConfig } from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { bits, twins } from "./twins.ts";

afterEach(() => useBackend("simd"));

const run = <T>(fn: () => T): T => noGrad(() => scope(fn));
const rows = [
  [0, 0, 5, 6, 7],
  [0, 0, 0, 0, 0],
];
const x = tensor(rows, { dtype: "int32" });
const ids = { data: rows.flat(), shape: [2, 5] };
/** False at the padding, which comes first and fills the second row. */
const mask = tensor(rows.map((row) => row.map((id) => id !== 0)));
const flags = { data: rows.flat().map((id) => Number(id !== 0)), shape: [2, 5] };
const sizes = { vocabulary: 12, dim: 16, layers: 2, heads: 4, feedForward: 24 };

const configs: [name: string, config: QuantConfig][] = [
  ["int8 weights", int8WeightOnly()],
  ["int8 × int8", int8Dynamic()],
  ["1 bit × 1 bit", binarySigns()],
];

describe.each(["simd", "reference"] as const)("on %s kernels, padding that may read nothing", (backend) => {
  it.each(configs)("leaves a packed Llama of %s finite, and the text as it is", async (_, config) => {
    useBackend(backend);
    const llama = new Llama({ ...sizes, context: 8, initStd: 0.3, rng: new Rng(1) });
    const { model, packed } = await twins(llama, config, x);
    const got = packed.forward(ids, { mask: flags });
    expect([...got.data].every(Number.isFinite)).toBe(true);
    if (config.input) expect(bits(got)).toEqual(bits(run(() => model.forward(x, { mask }))));
    const alone = packed.forward({ data: [5, 6, 7], shape: [1, 3] });
    const text = got.data.subarray(2 * 12, 5 * 12);
    // Scales of a position are of that position, and rotary positions are distances.
    expect(text.length).toBe(36);
    for (let i = 0; i < 36; i++) expect(text[i]).toBeCloseTo(alone.data[i], 3);
  });

  it("leaves packed encoders and decoders finite, as their models are", async () => {
    useBackend(backend);
    const rng = new Rng(2);
    const bert = await twins(new Bert({ ...sizes, context: 8, rng }), int8Dynamic(), x);
    const states = bert.packed.forward(ids, { mask: flags });
    expect([...states.data].every(Number.isFinite)).toBe(true);
    expect(bits(states)).toEqual(bits(run(() => bert.model.forward(x, { mask }))));
    const both = await twins(new Transformer({ ...sizes, rng }), int8Dynamic(), x);
    const logits = both.packed.forward(ids, { target: ids, sourceMask: flags });
    expect([...logits.data].every(Number.isFinite)).toBe(true);
    expect(bits(logits)).toEqual(bits(run(() => both.model.forward(x, x, { sourceMask: mask }))));
  });
});

it("refuses what is no flag in a mask of a packed model", async () => {
  const bert = new Bert({ ...sizes, context: 8, rng: new Rng(2) });
  const { packed } = await twins(bert, int8Dynamic(), x);
  for (const odd of [2, -10000, 0.5, Number.NaN])
    expect(() => packed.forward(ids, { mask: { data: flags.data.with(3, odd), shape: [2, 5] } })).toThrow(
      `PackedAttention: a mask must hold 0 and 1, got ${odd}`,
    );
});
