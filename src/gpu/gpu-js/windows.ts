/** Windows over images: pools, and the transpose of a convolution. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { AverageWindows } from "../../../kernels/pool/reference.ts";
import type { PackedWeight } from "../../packed/file/weight.ts";
import type { Later } from "./far.ts";
import type { GpuJsKernels } from "./kernels.ts";
import { float, kernel, quotient, unravel } from "./sources.ts";

/** The largest or the mean of every window of (N, C, H, W). */
export function pooled(g: AverageWindows, type: "max" | "average"): string {
  const inside = (size: string): string => `if (${size}) {`;
  const start = type === "max" ? "let most = -3.4028234663852886e38;" : "let sum = 0.0;\nlet count = 0.0;";
  const meet =
    type === "max"
      ? `most = Math.max(most, x[((p0 * ${g.c} + p1) * ${g.h} + y) * ${g.w} + z]);`
      : `sum += x[((p0 * ${g.c} + p1) * ${g.h} + y) * ${g.w} + z];${g.countIncludePad ? "" : "\ncount += 1.0;"}`;
  // Beyond the padding, where a window of ceilMode may reach, nothing counts.
  const counted = g.countIncludePad
    ? `if (y < ${g.h + g.padBottom - 0.5}) { if (z < ${g.w + g.padRight - 0.5}) { count += 1.0; } }`
    : "";
  return kernel(
    "x",
    `${unravel("at", [g.n, g.c, g.oh, g.ow], "p")}${start}
for (let i = 0; i < ${g.kh}; i++) {
for (let j = 0; j < ${g.kw}; j++) {
const y = p2 * ${g.strideH} + i * ${g.dilationH} - ${g.padTop};
const z = p3 * ${g.strideW} + j * ${g.dilationW} - ${g.padLeft};
${type === "average" ? counted : ""}
${inside("y > -0.5")} ${inside(`y < ${g.h - 0.5}`)} ${inside("z > -0.5")} ${inside(`z < ${g.w - 0.5}`)}
${meet}
} } } }
}
}
${type === "max" ? "return most;" : "return sum / Math.max(count, 1.0);"}`,
  );
}

/** The transpose of a convolution of this geometry, from its output to its input. */
export function convTransposed(gpu: GpuJsKernels, x: Later, weight: PackedWeight, g: ConvGeometry): Later {
  const { columns } = weight;
  const outs = g.o / g.groups;
  const ins = g.c / g.groups;
  const body = `${unravel("at", [g.n, g.c, g.h, g.w], "p")}let sum = 0.0;
const group = ${quotient("p1", ins)};
const channel = p1 - group * ${ins};
for (let o = 0; o < ${outs}; o++) {
const from = group * ${outs} + o;
for (let i = 0; i < ${g.kh}; i++) {
for (let j = 0; j < ${g.kw}; j++) {
const y = p2 + ${g.padTop} - i * ${g.dilationH};
const z = p3 + ${g.padLeft} - j * ${g.dilationW};
const u = ${quotient("y", g.strideH)};
const v = ${quotient("z", g.strideW)};
if (y > -0.5) { if (z > -0.5) { if (Math.abs(y - u * ${float(g.strideH)}) < 0.5) { if (Math.abs(z - v * ${float(g.strideW)}) < 0.5) {
if (u < ${g.oh - 0.5}) { if (v < ${g.ow - 0.5}) {
sum += x[((p0 * ${g.o} + from) * ${g.oh} + u) * ${g.ow} + v] * w[from * ${columns} + (channel * ${g.kh} + i) * ${g.kw} + j];
} } } } } }
} } }
return sum;`;
  const values = weight.floats ?? dequantized(weight);
  return gpu.run("convTranspose", kernel("x, w", body), g.n * g.c * g.h * g.w, [x, gpu.upload(values)]);
}

const known = new WeakMap<PackedWeight, Float32Array>();

/** A weight as float32, of which one copy is kept. */
function dequantized(weight: PackedWeight): Float32Array {
  const values = known.get(weight) ?? weight.dequantized().slice();
  known.set(weight, values);
  return values;
}
