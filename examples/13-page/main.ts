/**
 * A page that runs a packed model in a worker, under a strict policy: trains a network for digits, packs it to 1 bit a
 * weight, bundles page and worker, serves them, and looks at what the page answers.
 *
 * You learn: what a page needs (two scripts and one file), what the content security policy must allow, how numbers cross to
 * a worker. Beside this file lie index.html, page.ts and worker.ts. Without Chromium the address is printed: open it.
 * Time: 8 seconds. Data: none.
 *
 *   npx tsx examples/13-page/main.ts          (needs esbuild; any bundler does)
 */

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { relu, Rng } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import { crossEntropy, Linear, Sequential } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import { binaryWeightOnly, freeze, pack, plan, prepare } from "bitgrad/quant";
import { fit } from "bitgrad/train";
import { build } from "esbuild";
import type { Report } from "./page.ts";

const quick = process.argv.includes("--quick");

// 1. The model: trained through the rounding to 1 bit, as "Quantize and ship" of the guides does it.
const rng = new Rng("weights");
const net = new Sequential(new Linear(144, 64, { rng }), relu, new Linear(64, 10, { rng }));
prepare(net, plan({ default: binaryWeightOnly() }));
await fit(net, {
  data: loader(glyphs({ count: 4000, rng: new Rng("train") }), {
    batch: 50,
    shuffle: true,
    rng: new Rng("order"),
  }),
  loss: (model, { x, y }) => crossEntropy(model.forward(x), y),
  optimizer: optimizer(net, adamw({ lr: 1e-2 })),
  epochs: quick ? 3 : 6,
});
const packed = pack(freeze(net));
const test = glyphs({ count: 500, rng: new Rng("test") });

// 2. The scripts. A package's bundle takes the library's browser half by itself; this repository has sources in its place,
//    so a line tells esbuild. Nothing else is needed: kernels are text in the scripts.
const half = ({ path }: { path: string }) => ({
  contents: `export * from "${path.replace(/\.node\.ts$/, ".browser.ts")}";`,
  resolveDir: dirname(path),
});
const { outputFiles } = await build({
  entryPoints: ["page.ts", "worker.ts"].map((name) => join(import.meta.dirname, name)),
  outdir: "/",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  write: false,
  plugins: [{ name: "browser-halves", setup: ({ onLoad }) => onLoad({ filter: /\.node\.ts$/ }, half) }],
});
const [page, worker] = outputFiles.map(({ contents }) => contents);
console.log(`page.js ${page.length} bytes, worker.js ${worker.length}, model ${packed.toBytes().length}`);

// 3. The server. A worker's script has a policy of its own, so every answer carries it. 'wasm-unsafe-eval' lets kernels be
//    compiled from bytes; without it plain loops run. 'unsafe-eval' is never needed, and nothing comes from elsewhere.
const policy =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";
const files: Record<string, [type: string, body: string | Uint8Array]> = {
  "/": ["text/html", readFileSync(join(import.meta.dirname, "index.html"))],
  "/page.js": ["text/javascript", page],
  "/worker.js": ["text/javascript", worker],
  "/digits.safetensors": ["application/octet-stream", packed.toBytes()],
  "/pictures": ["application/octet-stream", new Uint8Array(test.x.data.slice().buffer)],
};
const server = createServer(async (request, response) => {
  const [type, body] = files[request.url!] ?? ["text/plain", ""];
  let posted = "";
  for await (const part of request) posted += part;
  response.writeHead(200, { "Content-Type": type, "Content-Security-Policy": policy }).end(body);
  if (request.url === "/report") server.emit("report", JSON.parse(posted));
});
server.listen(0, "127.0.0.1");
await once(server, "listening");
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

// 4. The reader: Chromium without a window, or you.
const names = [process.env.BITGRAD_CHROMIUM ?? "chromium", "chromium-browser", "google-chrome"];
const chromium = names.find((name) => spawnSync(name, ["--version"]).status === 0);
const profile = mkdtempSync(join(tmpdir(), "page-"));
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", `--user-data-dir=${profile}`];
const browser = chromium ? spawn(chromium, [...flags, url], { stdio: "ignore", timeout: 100_000 }) : null;
if (!browser) console.log(`open ${url}`);
const lost = () => server.emit("error", new Error("the browser ended without an answer"));
browser?.once("exit", lost);
const [{ classes, compiles, shown, trouble }]: Report[] = await once(server, "report"); // rejects by "error"
browser?.off("exit", lost).kill("SIGKILL"); // asked politely, it may take its time
if (browser) await once(browser, "exit");
server.close().closeAllConnections();
// Its processes may write for a moment longer; what they leave lies in the system's folder for such files.
await rm(profile, { recursive: true, force: true, maxRetries: 9, retryDelay: 200 }).catch(() => {});
console.log(shown);

// The page saw what the packed model answers here.
const { data } = packed.forward({ data: test.x.data, shape: [500, 144] });
const here = Array.from({ length: 500 }, (_, i) => data.subarray(10 * i, 10 * i + 10));
const right = classes.filter((c, i) => c === test.y.data[i]).length;
assert.deepEqual(trouble, []);
assert(compiles, "the policy must let kernels be compiled");
assert.deepEqual(
  classes,
  here.map((row) => row.indexOf(Math.max(...row))),
);
assert(right > 350, `${right} of 500 are right`);
console.log(
  `shown: a page under a strict policy answered as the model does here, ${right} of 500 digits right`,
);
