/** Speed of the reference convolutions: `npx tsx bench/conv.bench.ts`. Prints GFLOP/s (median of the rounds). */

import { type ConvGeometry, conv2d, conv2dInputGrad, conv2dWeightGrad } from "../kernels/conv/reference.ts";

const square = (n: number, c: number, size: number, o: number, kernel: number, stride = 1, groups = 1) => {
  const pad = kernel >> 1;
  const reached = Math.floor((size + 2 * pad - kernel) / stride) + 1;
  return {
    ...{ n, c, h: size, w: size, o, kh: kernel, kw: kernel, oh: reached, ow: reached, groups },
    ...{ strideH: stride, strideW: stride, padTop: pad, padLeft: pad, dilationH: 1, dilationW: 1 },
  } satisfies ConvGeometry;
};

const cases: Record<string, ConvGeometry> = {
  "3x3, 64 to 64, 32x32": square(4, 64, 32, 64, 3),
  "3x3, 16 to 32, 14x14": square(16, 16, 14, 32, 3),
  "3x3 stride 2, 32 to 64, 28x28": square(8, 32, 28, 64, 3, 2),
  "3x3, 1 to 16, 28x28": square(32, 1, 28, 16, 3),
  "1x1, 64 to 128, 16x16": square(16, 64, 16, 128, 1),
  "3x3 depthwise, 64, 32x32": square(8, 64, 32, 64, 3, 1, 64),
};
const rounds = 5;

for (const [name, g] of Object.entries(cases)) {
  const x = Float32Array.from({ length: g.n * g.c * g.h * g.w }, (_, i) => Math.sin(i));
  const w = Float32Array.from({ length: (g.o * g.c * g.kh * g.kw) / g.groups }, (_, i) => Math.cos(i));
  const dOut = Float32Array.from({ length: g.n * g.o * g.oh * g.ow }, (_, i) => Math.sin(2 * i));
  const flops = (2 * dOut.length * g.c * g.kh * g.kw) / g.groups;
  const repeats = Math.ceil(1e8 / flops);
  const line = Object.entries({
    forward: () => conv2d(new Float32Array(dOut.length), x, w, g),
    "input gradient": () => conv2dInputGrad(new Float32Array(x.length), dOut, w, g),
    "weight gradient": () => conv2dWeightGrad(new Float32Array(w.length), x, dOut, g),
  }).map(([pass, run]) => {
    const speeds: number[] = [];
    for (let round = 0; round <= rounds; round++) {
      const start = performance.now();
      for (let r = 0; r < repeats; r++) run();
      if (round > 0) speeds.push((flops * repeats) / (performance.now() - start) / 1e6);
    }
    return `${pass} ${speeds.sort((a, b) => a - b)[rounds >> 1].toFixed(2)}`;
  });
  console.log(`${name}: ${line.join(", ")} GFLOP/s`);
}
