/** The same Gpt in onnxruntime-web, float32, whose keys and values stay on the GPU. */

import { Tensor } from "onnxruntime-web/webgpu";
import { stepping } from "../libraries/ort-decode.ts";
import type { GptProblem } from "../library.ts";
import type { Decoder } from "./measure.ts";
import { create } from "./ort.ts";

export async function decoder(problem: GptProblem): Promise<Decoder> {
  const { read, clear, close } = await stepping(
    problem,
    (model, caches) =>
      create(model, {
        preferredOutputLocation: {
          logits: "cpu",
          ...Object.fromEntries(caches.map((name) => [name, "gpu-buffer" as const])),
        },
      }),
    (data, shape) => new Tensor(data, shape),
  );
  return {
    name: "ort-web",
    async *stream(prompt, count) {
      let next = 0;
      for (const id of prompt) next = await read(id);
      for (let made = 0; made < count; made++) {
        yield next;
        if (made + 1 < count) next = await read(next);
      }
      clear();
    },
    close,
  };
}
