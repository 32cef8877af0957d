import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { draw, type Library } from "../library.ts";
import { modelBytes, single } from "../onnx.ts";
import { library } from "./ort.ts";

export async function load(): Promise<Library> {
  env.wasm.numThreads = 1;
  env.logLevel = "error";
  // Starting defines a global Worker, which makes jax-js expect a browser.
  const started = "Worker" in globalThis;
  await InferenceSession.create(modelBytes(single("Neg", [draw([1], "x")], [1])));
  if (!started) Reflect.deleteProperty(globalThis, "Worker");
  return library({
    name: "ort-web",
    create: (model, options) => InferenceSession.create(model, options),
    tensor: (data, shape) => new Tensor(data, shape),
  });
}
