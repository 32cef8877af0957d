// What every consumer runs, as a user would write it: trains, saves, goes on, packs, loads and generates, and says which
// bits came out. It names the public entries alone, and is compiled, bundled or run as it stands.
import { backendInfo, gelu, manualSeed, Rng, setThreads, useBackend } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import { Gpt } from "bitgrad/models";
import { crossEntropy, evaluate, Linear, type Parameter, parameters, Sequential } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { loadPacked } from "bitgrad/packed";
import { binarySigns, freeze, int8Dynamic, pack, plan, prepare, type QuantConfig } from "bitgrad/quant";
// All of it under one name, as some write it.
import * as train from "bitgrad/train";

// What platforms differ in. `process` is how programs ask whether they run in Node, or in what behaves as it does.
const platform = globalThis as unknown as {
  process?: object;
  console: { log(text: string): void };
  fetch(path: string, request: { method: string; body: string }): Promise<unknown>;
};
const file = platform.process === undefined ? null : "run.safetensors";

/** The bits of numbers or bytes, folded into one number. */
function digest(data: ArrayLike<number> & ArrayBufferView): number {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

const weights = (model: object): number[] =>
  parameters(model).map((parameter: Parameter) => digest(parameter.value.data));

/** Six steps of a classifier; the last three again, from a checkpoint. */
async function training() {
  const digits = glyphs({ count: 1024, rng: new Rng("digits") });
  const run = async (steps: number, from: string | Uint8Array | null) => {
    manualSeed(1);
    const model = new Sequential(new Linear(144, 256), gelu, new Linear(256, 10));
    const data = loader(digits, { batch: 256, shuffle: true, rng: new Rng("order") });
    const parts = { model, optimizer: optimizer(model, adamw({ lr: 1e-2 }), { clipNorm: 1 }), loader: data };
    const begun = from === null ? 0 : (await train.loadCheckpoint(from, parts)).step;
    const { losses } = await train.fit(model, {
      data,
      loss: (net, { x, y }) => crossEntropy(net.forward(x), y),
      optimizer: parts.optimizer,
      steps: steps - begun,
    });
    return { model, parts, losses };
  };
  const whole = await run(6, null);
  const half = await run(3, null);
  const run3 = { ...half.parts, step: 3 };
  const saved = file ?? (await train.saveCheckpoint(null, run3));
  if (file !== null) await train.saveCheckpoint(file, run3);
  const resumed = await run(6, saved);
  return {
    losses: [...half.losses, ...resumed.losses],
    weights: weights(resumed.model),
    resumes: String(weights(resumed.model)) === String(weights(whole.model)),
  };
}

/** A step of a GPT through its quantizer, what is packed of it, and what the packed file says. */
async function packing(config: QuantConfig) {
  const gpt = new Gpt({ vocabulary: 64, context: 32, dim: 128, layers: 2, heads: 4, rng: new Rng(2) });
  prepare(gpt, plan({ default: config }));
  const { losses } = await train.fit(gpt, {
    data: [Array.from({ length: 17 }, (_, i) => (i * 7) % 64)],
    loss: (net, ids) => crossEntropy(net.forward([ids.slice(0, -1)]), [ids.slice(1)]),
    optimizer: optimizer(gpt, adamw({ lr: 1e-3 })),
    steps: 1,
  });
  const frozen = evaluate(freeze(gpt));
  const bytes = pack(frozen).toBytes();
  const packed = loadPacked(bytes);
  const { data } = packed.forward({ data: new Int32Array([1, 2, 3, 4]), shape: [1, 4] });
  const tokens = packed.generate([1, 2, 3], { maxTokens: 12, temperature: 0 });
  packed.dispose();
  return {
    losses,
    file: digest(bytes),
    logits: digest(data as Float32Array),
    equalsFrozen: digest(data as Float32Array) === digest(frozen.forward([[1, 2, 3, 4]]).data),
    tokens: Array.from(tokens),
  };
}

async function work() {
  useBackend("simd", { relaxed: false });
  await setThreads(2);
  const results = {
    training: await training(),
    int8: await packing(int8Dynamic()),
    signs: await packing(binarySigns()),
  };
  const { name, threads, reason } = backendInfo();
  return { results, backend: name, threads, reason };
}

// The threads are left as they are: they must not keep a process from ending.
work()
  .catch((error: unknown) => ({ error: String((error as Error).stack ?? error) }))
  .then((report) => {
    const text = JSON.stringify(report);
    if (platform.process === undefined) return platform.fetch("/report", { method: "POST", body: text });
    platform.console.log(text);
  });
