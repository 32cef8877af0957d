import type { FloatArray } from "../dtype.ts";
import { GradError, OptionError, readOptions, show } from "../errors.ts";
import { isParameter, type Parameter } from "../nn/parameter.ts";
import { own, Storage } from "../storage.ts";
import { Tensor } from "../tensor.ts";
import { checkPositive } from "./options.ts";

/** The `normType`-norm of all gradients as one vector, in double. */
export function gradNorm(grads: readonly FloatArray[], normType = 2): number {
  let total = 0;
  for (const grad of grads) {
    for (let i = 0; i < grad.length; i++) {
      const size = Math.abs(grad[i]);
      if (normType === 2) total += size * size;
      else if (normType !== Infinity) total += size ** normType;
      else if (size > total || Number.isNaN(size)) total = size;
      if (Number.isNaN(total)) return Number.NaN;
    }
  }
  if (normType === Infinity) return total;
  return normType === 2 ? Math.sqrt(total) : total ** (1 / normType);
}

/** What gradients of norm `norm` are multiplied by to keep within `maxNorm`; PyTorch's formula. */
export const clipFactor = (norm: number, maxNorm: number): number => Math.min(1, maxNorm / (norm + 1e-6));

/**
 * Scales all gradients by one factor so that their common norm is at most `maxNorm`, and returns the norm before.
 * Parameters without a gradient are passed over. Each `grad` that changes becomes a new tensor. Throws GradError where a
 * gradient is not finite, which no factor could mend. As torch.nn.utils.clip_grad_norm_; Pascanu et al., 2012,
 * arXiv:1211.5063.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { Parameter } from "bitgrad/nn";
 * import { clipGradNorm } from "bitgrad/optim";
 *
 * const weight = new Parameter(tensor([1, 1]));
 * weight.grad = tensor([3, 4]);
 * console.log(clipGradNorm([weight], 1), weight.grad.toArray()); // 5 [0.6, 0.8]
 * ```
 */
export function clipGradNorm(
  parameters: Iterable<Parameter>,
  maxNorm: number,
  options?: { normType?: number },
): number {
  const { normType } = readOptions("clipGradNorm", options, { normType: 2 });
  checkPositive("clipGradNorm", "maxNorm", maxNorm);
  if (!(normType > 0)) throw new OptionError(`clipGradNorm: normType must be above 0, got ${show(normType)}`);
  const holders = withGrads("clipGradNorm", parameters);
  const grads = holders.map((parameter) => gradOf(parameter));
  const norm = gradNorm(grads, normType);
  if (!Number.isFinite(norm)) {
    throw new GradError(`clipGradNorm: the norm of the gradients must be finite, got ${norm}`);
  }
  const factor = clipFactor(norm, maxNorm);
  if (factor < 1) for (const parameter of holders) replaceGrad(parameter, (g) => g * factor);
  return norm;
}

/**
 * Limits each gradient element to [−limit, limit]; NaN stays. Each `grad` becomes a new tensor. As clip_grad_value_.
 *
 * @example
 * ```ts
 * import { tensor } from "bitgrad";
 * import { Parameter } from "bitgrad/nn";
 * import { clipGradValue } from "bitgrad/optim";
 *
 * const weight = new Parameter(tensor([1, 1]));
 * weight.grad = tensor([3, -0.5]);
 * clipGradValue([weight], 1);
 * console.log(weight.grad.toArray()); // [1, -0.5]
 * ```
 */
export function clipGradValue(parameters: Iterable<Parameter>, limit: number): void {
  checkPositive("clipGradValue", "the limit", limit);
  for (const parameter of withGrads("clipGradValue", parameters)) {
    replaceGrad(parameter, (g) => Math.min(Math.max(g, -limit), limit));
  }
}

function withGrads(op: string, parameters: Iterable<Parameter>): Parameter[] {
  const list =
    typeof (parameters as unknown) === "object" && parameters !== null && Symbol.iterator in parameters
      ? [...new Set(parameters)]
      : null;
  if (!list?.every(isParameter)) {
    throw new OptionError(
      `${op}: expected a list of parameters, got ${show(parameters)}; for a model, parameters(model)`,
    );
  }
  return list.filter((parameter) => parameter.grad !== null);
}

const gradOf = (parameter: Parameter): FloatArray => (parameter.grad as Tensor).data as FloatArray;

// Not in place: backward may have given one tensor to several leaves.
function replaceGrad(parameter: Parameter, change: (g: number) => number): void {
  const { shape, dtype } = parameter.grad as Tensor;
  parameter.grad = own(new Tensor(new Storage(gradOf(parameter).map(change), dtype), shape, dtype));
}
