import { Rng, randn, scaledDotProductAttention, type Tensor, tensor, useBackend, zeros } from "bitgrad";
import { Bert, Gpt, Llama, Transformer } from "bitgrad/models";
import { MultiHeadAttention, namedParameters, TransformerDecoderLayer } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { afterEach, describe, expect, it } from "vitest";

afterEach(() => useBackend("simd"));

const draw = (shape: number[], seed: number, dtype: "float32" | "float64" = "float32") =>
  randn(shape, { rng: new Rng(seed), dtype });
const finite = (t: Tensor) => expect([...t.data].every(Number.isFinite)).toBe(true);

describe.each(["simd", "reference"] as const)("a query that may read nothing, %s kernels,", (backend) => {
  it.each(["float32", "float64"] as const)("gives 0 and has no part in any gradient, %s", (dtype) => {
    useBackend(backend);
    const inputs = () =>
      [1, 2, 3].map((seed) => {
        const t = draw([1, 2, 3, 4], seed, dtype);
        t.requiresGrad = true;
        return t;
      });
    const mask = tensor([
      [true, true, false],
      [false, false, false],
      [true, true, true],
    ]);
    const [q, k, v] = inputs();
    const out = scaledDotProductAttention(q, k, v, { mask });
    expect([...out.slice([null, null, 1]).data]).toEqual(Array(8).fill(0));
    // A float mask that asks for a gradient takes the composed way.
    const added = mask.where(0, Number.NEGATIVE_INFINITY).to(dtype);
    added.requiresGrad = true;
    const [q2, k2, v2] = inputs();
    const composed = scaledDotProductAttention(q2, k2, v2, { mask: added });
    expectClose(composed, out, { atol: 1e-5 });
    const weights = draw([1, 2, 3, 4], 9, dtype);
    out.mul(weights).sum().backward();
    composed.mul(weights).sum().backward();
    const seen = scaledDotProductAttention(q.detach().slice([null, null, [1, 2]]), k.detach(), v.detach(), {
      mask: [[false, false, false]],
    });
    expect([...seen.data]).toEqual(Array(8).fill(0));
    for (const [a, b] of [
      [q, q2],
      [k, k2],
      [v, v2],
    ]) {
      finite(a.grad!);
      expectClose(b.grad!, a.grad!, { atol: 1e-5 });
    }
    expect([...q.grad!.slice([null, null, 1]).data].every((g) => g === 0)).toBe(true);
  });

  it("gives 0 where causal order leaves more queries than keys, and where there is no key", () => {
    useBackend(backend);
    const out = scaledDotProductAttention(draw([40, 4], 1), draw([2, 4], 2), draw([2, 4], 3), {
      causal: true,
    });
    expect([...out.slice([[0, 38]]).data].every((x) => x === 0)).toBe(true);
    finite(out);
    expect(out.slice([38]).toArray()).toEqual(draw([2, 4], 3).slice([0]).toArray());
    const none = scaledDotProductAttention(draw([3, 4], 1), zeros([0, 4]), zeros([0, 4]));
    expect([...none.data]).toEqual(Array(12).fill(0));
  });

  it("still shows a NaN that it computes with", () => {
    useBackend(backend);
    const q = tensor([
      [Number.NaN, 1, 1, 1],
      [1, 1, 1, 1],
    ]);
    const out = scaledDotProductAttention(q, draw([2, 4], 2), draw([2, 4], 3), {
      mask: [
        [true, true],
        [false, false],
      ],
    });
    expect([...out.data].map(Number.isNaN)).toEqual([true, true, true, true, false, false, false, false]);
  });

  it("leaves the logits of the text after its padding as they are", () => {
    useBackend(backend);
    const sizes = { vocabulary: 11, context: 8, dim: 16, layers: 2, heads: 4, feedForward: 24 };
    const llama = new Llama({ ...sizes, rng: new Rng(1) });
    const mask = tensor([[false, false, true, true, true]]);
    const padded = llama.forward([[0, 0, 5, 6, 7]], { mask });
    finite(padded);
    expectClose(padded.slice([null, [2, 5]]), llama.forward([[5, 6, 7]]), { atol: 1e-5 });
    const inCaches = llama.newCache();
    llama.forward([[0, 0, 5]], { mask: mask.slice([null, [0, 3]]), cache: inCaches });
    expectClose(llama.forward([[6, 7]], { mask, cache: inCaches }), padded.slice([null, [3, 5]]), {
      atol: 1e-5,
    });
  });

  it("spreads through no model and no gradient of one", () => {
    useBackend(backend);
    const sizes = { vocabulary: 11, context: 8, dim: 16, layers: 2, heads: 4, feedForward: 24 };
    const rng = new Rng(1);
    const gpt = new Gpt({ ...sizes, rng });
    const { context: _, ...unbounded } = sizes;
    const transformer = new Transformer({ ...unbounded, rng });
    const mask = tensor([
      [false, false, false],
      [false, true, true],
    ]);
    const ids = [
      [0, 0, 1],
      [0, 2, 3],
    ];
    for (const dropout of [0, 0.5]) {
      const models: [object, () => Tensor][] = [
        [gpt, () => gpt.forward(ids, { mask })],
        [transformer, () => transformer.forward(ids, ids, { sourceMask: mask })],
        [transformer, () => transformer.decode(ids, draw([2, 3, 16], 3), { mask, memoryMask: mask })],
      ];
      for (const [model, run] of models) {
        for (const block of [...gpt.blocks, ...transformer.encoder, ...transformer.decoder])
          Object.assign(block.attention, { dropout });
        const logits = run();
        finite(logits);
        logits.square().mean().backward();
        for (const [, parameter] of namedParameters(model)) if (parameter.grad) finite(parameter.grad);
      }
    }
  });

  it("has probabilities of 0, beside head masks too", () => {
    useBackend(backend);
    const layer = new MultiHeadAttention(8, 2, { rng: new Rng(1) });
    const mask = tensor([
      [false, false],
      [true, false],
    ]);
    const capture = { scores: [] as Tensor[], probabilities: [] as Tensor[] };
    const x = draw([1, 2, 8], 2);
    const shown = layer.forward(x, { mask, capture });
    expect(capture.probabilities[0].slice([0, 0]).toArray()).toEqual([
      [0, 0],
      [1, 0],
    ]);
    expect(capture.scores[0].slice([0, 0, 0]).toArray()).toEqual([-Infinity, -Infinity]);
    expectClose(shown, layer.forward(x, { mask }), { atol: 1e-5 });
    expectClose(layer.forward(x, { mask, headMask: [1, 1] }), shown, { atol: 1e-5 });
    const decoder = new TransformerDecoderLayer(8, 2, 8, { rng: new Rng(2) });
    finite(
      decoder.forward(x, draw([1, 3, 8], 3), { mask: [[false, false]], memoryMask: [[false, false, false]] }),
    );
  });
});

describe("a mask", () => {
  const rows = [
    [1, 1, 1, 0, 0],
    [1, 0, 1, 1, 1],
  ];
  const flags = tensor(rows.map((row) => row.map((x) => x === 1)));
  const integers = (["int32", "uint32", "int8", "uint8"] as const).map((dtype) => tensor(rows, { dtype }));
  const x = draw([2, 5, 8], 1);
  const layer = new MultiHeadAttention(8, 2, { rng: new Rng(1) });
  const own = (mask: Tensor) => mask.reshape([2, 1, 1, 5]);
  const sizes = { vocabulary: 11, dim: 8, layers: 1, heads: 2, feedForward: 12 };
  const ids = [
    [1, 2, 3, 4, 5],
    [5, 4, 3, 2, 1],
  ];
  const bert = new Bert({ ...sizes, context: 8, rng: new Rng(2) });
  const llama = new Llama({ ...sizes, context: 8, rng: new Rng(3) });
  const transformer = new Transformer({ ...sizes, rng: new Rng(4) });
  const decoder = new TransformerDecoderLayer(8, 2, 8, { rng: new Rng(5) });
  const readers: [name: string, read: (mask: Tensor) => Tensor][] = [
    ["scaledDotProductAttention", (m) => scaledDotProductAttention(x, x, x, { mask: m.unsqueeze(1) })],
    ["a layer", (mask) => layer.forward(x, { mask: own(mask) })],
    ["a layer that shows its insides", (m) => layer.forward(x, { mask: own(m), capture: { scores: [] } })],
    ["a decoder's layer", (m) => decoder.forward(x, x, { mask: own(m), memoryMask: own(m) })],
    ["Bert", (mask) => bert.forward(ids, { mask })],
    ["Llama", (mask) => llama.forward(ids, { mask })],
    ["Transformer", (sourceMask) => transformer.forward(ids, ids, { sourceMask })],
  ];

  it.each(readers)("of integers 0 and 1 counts as bool in %s", (_, read) => {
    const want = read(flags).toArray();
    for (const mask of integers) expect(read(mask).toArray()).toEqual(want);
    expect(read(flags.to("float32")).toArray()).not.toEqual(want);
    expect(read(flags.where(0, Number.NEGATIVE_INFINITY)).toArray()).toEqual(want);
  });

  it.each(readers)("of other integers is refused by %s", (_, read) => {
    const added = tensor(rows, { dtype: "int32" }).sub(1).mul(10000).to("int32");
    expect(() => read(added)).toThrow(
      /: a mask of integers must hold 0 and 1, got -10000; give bool, or floats to add to the scores$/,
    );
  });

  it("of plain numbers 0 and 1 may mean either, and is refused", () => {
    const refusal =
      /: a mask of plain numbers 0 and 1 may be flags or terms, got \(2, 5\); give true and false, or a tensor/;
    expect(() => bert.forward(ids, { mask: rows })).toThrow(refusal);
    expect(() => layer.forward(x, { mask: rows, capture: { scores: [] } })).toThrow(refusal);
    expect(() => scaledDotProductAttention(x, x, x, { mask: rows })).toThrow(refusal);
    const terms = [0, 0.5, -1, 0, 2];
    expect(layer.forward(x, { mask: terms }).toArray()).toEqual(
      layer.forward(x, { mask: tensor(terms) }).toArray(),
    );
    expect(layer.forward(x, { mask: Uint8Array.of(1, 1, 0, 1, 1) }).toArray()).toEqual(
      layer.forward(x, { mask: [true, true, false, true, true] }).toArray(),
    );
  });

  it("that does not fit is refused, whether insides are shown or not", () => {
    for (const capture of [null, { scores: [] }]) {
      for (const shape of [
        [3, 1, 1, 5],
        [2, 1, 1, 4],
        [2, 2, 2, 5, 5],
      ])
        expect(() => layer.forward(x, { mask: zeros(shape), capture })).toThrow(
          "the mask must broadcast to (B, H, Tq, Tk)",
        );
      expect(() => layer.forward(x.slice([[0, 1]]), { mask: zeros([2, 1, 1, 5]), capture })).toThrow(
        "the mask must broadcast",
      );
    }
  });
});
