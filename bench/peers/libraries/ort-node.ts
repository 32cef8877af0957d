import { env, InferenceSession, Tensor } from "onnxruntime-node";
import type { Library } from "../library.ts";
import { library } from "./ort.ts";

export function load(): Library {
  env.logLevel = "error";
  return library({
    name: "ort-node",
    native: true,
    create: (model, options) => InferenceSession.create(model, options),
    tensor: (data, shape) => new Tensor(data, shape),
  });
}
