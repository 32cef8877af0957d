/**
 * Prints the seconds from the start of this script until a library, named by the first argument, was imported and has
 * multiplied two 256x256 matrices. Plain JavaScript, so that no loader takes part; the second argument is our entry.
 */

const n = 256;
const a = Float32Array.from({ length: n * n }, (_, i) => (i % 7) - 3);
const b = Float32Array.from({ length: n * n }, (_, i) => (i % 5) - 2);

const first = {
  async bitgrad(entry) {
    const { scope, tensor } = await import(entry);
    return scope(() =>
      tensor(a, { shape: [n, n] })
        .matmul(tensor(b, { shape: [n, n] }))
        .data.slice(),
    );
  },
  async "tfjs-wasm"() {
    const { setThreadsCount } = await import("@tensorflow/tfjs-backend-wasm");
    const tf = await import("@tensorflow/tfjs-core");
    setThreadsCount(1);
    await tf.setBackend("wasm");
    return tf.matMul(tf.tensor2d(a, [n, n]), tf.tensor2d(b, [n, n])).dataSync();
  },
  async "jax-js"() {
    const { init, numpy: np } = await import("@jax-js/jax");
    await init("wasm");
    return np.matmul(np.array(a).reshape([n, n]), np.array(b).reshape([n, n])).dataSync();
  },
  async "ort-web"(model) {
    const { env, InferenceSession, Tensor } = await import("onnxruntime-web/wasm");
    env.wasm.numThreads = 1;
    return product(InferenceSession, Tensor, model);
  },
  async "ort-node"(model) {
    const { default: ort } = await import("onnxruntime-node");
    return product(ort.InferenceSession, ort.Tensor, model);
  },
};

async function product(Session, Tensor, model) {
  const session = await Session.create(new Uint8Array(Buffer.from(model, "base64")), {
    intraOpNumThreads: 1,
  });
  const out = await session.run({ a: new Tensor(a, [n, n]), b: new Tensor(b, [n, n]) });
  return out.out.data;
}

const [library, argument] = process.argv.slice(2);
const start = performance.now();
const result = await first[library](argument);
const seconds = (performance.now() - start) / 1e3;

for (let j = 0, sum = 0; j < n; j++, sum = 0) {
  for (let k = 0; k < n; k++) sum += a[k] * b[k * n + j];
  if (Math.abs(result[j] - sum) > 1e-3) throw new Error(`first: ${library} gives ${result[j]} for ${sum}`);
}
console.log(seconds);
process.exit();
