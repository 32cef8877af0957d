import { noGrad, Rng, scope, type Tensor, tensor, useBackend } from "bitgrad";
import { Bert, Gpt, type Transformer } from "bitgrad/models";
import {
  Embedding,
  Linear,
  MultiHeadAttention,
  Sequential,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
} from "bitgrad/nn";
import { type PackedLanguage, PackedModel, type PackedSeq2Seq } from "bitgrad/packed";
import {
  binarySigns,
  int4Dynamic,
  int8Dynamic,
  int8WeightOnly,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import { afterEach, describe, expect, it } from "vitest";
import { bert, ids, int, text, transformer } from "./texts.ts";
import { bits, random, twins, values } from "./twins.ts";

const configs: [name: string, config: QuantConfig][] = [
  ["int8 × int8", int8Dynamic()],
  ["int4 in groups × int8", int4Dynamic({ group: 16 })],
  ["ternary × int8", ternaryDynamic()],
  ["1 bit × 1 bit", binarySigns()],
];

const run = <T>(fn: () => T): T => noGrad(() => scope(fn));
/** (b, t) with the first row whole and the others cut. */
const cut = (b: number, t: number) => {
  const rows = Array.from({ length: b }, (_, i) =>
    Array.from({ length: t }, (_, j) => i === 0 || j < t - 2 * i),
  );
  const data = rows.flat().map(Number);
  return { float: tensor(rows), packed: { data, shape: [b, t] } };
};

afterEach(() => useBackend("simd"));

describe.each(["simd", "reference"] as const)(
  "on %s kernels the packed twin is bitwise the frozen one",
  (backend) => {
    describe.each(configs)("%s", (_, config) => {
      it.each(["none", "maskedLm", "classifier"] as const)(
        "a Bert, head %s, with masks and segments",
        async (head) => {
          useBackend(backend);
          const x = text(3, 12);
          const { model, packed } = await twins(bert(head), config, x);
          const mask = cut(3, 12);
          const segments = int(
            Array.from({ length: 3 }, (_, i) => Array.from({ length: 12 }, (_, j) => (i + j) % 3)),
          );
          const want = run(() => model.forward(x, { mask: mask.float, segments }));
          const got = packed.forward(ids(x), { mask: mask.packed, segments: ids(segments) });
          expect(got.shape).toEqual(want.shape);
          expect(bits(got)).toEqual(bits(want));
          expect(bits(packed.forward(ids(x)))).toEqual(bits(run(() => model.forward(x))));
          expect(bits(packed.forward(ids(x)))).not.toEqual(bits(want));
        },
      );

      it("a Transformer, with a mask of the source", async () => {
        useBackend(backend);
        const [source, target] = [text(2, 9), text(2, 7, 5)];
        const { model, packed } = await twins(transformer(), config, source);
        const mask = cut(2, 9);
        const want = run(() => model.forward(source, target, { sourceMask: mask.float }));
        const got = packed.forward(ids(source), { target: ids(target), sourceMask: mask.packed });
        expect(got.shape).toEqual([2, 7, 30]);
        expect(bits(got)).toEqual(bits(want));
        const open = packed.forward(ids(source), { target: ids(target) });
        expect(bits(open)).toEqual(bits(run(() => model.forward(source, target))));
        expect(bits(open)).not.toEqual(bits(got));
      });

      it("a Gpt whose last positions are padding", async () => {
        useBackend(backend);
        const x = text(2, 7);
        const gpt = new Gpt({
          vocabulary: 30,
          context: 8,
          dim: 32,
          layers: 2,
          heads: 4,
          initStd: 0.2,
          rng: new Rng(2),
        });
        const { model, packed } = await twins(gpt, config, x);
        const mask = cut(2, 7);
        const want = run(() => model.forward(x, { mask: mask.float }));
        expect(bits(packed.forward(ids(x), { mask: mask.packed }))).toEqual(bits(want));
        expect(bits(packed.forward(ids(x)))).not.toEqual(bits(want));
      });

      it("layers by themselves, with what they can be told", async () => {
        useBackend(backend);
        const [x, memory] = [random([2, 6, 32]), random([2, 9, 32], 9)];
        const [mask, memoryMask] = [cut(2, 6), cut(2, 9)];
        const own = (m: { float: Tensor }) => m.float.reshape([2, 1, 1, -1]);
        const keys = ({ packed: { data, shape } }: ReturnType<typeof cut>) => ({
          data,
          shape: [2, 1, 1, shape[1]],
        });
        const layer = <M extends object>(model: M) => twins(model, config, x);
        const attention = await layer(new MultiHeadAttention(32, 4, { rng: new Rng(1) }));
        expect(
          bits(attention.packed.forward(values(x), { context: values(memory), mask: keys(memoryMask) })),
        ).toEqual(bits(run(() => attention.model.forward(x, { context: memory, mask: own(memoryMask) }))));
        expect(bits(attention.packed.forward(values(x), { causal: true }))).toEqual(
          bits(run(() => attention.model.forward(x, { causal: true }))),
        );
        const encoder = await layer(new TransformerEncoderLayer(32, 4, 48, { rng: new Rng(2) }));
        expect(bits(encoder.packed.forward(values(x), { mask: keys(mask) }))).toEqual(
          bits(run(() => encoder.model.forward(x, { mask: own(mask) }))),
        );
        const decoder = await layer(new TransformerDecoderLayer(32, 4, 48, { norm: "pre", rng: new Rng(3) }));
        const told = { mask: keys(mask), memory: values(memory), memoryMask: keys(memoryMask) };
        const wanted = { mask: own(mask), memoryMask: own(memoryMask) };
        for (const causal of [true, false])
          expect(bits(decoder.packed.forward(values(x), { ...told, causal }))).toEqual(
            bits(run(() => decoder.model.forward(x, memory, { ...wanted, causal }))),
          );
        expect(bits(decoder.packed.forward(values(x), told))).toEqual(
          bits(run(() => decoder.model.forward(x, memory, wanted))),
        );
        // Two axes are queries and keys to an unpacked layer: no mask of both may stand for something else here.
        expect(() => encoder.packed.forward(values(x), { mask: mask.packed })).toThrow(
          /a mask must be \(2, 1, 1, 6\), got \(2, 6\)/,
        );
        const table = await layer(
          new Sequential(new Embedding(30, 32, { rng: new Rng(1) }), new Linear(32, 3)),
        );
        const words = text(2, 5);
        expect(bits(table.packed.forward(ids(words)))).toEqual(bits(run(() => table.model.forward(words))));
      });
    });
  },
);

/** What the frozen model gives when it takes the likeliest token every time. */
function greedy(
  model: Transformer,
  source: Tensor,
  sourceMask: Tensor | null,
  start: number,
  count: number,
): number[] {
  return run(() => {
    const memory = model.encode(source, { mask: sourceMask });
    const cache = model.newCache();
    const made: number[] = [];
    for (let id = start; made.length < count; made.push(id)) {
      const logits = model.decode(int([[id]]), memory, { memoryMask: sourceMask, cache });
      id = logits.argmax({ axis: -1 }).item();
    }
    return made;
  });
}

it("a packed Transformer generates the target that the frozen one does, with caches of both attentions", async () => {
  for (const backend of ["simd", "reference"] as const) {
    useBackend(backend);
    for (const positions of [true, false]) {
      const source = text(1, 9);
      const { model, packed } = await twins(transformer(positions), int8Dynamic(), source);
      const mask = tensor([[true, true, true, true, true, true, false, true, false]]);
      const sourceMask = { data: mask.data, shape: [1, 9] };
      const options = { maxTokens: 12, temperature: 0, source: ids(source) };
      const want = greedy(model, source, null, 2, 12);
      expect(packed.generate([2], options)).toEqual(want);
      expect([...packed.stream([2], options)]).toEqual(want);
      const masked = greedy(model, source, mask, 2, 12);
      expect(packed.generate([2], { ...options, sourceMask })).toEqual(masked);
      expect(new Set(want).size).toBeGreaterThan(2);
      expect(masked).not.toEqual(want);
    }
  }
});

it("decoding step by step is bitwise that of the frozen model, and reads the source's keys once", async () => {
  const source = text(1, 9);
  const { model, fresh } = await twins(transformer(), int8Dynamic(), source);
  const { encoder, decoder } = fresh.root as PackedSeq2Seq;
  const memory = run(() => model.encode(source).data.slice());
  const encoded = encoder.forward(ids(source));
  expect(bits(encoded)).toEqual(bits({ data: memory }));
  const [own, cache] = [model.newCache(), decoder.newCache()];
  for (const step of [[2, 5], [7], [1, 1, 4], [9]]) {
    const want = run(() => model.decode(int([step]), tensor(memory, { shape: [1, 9, 32] }), { cache: own }));
    const got = decoder.forward({ data: step, shape: [1, step.length] }, { memory: encoded, cache });
    expect(bits(got)).toEqual(bits(want));
  }
  expect(cache.map(({ length, context }) => [length, context?.length])).toEqual([
    [7, 9],
    [7, 9],
  ]);
  for (const each of cache) each.clear();
  expect(cache.map(({ length, context }) => [length, context?.length])).toEqual([
    [0, 0],
    [0, 0],
  ]);
});

it("a Bert without a head gives hidden states, and pools them", async () => {
  const x = text(2, 8);
  const { model, fresh } = await twins(bert("none", 64), int8Dynamic(), x);
  const root = fresh.root as PackedLanguage;
  const want = run(() => model.pool(model.encode(x)).data.slice());
  expect(bits(root.pool(root.encode(ids(x))))).toEqual(bits({ data: want }));
});

it("weights alone that are quantized give logits near those of the frozen model", async () => {
  const x = text(2, 8);
  for (const make of [() => bert("classifier"), transformer]) {
    const { model, packed } = await twins(make() as Bert, int8WeightOnly(), x);
    const [want, got] =
      model instanceof Bert
        ? [run(() => model.forward(x)), packed.forward(ids(x))]
        : [run(() => (model as Transformer).forward(x, x)), packed.forward(ids(x), { target: ids(x) })];
    const wanted = Array.from(want.data);
    const most = Math.max(...wanted.map(Math.abs));
    got.data.forEach((v, i) => {
      expect(Math.abs(v - wanted[i])).toBeLessThanOrEqual(1e-4 * most);
    });
  }
});

it("models that share a table store it once, and files come back the same", async () => {
  const { fresh } = await twins(transformer(), int8Dynamic(), text(1, 2));
  const back = new PackedModel(fresh.root);
  const { encoder, decoder } = back.root as PackedSeq2Seq;
  expect(encoder.token.weight).toBe(decoder.token.weight);
  const { loadPacked } = await import("bitgrad/packed");
  expect(loadPacked(fresh.toBytes()).toBytes()).toEqual(fresh.toBytes());
});
