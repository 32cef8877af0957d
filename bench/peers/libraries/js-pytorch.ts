/** js-pytorch: nested arrays of doubles and plain loops. */

import { torch } from "js-pytorch";
import type { Side } from "../../pair.ts";
import type { Block, Library } from "../library.ts";

const name = "js-pytorch";

type Nested = number | Nested[];

function nested({ shape, data }: Block): Nested {
  let values: Nested[] = [...data];
  for (const size of shape.slice(1).reverse())
    values = Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
  return values;
}

type Tensor = ReturnType<typeof torch.add>;

const tensor = (block: Block): Tensor => torch.tensor(nested(block) as never);

function side(make: () => Tensor): Side {
  let last: Tensor;
  return {
    name,
    run() {
      last = make();
    },
    result: () => Float32Array.from([last.data].flat(Number.POSITIVE_INFINITY) as number[]),
  };
}

export const load = (): Library => ({
  name,
  sides: {
    matmul({ a, b, transposeB }) {
      if (a.data.length > 256 * 256 || transposeB) return null;
      const [left, right] = [tensor(a), tensor(b)];
      return side(() => torch.matmul(left, right));
    },
    add({ a, b }) {
      const [left, right] = [tensor(a), tensor(b)];
      return side(() => torch.add(left, right));
    },
    mul({ a, b }) {
      const [left, right] = [tensor(a), tensor(b)];
      return side(() => torch.mul(left, right));
    },
    softmax({ x }) {
      const [input, layer] = [tensor(x), new torch.nn.Softmax()];
      return side(() => layer.forward(input, -1));
    },
  },
});
