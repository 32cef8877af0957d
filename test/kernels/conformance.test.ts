import { setFlagsFromString } from "node:v8";
import { describe, expect, it } from "vitest";
import { attentionBackward, attentionForward } from "../../kernels/attention/index.ts";
import { convForward, convInputGrad, convWeightGrad } from "../../kernels/conv/index.ts";
import { convBits } from "../../kernels/conv-b1/index.ts";
import { convInt } from "../../kernels/conv-i8/index.ts";
import {
  elementwiseBinary,
  elementwiseGrad,
  elementwiseSelect,
  elementwiseUnary,
} from "../../kernels/elementwise/index.ts";
import { encodeSigns, encodeAbove, quantizeBy, quantizeRows } from "../../kernels/encode/index.ts";
import {
  quantizeByRows,
  quantizeLevels,
  quantizeRanges,
  quantizeSigns,
  quantizeUniform,
} from "../../kernels/fake-quantize/index.ts";
import { gatherRead, gatherScatter, gatherScatterAdd } from "../../kernels/gather/index.ts";
import { gemmOnes, gemmSigns } from "../../kernels/gemm-b1/index.ts";
import { gemmF32 } from "../../kernels/gemm-f32/index.ts";
import { gemmF64 } from "../../kernels/gemm-f64/index.ts";
import { gemmI4 } from "../../kernels/gemm-i4/index.ts";
import { gemmI8 } from "../../kernels/gemm-i8/index.ts";
import { gemmTernary, gemmTernarySigns } from "../../kernels/gemm-t2/index.ts";
import type { Kernel, KernelArgs } from "../../kernels/kernel.ts";
import { gemmDigits } from "../../kernels/lookup/index.ts";
import { crossEntropy, crossEntropyGrad, divergence, divergenceGrad } from "../../kernels/loss/index.ts";
import { mixedBinary, mixedCast, mixedUnary } from "../../kernels/mixed/index.ts";
import {
  movementAddRows,
  movementClear,
  movementScatter,
  movementStrided,
  movementTakeRows,
} from "../../kernels/movement/index.ts";
import {
  batchNorm,
  batchNormGrad,
  layerNorm,
  layerNormGrad,
  rmsNorm,
  rmsNormGrad,
} from "../../kernels/norm/index.ts";
import { adam, lion, sgd, signStep } from "../../kernels/optimizer/index.ts";
import {
  averagePool,
  averagePoolGrad,
  maxPool,
  maxPoolGrad,
  maxPoolValues,
} from "../../kernels/pool/index.ts";
import { randomBernoulli, randomNormals, randomWords } from "../../kernels/random/index.ts";
import {
  reduceAny,
  reduceArg,
  reduceDeviations,
  reduceFold,
  reduceScan,
  reduceSum,
} from "../../kernels/reduce/index.ts";
import { logSoftmax, logSoftmaxGrad, logSumExp, softmax, softmaxGrad } from "../../kernels/softmax/index.ts";
import { argsort } from "../../kernels/sort/index.ts";

// Where relaxed SIMD is still behind a flag of the engine, the tests turn it on before the first module is made.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

const copyOf = <Args extends KernelArgs>(args: Args): Args =>
  [args[0].slice(), ...args.slice(1)] as unknown as Args;

const describeArgs = (args: KernelArgs): string =>
  args.map((arg) => (ArrayBuffer.isView(arg) ? `[${arg.byteLength} B]` : JSON.stringify(arg))).join(" ");

/** Holds every implementation to the reference, on every case, and to itself: the same bits twice. */
function conform<Args extends KernelArgs>(kernel: Kernel<Args>): void {
  describe(`every ${kernel.name}`, () => {
    for (const [name, load] of Object.entries(kernel.implementations)) {
      const run = load();
      const title = `${name} is within the bound of the reference on every case, and the same bits twice`;
      if (typeof run === "string") {
        it.skip(`${title}: ${run}`, () => {});
        continue;
      }
      it(title, () => {
        for (const args of kernel.cases()) {
          const [want, got, again] = [copyOf(args), copyOf(args), copyOf(args)];
          kernel.reference(...want);
          run(...got);
          run(...again);
          const bound = kernel.tolerance(...args);
          for (let i = 0; i < want[0].length; i++) {
            const [w, g] = [want[0][i], got[0][i]];
            if (!Object.is(g, again[0][i]))
              expect.fail(`${describeArgs(args)}, element ${i}: ${g}, then ${again[0][i]}`);
            if (Object.is(g, w) || g === w || (bound !== null && Math.abs(g - w) <= bound[i])) continue;
            expect.fail(`${describeArgs(args)}, element ${i}: got ${g}, want ${w} within ${bound?.[i] ?? 0}`);
          }
        }
      });
    }
  });
}

conform(gemmF32);
conform(gemmF64);
conform(gemmI8);
conform(gemmI4);
for (const kernel of [gemmSigns, gemmOnes, gemmTernarySigns, gemmTernary]) conform(kernel);
conform(gemmDigits);
conform(attentionForward);
conform(attentionBackward);
conform(elementwiseUnary);
conform(elementwiseGrad);
conform(elementwiseBinary);
conform(elementwiseSelect);
conform(mixedBinary);
conform(mixedUnary);
conform(mixedCast);
for (const kernel of [convForward, convInputGrad, convWeightGrad]) conform(kernel);
conform(convBits);
conform(convInt);
conform(movementStrided);
conform(movementScatter);
conform(movementClear);
conform(movementTakeRows);
conform(movementAddRows);
conform(gatherRead);
conform(gatherScatter);
conform(gatherScatterAdd);
conform(argsort);
conform(randomWords);
conform(randomNormals);
conform(randomBernoulli);
conform(encodeSigns);
conform(encodeAbove);
conform(quantizeRows);
conform(quantizeBy);
conform(quantizeRanges);
conform(quantizeUniform);
conform(quantizeLevels);
conform(quantizeSigns);
conform(quantizeByRows);
conform(maxPoolValues);
conform(maxPool);
conform(maxPoolGrad);
for (const kernel of [averagePool, averagePoolGrad]) conform(kernel);
conform(reduceSum);
conform(reduceFold);
conform(reduceAny);
conform(reduceDeviations);
conform(reduceArg);
conform(reduceScan);
conform(softmax);
conform(softmaxGrad);
conform(logSoftmax);
conform(logSoftmaxGrad);
conform(logSumExp);
conform(crossEntropy);
conform(crossEntropyGrad);
conform(divergence);
conform(divergenceGrad);
conform(layerNorm);
conform(layerNormGrad);
conform(rmsNorm);
conform(rmsNormGrad);
conform(batchNorm);
conform(batchNormGrad);
conform(adam);
conform(sgd);
conform(lion);
conform(signStep);
