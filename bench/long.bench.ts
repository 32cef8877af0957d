/**
 * Decoding of a Gpt of 0.8 M parameters far into its context, one token at a time with a cache: `npm run bench -- long
 * [--write]`. A token must read the weights, and the keys and values so far, once; how fast it does, beside the sum over an
 * array larger than the processor's caches in the same rounds, is the ratio.
 */

import { loadavg } from "node:os";
import { noGrad, ones, Rng, scope } from "../src/index.ts";
import { Gpt } from "../src/models/index.ts";
import { clone, evaluate } from "../src/nn/index.ts";
import { freeze, int8Dynamic, pack, plan, prepare } from "../src/quant/index.ts";
import { showRatio, summarize, writeResults } from "./pair.ts";
import { type ComparedRow, writePage } from "./table.ts";

const config = { vocabulary: 96, context: 2048, dim: 128, layers: 4, heads: 4, activation: "gelu" } as const;
const gpt = evaluate(new Gpt({ ...config, rng: new Rng("gpt") }));
const packed = pack(gpt);
const int8 = pack(evaluate(freeze(prepare(clone(gpt), plan({ default: int8Dynamic() })))));
const { dim, layers, vocabulary } = config;
const weights = layers * 12 * dim ** 2 + vocabulary * dim;
const models = [
  ["float32", gpt, 4],
  ["packed float32", packed, 4],
  ["packed int8 x int8", int8, 1],
] as const;

const streamed = 2 ** 28;
const tokens = 16;
const rounds = 9;
const rng = new Rng("text");
const seconds = (run: () => void): number => {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1e3;
};

const results: ComparedRow[] = [];
scope(() => {
  const array = ones([streamed / 4]);
  const sum = () => noGrad(() => scope(() => void array.sum()));
  sum();
  for (const [name, model, bytes] of models) {
    // The compiler has had its turn.
    model.generate([1], { maxTokens: 1000, temperature: 0 });
    for (const position of [128, 512, 1024, 2000]) {
      const before = loadavg()[0];
      const needed = weights * bytes + layers * 2 * position * dim * 4;
      const prompt = Array.from({ length: position }, () => Math.floor(rng.next() * vocabulary));
      const times: [number, number][] = [];
      for (let i = 0; i < rounds + 2; i++) {
        const text = model.stream(prompt, { maxTokens: tokens + 1, temperature: 0 });
        text.next();
        const token = seconds(() => {
          for (let j = 0; j < tokens; j++) text.next();
        });
        text.return();
        const read = seconds(sum) * (needed / streamed);
        if (i >= 2) times.push([read, token / tokens]);
      }
      const result = { ...summarize(times), load: [before, loadavg()[0]] as const };
      const { ratio, interval, a, b, load } = result;
      const rate = (time: number) => `${(needed / time / 1e9).toFixed(1)} GB/s`;
      console.log(
        `${name}, ${position} positions`.padEnd(36),
        `${(b * 1e3).toFixed(2)} ms, ${rate(b)} of ${rate(a)}`,
        showRatio(result),
      );
      results.push({
        ...{ name: `decode, ${name}, ${position} positions`, unit: "ms", work: 1, load },
        ...{ required: 0.5, reach: 0.8 },
        peers: [{ peer: "the bytes it must read", native: false, ratio, interval, a, b }],
      });
    }
  }
});
if (process.argv.includes("--write")) {
  writeResults("long", results);
  writePage();
}
