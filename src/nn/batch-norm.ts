import { changing } from "../changes.ts";
import type { FloatArray } from "../dtype.ts";
import { checkShare, readOptions, ShapeError, show } from "../errors.ts";
import { ownBatchNorm } from "../ops/batch-norm.ts";
import { scope } from "../storage.ts";
import { noGrad } from "../tape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank, hasData } from "./blank.ts";
import { inside } from "./inside.ts";
import { type NormOptions, unitAffine } from "./norm.ts";
import type { PackedFields, Packer } from "./packing.ts";
import type { Parameter } from "./parameter.ts";
import { checkSizes } from "./sizes.ts";
import { writeBuffer } from "./state.ts";

export interface BatchNormOptions extends NormOptions {
  /** The share of a batch in the running statistics; null for the plain average over all batches. */
  momentum: number | null;
}

/**
 * (x − mean)/√(variance + eps) · weight + bias for every channel. In training the statistics are the batch's own, and the
 * running ones move towards them (the variance unbiased, as in PyTorch); in evaluation they are the running ones.
 * Ioffe and Szegedy, 2015, arXiv:1502.03167.
 */
class BatchNorm {
  readonly kind = "norm";
  training = true;
  readonly eps: number;
  readonly momentum: number | null;
  weight: Parameter | null;
  bias: Parameter | null;
  runningMean: Tensor;
  runningVar: Tensor;
  readonly numBatchesTracked: Tensor;

  constructor(op: string, channels: number, options: Partial<BatchNormOptions> | undefined) {
    checkSizes(op, { channels });
    const settings = readOptions<BatchNormOptions>(op, options, {
      eps: 1e-5,
      momentum: null,
      affine: true,
      bias: true,
      dtype: "float32",
    });
    const { dtype } = settings;
    // Null has a meaning of its own, so it cannot be told from the default by the reader.
    const momentum = options?.momentum === undefined ? 0.1 : options.momentum;
    if (momentum !== null) checkShare(op, "momentum", momentum);
    this.eps = settings.eps;
    this.momentum = momentum;
    const made = unitAffine(op, [channels], settings);
    this.weight = made.weight;
    this.bias = made.bias;
    this.runningMean = blank([channels], dtype);
    this.runningVar = blank([channels], dtype);
    this.numBatchesTracked = blank([], "int32");
    if (hasData(this.runningVar)) this.runningVar.data.fill(1);
  }

  get channels(): number {
    return this.runningMean.size;
  }

  protected normalize(op: string, x: Tensor): Tensor {
    const { eps } = this;
    if (x.shape[1] !== this.runningMean.size) {
      throw new ShapeError(
        `${op}: the input must have ${this.runningMean.size} channels on axis 1, got ${show(x.shape)}`,
      );
    }
    const [weight, bias] = [this.weight?.effective(), this.bias?.effective()];
    if (!this.training) return x.batchNorm(this.runningMean, this.runningVar, weight, bias, { eps });
    const count = x.size / this.runningMean.size;
    if (count < 2) {
      throw new ShapeError(
        `${op}: training needs more than one value a channel, got ${show(x.shape)}; use larger batches (a loader's dropLast leaves a short last one out) or evaluate()`,
      );
    }
    const [y, mean, variance] = ownBatchNorm(x, weight, bias, eps);
    if (hasData(mean)) this.track(mean.data as FloatArray, variance.data as FloatArray, count / (count - 1));
    return y;
  }

  toPacked(packer: Packer): PackedFields {
    // In a scope, as models run: the kernels that serve it may round otherwise.
    const factor = noGrad(() =>
      scope(() => {
        const scale = this.runningVar.add(this.eps).rsqrt();
        return packer.floats(this.weight ? scale.mul(this.weight.effective()) : scale);
      }),
    );
    return {
      kind: "batchNorm",
      mean: packer.floats(this.runningMean),
      factor,
      bias: packer.floats(this.bias),
    };
  }

  private track(mean: FloatArray, variance: FloatArray, unbiased: number): void {
    changing(this, saveStatistics);
    const batches = this.numBatchesTracked.item() + 1;
    writeBuffer(this.numBatchesTracked, (data) => data.fill(batches));
    const share = this.momentum ?? 1 / batches;
    writeBuffer(this.runningMean, (running) => {
      for (let c = 0; c < running.length; c++) running[c] = (1 - share) * running[c] + share * mean[c];
    });
    writeBuffer(this.runningVar, (running) => {
      for (let c = 0; c < running.length; c++) {
        running[c] = (1 - share) * running[c] + share * unbiased * variance[c];
      }
    });
  }
}

function saveStatistics({ runningMean, runningVar, numBatchesTracked }: BatchNorm): () => void {
  const buffers = [runningMean, runningVar, numBatchesTracked];
  const kept = buffers.map(({ data }) => data.slice());
  return () => {
    buffers.forEach((buffer, i) => {
      writeBuffer(buffer, (data) => data.set(kept[i]));
    });
  };
}

/**
 * Batch normalisation of (N, C) or (N, C, L); see BatchNorm2d.
 *
 * @example
 * ```ts
 * import { randn } from "bitgrad";
 * import { BatchNorm1d } from "bitgrad/nn";
 *
 * const norm = new BatchNorm1d(8);
 * console.log(norm.forward(randn([32, 8])).mean().abs().item() < 1e-5); // true
 * ```
 */
export class BatchNorm1d extends BatchNorm {
  constructor(channels: number, options?: Partial<BatchNormOptions>) {
    super("BatchNorm1d", channels, options);
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("BatchNorm1d", x);
      if (x.rank !== 2 && x.rank !== 3) {
        throw new ShapeError(`BatchNorm1d: needs (N, C) or (N, C, L), got ${show(x.shape)}`);
      }
      return this.normalize("BatchNorm1d", x);
    });
  }
}

/**
 * Batch normalisation of (N, C, H, W): the batch's statistics in training, the running ones in evaluation. The running
 * variance is the unbiased one, as in PyTorch. Ioffe and Szegedy, 2015, arXiv:1502.03167.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { BatchNorm2d, evaluate } from "bitgrad/nn";
 *
 * console.log(evaluate(new BatchNorm2d(3)).forward(zeros([2, 3, 8, 8])).shape); // [2, 3, 8, 8]
 * ```
 */
export class BatchNorm2d extends BatchNorm {
  constructor(channels: number, options?: Partial<BatchNormOptions>) {
    super("BatchNorm2d", channels, options);
  }

  forward(x: TensorLike): Tensor {
    return inside(this, () => {
      x = asTensor("BatchNorm2d", x);
      if (x.rank !== 4) throw new ShapeError(`BatchNorm2d: needs (N, C, H, W), got ${show(x.shape)}`);
      return this.normalize("BatchNorm2d", x);
    });
  }
}
