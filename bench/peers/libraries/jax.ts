/** jax-js on WebAssembly: jit-compiled functions. Its arrays are counted: an argument is used up unless passed as `.ref`. */

import { init, jit, lax, nn, numpy as np, vjp } from "@jax-js/jax";
import type { Side } from "../../pair.ts";
import type { Block, Library } from "../library.ts";
import { gptStep, mlpStep } from "./jax-models.ts";

const name = "jax-js";

const array = ({ data, shape }: Block): np.Array => np.array(data).reshape([...shape]);

/** Calls a compiled function on operands that stay, and waits for what it makes. */
function compiled(make: (...operands: np.Array[]) => np.Array[], operands: readonly Block[]): Side {
  const inputs = operands.map(array);
  const step = jit(make);
  let last: np.Array[] = [];
  return {
    name,
    async run() {
      for (const each of last) each.dispose();
      last = step(...inputs.map((input) => input.ref));
      for (const each of last) await each.blockUntilReady();
    },
    result: () => Float32Array.from(last.flatMap((each) => [...(each.ref.dataSync() as Float32Array)])),
  };
}

const conv = (x: np.Array, w: np.Array): np.Array =>
  lax.convGeneralDilated(
    x,
    w,
    [1, 1],
    [
      [1, 1],
      [1, 1],
    ],
  );

export async function load(): Promise<Library> {
  await init("wasm");
  return {
    name,
    sides: {
      matmul: ({ a, b, transposeB }) =>
        compiled((x, y) => [np.matmul(x, transposeB ? np.swapaxes(y, -1, -2) : y)], [a, b]),
      softmax: ({ x }) => compiled((x) => [nn.softmax(x)], [x]),
      layerNorm: ({ x, weight, bias, eps }) =>
        compiled((x, w, b) => [nn.standardize(x, -1, { epsilon: eps }).mul(w).add(b)], [x, weight, bias]),
      gelu: ({ x }) => compiled((x) => [nn.gelu(x, { approximate: false })], [x]),
      add: ({ a, b }) => compiled((x, y) => [x.add(y)], [a, b]),
      mul: ({ a, b }) => compiled((x, y) => [x.mul(y)], [a, b]),
      sum: ({ x }) => compiled((x) => [x.sum()], [x]),
      sumRows: ({ x }) => compiled((x) => [x.sum(1)], [x]),
      conv2d: ({ x, w }) => compiled((x, w) => [conv(x, w)], [x, w]),
      conv2dTrain: ({ x, w, grad }) =>
        compiled(
          (x, w, grad) => {
            const [value, pullback] = vjp(conv, [x, w]);
            return [value, ...pullback(grad)];
          },
          [x, w, grad],
        ),
      mlpStep,
      gptStep,
    },
  };
}
