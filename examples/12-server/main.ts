/**
 * A server of text: a packed GPT behind node:http writes to 50 clients at once, token by token.
 *
 * You learn: what to do before the first request (`warmUp`), how streams of one thread take turns, what a server has to
 * bound, and that every client gets the tokens that the model makes for it alone. The program is its own 50 clients.
 * Time: 8 seconds. Data: none.
 *
 *   npx tsx examples/12-server/main.ts
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate } from "node:timers/promises";
import { BitgradError, Rng } from "bitgrad";
import { byteTokenizer } from "bitgrad/data";
import { Gpt } from "bitgrad/models";
import { loadPacked } from "bitgrad/packed";
import { freeze, int8Dynamic, pack, plan, prepare } from "bitgrad/quant";

const quick = process.argv.includes("--quick");
const [clients, maxTokens] = [50, quick ? 80 : 100];

// An untrained model: its text is noise, made as fast as that of a trained one. A server would read a file:
// loadPacked(readFileSync("model.safetensors")); `npm start` writes such files to runs/compress-gpt.
const [dim, layers] = quick ? [64, 2] : [128, 4];
const gpt = new Gpt({ vocabulary: 256, context: 256, dim, layers, heads: 4, initStd: 0.1, rng: new Rng(1) });
const model = loadPacked(pack(freeze(prepare(gpt, plan({ default: int8Dynamic() })))).toBytes());
const tokenizer = byteTokenizer();
// Compiles kernels and lays weights out now, so that no request waits for that.
model.warmUp();

/** What one client may ask for, and how many may ask at once: a stream holds a cache of keys and values. */
const most = { body: 16_384, tokens: 256, streams: 64 };
let [streams, peak] = [0, 0];

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const refuse = (status: number, why: string) => void response.writeHead(status).end(why);
  if (request.method !== "POST" || request.url !== "/generate") return refuse(404, "POST /generate");
  if (streams >= most.streams) return refuse(503, "busy");
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  peak = Math.max(peak, ++streams);
  try {
    let body = "";
    for await (const part of request.setEncoding("utf8")) {
      body += part;
      if (body.length > most.body) return refuse(413, "too long");
    }
    const { prompt, length, seed } = Object(JSON.parse(body));
    // Throws before the first token where a number or the prompt is none that the model takes.
    const tokens = model.stream(tokenizer.encode(prompt), {
      maxTokens: Math.min(length, most.tokens),
      temperature: 0.8,
      rng: new Rng(seed), // a generator for each stream: no client shifts the draws of another
    });
    const decoder = tokenizer.decoder();
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    for (const id of tokens) {
      // Leaving the loop ends the generator, and with it the cache.
      if (gone.signal.aborted) return;
      const more = response.write(`${JSON.stringify({ id, text: decoder.push(id) })}\n`);
      // A slow client is waited for; its tokens do not pile up here.
      if (!more) await once(response, "drain", { signal: gone.signal });
      // One token, then the others' turn, and that of new requests.
      await setImmediate();
    }
    response.end();
  } finally {
    streams--;
  }
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => {
    if (response.destroyed) return; // the client has left
    const theirs = error instanceof BitgradError || error instanceof SyntaxError;
    if (!theirs) console.error(error); // told to us, not to the client
    if (!response.headersSent) response.writeHead(theirs ? 400 : 500);
    response.end(theirs ? error.message : "failed");
  });
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/generate`;
const post = (body: unknown) =>
  fetch(url, { method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(120_000) });

/** One client: the ids that it was sent, and after how many milliseconds the first came. */
async function ask(seed: number) {
  const from = performance.now();
  const response = await post({ prompt: `Client ${seed} says: `, length: maxTokens, seed });
  assert.equal(response.status, 200);
  const wait = performance.now() - from; // the head of the answer is sent with the first token
  const lines = (await response.text()).trimEnd().split("\n");
  return { seed, wait, ids: lines.map((line): number => JSON.parse(line).id) };
}
const began = performance.now();
const answers = await Promise.all(Array.from({ length: clients }, (_, seed) => ask(seed)));
const seconds = (performance.now() - began) / 1000;
const refused = await post({ prompt: "", length: 5, seed: 1 });
server.close();

const longest = Math.max(...answers.map(({ wait }) => wait));
console.log(`the last client had its first token after ${longest.toFixed()} ms`);
// Each stream is what the model makes of that prompt alone.
for (const { seed, ids } of answers) {
  const prompt = tokenizer.encode(`Client ${seed} says: `);
  assert.deepEqual(ids, model.generate(prompt, { maxTokens, temperature: 0.8, rng: new Rng(seed) }));
}
assert.equal(refused.status, 400);
assert.equal(streams, 0, "every stream must have ended");
assert.equal(peak, clients, "all clients must have been served at once");
const speed = Math.round((clients * maxTokens) / seconds);
console.log(`shown: ${clients} streams at once, each as if it were alone; ${speed} tokens/s`);
