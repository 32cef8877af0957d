/** A right call of everything that `bitgrad/gpu` exports. */

import { openGpu } from "bitgrad/gpu";
import { pack } from "bitgrad/quant";
import { call, choice, flag, given, maybe, optional, small, type Table } from "./call.ts";

const gpu = await openGpu({ mode: "cpu" });

export const table: Table = {
  openGpu: call([], {
    executor: optional(choice("gpu.js")),
    mode: maybe(choice("cpu")),
    strict: optional(flag(false)),
    webgpu: maybe(given(() => null)),
  }),
  toGpu: call([given(() => pack(small())), given(() => gpu)]),
};
