/** Windows over images: pools, convolutions of groups of channels, and the transpose of a convolution. */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import type { AverageWindows } from "../../../kernels/pool/reference.ts";
import { each, float, unravel } from "./wgsl.ts";

/** The largest or the mean of every window of (N, C, H, W). */
export function pooled(g: AverageWindows, type: "max" | "average"): string {
  const x = `x[((p0 * ${g.c}u + p1) * ${g.h}u + u32(y)) * ${g.w}u + u32(z)]`;
  const [start, meet, result] =
    type === "max"
      ? ["var most = -3.4028234e38f;", `most = max(most, ${x});`, "most"]
      : [
          "var sum = 0.0;\nvar count = 0.0;",
          `sum += ${x};${g.countIncludePad ? "" : "\ncount += 1.0;"}`,
          "sum / max(count, 1.0)",
        ];
  // Beyond the padding, where a window of ceilMode may reach, nothing counts.
  const counted =
    type === "average" && g.countIncludePad
      ? `if (y < ${g.h + g.padBottom} && z < ${g.w + g.padRight}) { count += 1.0; }`
      : "";
  return each(
    ["x: f32"],
    `${unravel("at", [g.n, g.c, g.oh, g.ow], "p")}${start}
for (var i = 0; i < ${g.kh}; i++) {
for (var j = 0; j < ${g.kw}; j++) {
let y = i32(p2) * ${g.strideH} + i * ${g.dilationH} - ${g.padTop};
let z = i32(p3) * ${g.strideW} + j * ${g.dilationW} - ${g.padLeft};
${counted}
if (y >= 0 && y < ${g.h} && z >= 0 && z < ${g.w}) {
${meet}
}
}
}
return ${result};`,
  );
}

/** A convolution of few channels by each filter: one number a thread. Sums are multiplied by a number of each image. */
export function grouped(g: ConvGeometry, bias: boolean, scale: "each" | number): string {
  const channels = g.c / g.groups;
  return each(
    ["x: f32", "w: f32", ...(scale === "each" ? ["scale: f32"] : []), ...(bias ? ["bias: f32"] : [])],
    `${unravel("at", [g.n, g.o, g.oh, g.ow], "p")}var sum = 0.0;
let first = p1 / ${g.o / g.groups}u * ${channels}u;
var tap = p1 * ${channels * g.kh * g.kw}u;
for (var c = 0u; c < ${channels}u; c++) {
for (var i = 0; i < ${g.kh}; i++) {
for (var j = 0; j < ${g.kw}; j++) {
let y = i32(p2) * ${g.strideH} + i * ${g.dilationH} - ${g.padTop};
let z = i32(p3) * ${g.strideW} + j * ${g.dilationW} - ${g.padLeft};
if (y >= 0 && y < ${g.h} && z >= 0 && z < ${g.w}) {
sum += x[((p0 * ${g.c}u + first + c) * ${g.h}u + u32(y)) * ${g.w}u + u32(z)] * w[tap];
}
tap++;
}
}
}
return sum * ${scale === "each" ? "scale[p0]" : float(scale)}${bias ? " + bias[p1]" : ""};`,
  );
}

/** The transpose of a convolution of this geometry, from its output to its input. */
export function transposed(g: ConvGeometry): string {
  const [outs, ins] = [g.o / g.groups, g.c / g.groups];
  return each(
    ["x: f32", "w: f32"],
    `${unravel("at", [g.n, g.c, g.h, g.w], "p")}var sum = 0.0;
let channel = p1 % ${ins}u;
for (var o = 0u; o < ${outs}u; o++) {
let input = p1 / ${ins}u * ${outs}u + o;
for (var i = 0; i < ${g.kh}; i++) {
let y = i32(p2) + ${g.padTop} - i * ${g.dilationH};
if (y < 0 || y % ${g.strideH} != 0 || y / ${g.strideH} >= ${g.oh}) { continue; }
for (var j = 0; j < ${g.kw}; j++) {
let z = i32(p3) + ${g.padLeft} - j * ${g.dilationW};
if (z < 0 || z % ${g.strideW} != 0 || z / ${g.strideW} >= ${g.ow}) { continue; }
let at = ((p0 * ${g.o}u + input) * ${g.oh}u + u32(y / ${g.strideH})) * ${g.ow}u + u32(z / ${g.strideW});
sum += x[at] * w[((input * ${ins}u + channel) * ${g.kh}u + u32(i)) * ${g.kw}u + u32(j)];
}
}
}
return sum;`,
  );
}
