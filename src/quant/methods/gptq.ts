/** gptq: codes chosen one column after another, so that later ones make up for the errors of earlier ones. */

import type { QTensor } from "../../codes/contract.ts";
import type { QuantParams } from "../../codes/params.ts";
import { scalarCodes } from "../../codes/scalar.ts";
import { newArray } from "../../dtype.ts";
import { checkChoice, checkInteger, OptionError, readOptions } from "../../errors.ts";
import { defaultRng } from "../../random/default.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { clippedScales } from "./clip-search.ts";
import { type Coupling, couplingOf, roundColumns } from "./column-rounding.ts";
import { checkRounding, roundedBy, type Seen, seenBy } from "./rounded.ts";
import {
  type CalibrationOptions,
  calibrationDefaults,
  codesFor,
  matrixOf,
  type Site,
  scaleIndices,
  visitInOrder,
} from "./sites.ts";

export interface GptqOptions<B> extends CalibrationOptions<B> {
  /** How many columns are rounded before the ones behind take on their errors: a matter of speed alone. Default 128. */
  blockSize: number;
  /**
   * What is added to the diagonal of the Hessian, as a share of its mean. Where the Hessian is singular all the same,
   * ten times as much is, and so on up to 1. Default 0.01.
   */
  damping: number;
  /** "given": columns as they stand; "activation": those with the largest inputs first (act-order). Default "given". */
  order: "given" | "activation";
  /**
   * Whether the scales of groups are those of the weight as it was. Else a group's scale is found when the first of
   * its columns has its turn, from weights that have taken on the errors of the columns before. Default false.
   */
  staticGroups: boolean;
  /**
   * "range": scales are those of the quantizer. "mse": each times the one of 1, .99, … .21 with the least
   * Σ |w − ŵ|^2.4, as `clipSearch` finds it. Default "range".
   */
  scales: "range" | "mse";
}

const op = "gptq";

/**
 * GPTQ: rounds the weights of linear layers and convolutions column by column, in place, and returns the model. After
 * each column it adds to those that are left what makes up best for the error of the output, by the Hessian XᵀX of the
 * layer's inputs X. Layers come in the order in which the model runs them, each with the codes of earlier ones in
 * place, and batches are run through once for each layer. Every spec is served whose codes are a rounding: symmetric,
 * affine, with the absmax signed, codebooks, signs, of any granularity. Weights that a mask in front keeps at 0 stay 0,
 * and those whose inputs were all 0 become 0. With inputs that are not correlated the codes are those of the quantizer
 * to the bit. The codes are held until a weight is written, and `freeze` keeps them (`QuantizedTransform.hold`); latent
 * weights stay. Frantar et al., 2022, arXiv:2210.17323.
 *
 * Rejects with StageError for a model that is not prepared, or frozen, without a batch, and for a layer that no batch
 * reaches; with OptionError for batches that can be run through once only, a pattern that fits no layer, two layers
 * that share a weight, a quantizer with codes of its own, and numbers that are not finite; with BitgradError for a
 * Hessian that no damping makes positive definite. Errors name the layer. The model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng, randn } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { freeze, gptq, int4WeightOnly, pack, plan, prepare } from "bitgrad/quant";
 *
 * const rng = new Rng(1);
 * const inputs = randn([256, 32], { rng }).matmul(randn([32, 32], { rng }));
 * const layer = new Linear(32, 8, { rng });
 * const outputs = layer.forward(inputs);
 * const error = () => layer.forward(inputs).sub(outputs).square().mean().item();
 * prepare(layer, plan({ default: int4WeightOnly() }));
 * const nearest = error();
 * await gptq(layer, [inputs]);
 * console.log(error() < 0.6 * nearest); // true
 * pack(freeze(layer));
 * ```
 */
export async function gptq<M extends object, B>(
  model: M,
  batches: Iterable<B> | AsyncIterable<B>,
  options?: Partial<GptqOptions<B>>,
): Promise<M> {
  const read = readOptions<GptqOptions<B>>(op, options, {
    ...calibrationDefaults,
    blockSize: 128,
    damping: 0.01,
    order: "given",
    staticGroups: false,
    scales: "range",
  });
  checkInteger(op, "blockSize", read.blockSize, 1);
  checkChoice(op, "order", read.order, ["given", "activation"]);
  checkChoice(op, "scales", read.scales, ["range", "mse"]);
  const { damping } = read;
  if (!(damping >= 0 && damping < Infinity)) {
    throw new OptionError(`${op}: damping must be finite and not negative, got ${damping}`);
  }
  await visitInOrder(op, model, batches, read, ["hessian"], (site, { hessian }) =>
    chosen(site, hessian, read),
  );
  return model;
}

type Settings = Omit<GptqOptions<never>, keyof CalibrationOptions<never>>;

/** The codes of one layer. */
function chosen(site: Site, hessian: Tensor<"float64">, settings: Settings): QTensor {
  checkRounding(op, site);
  const { rows, columns, spec, layer } = site;
  const seen = seenBy(op, site);
  const groups = hessian.rank === 3 ? hessian.shape[0] : 1;
  const couplings = Array.from({ length: groups }, (_, g) => {
    const of = hessian.data.subarray(g * columns ** 2, (g + 1) * columns ** 2);
    const used = usedBy(seen, (g * rows) / groups, ((g + 1) * rows) / groups, columns);
    return couplingOf(op, layer, of, columns, { ...settings, used });
  });
  const zero = zeros(site, seen, couplings);
  const index = scaleIndices(site);
  const scales = new Scales(site, seen, index, couplings, settings);
  const { codeOf, valueOf } = scalarCodes(spec);
  const rng = spec.rounding === "stochastic" ? defaultRng() : null;
  const codes = new Int16Array(rows * columns);
  roundColumns({
    weight: matrixOf(site),
    rows,
    columns,
    couplings,
    blockSize: settings.blockSize,
    begins: scales.steps,
    begin: (step, weight) => scales.begin(step, weight),
    round(at, x) {
      const scale = scales.scale[index[at]];
      const zeroPoint = scales.zeroPoint ? scales.zeroPoint[index[at]] : 0;
      codes[at] = codeOf(zero[at] === 1 ? 0 : x, scale, zeroPoint, rng?.next());
      return valueOf(codes[at], scale, zeroPoint);
    },
  });
  return codesFor(site, codes, scales.params());
}

/** 0 for the columns that a mask keeps at 0 in all rows from … to − 1; null where nothing is masked. */
function usedBy({ mask }: Seen, from: number, to: number, columns: number): Uint8Array | null {
  if (!mask) return null;
  const used = new Uint8Array(columns);
  for (let at = from * columns; at < to * columns; at++) if (mask.data[at] !== 0) used[at % columns] = 1;
  return used;
}

/** 1 for the weights that become 0: those that a mask keeps there, and those whose inputs were all 0. */
function zeros({ rows, columns }: Site, { mask }: Seen, couplings: readonly Coupling[]): Uint8Array {
  const perCoupling = rows / couplings.length;
  return Uint8Array.from({ length: rows * columns }, (_, at) => {
    const { dead } = couplings[Math.floor(at / columns / perCoupling)];
    return mask?.data[at] === 0 ? 1 : dead[at % columns];
  });
}

/** The scales and zero points of a weight, each found when the first of its columns has its turn. */
class Scales {
  readonly scale: Float32Array;
  readonly zeroPoint: Float32Array | null;
  private readonly site: Site;
  private readonly seen: Seen;
  private readonly index: Int32Array;
  private readonly first: QTensor;
  /** The step of each scale. */
  private readonly turns: Int32Array;
  /** The steps at which some are found. */
  readonly steps: ReadonlySet<number>;
  private readonly searches: boolean;

  constructor(
    site: Site,
    seen: Seen,
    index: Int32Array,
    couplings: readonly Coupling[],
    { staticGroups, scales }: Settings,
  ) {
    this.site = site;
    this.seen = seen;
    this.index = index;
    this.first = roundedBy(site, seen);
    this.scale = new Float32Array(this.first.scale.size);
    this.zeroPoint = this.first.zeroPoint && new Float32Array(this.scale.length);
    this.turns = new Int32Array(this.scale.length);
    if (!staticGroups) findTurns(this.turns, index, site, couplings);
    this.steps = new Set(this.turns);
    this.searches = scales === "mse";
  }

  begin(step: number, weight: Float64Array): void {
    const { turns, index, site } = this;
    const seen = step === 0 ? this.seen : this.become(weight);
    let found: QuantParams = step === 0 ? this.first : roundedBy(site, seen);
    if (this.searches) {
      found = clippedScales(site.spec, found, {
        weight: seen.latent.data as ArrayLike<number>,
        index,
        elements: Int32Array.from(index.keys()).filter((at) => turns[index[at]] === step),
        importance: null,
        norm: 2.4,
      });
    }
    for (let k = 0; k < turns.length; k++) {
      if (turns[k] !== step) continue;
      this.scale[k] = found.scale.data[k];
      if (this.zeroPoint) this.zeroPoint[k] = found.zeroPoint!.data[k];
    }
  }

  /** The weight as it has become, 0 where a mask wants it. */
  private become(weight: Float64Array): Seen {
    const { latent, mask } = this.seen;
    const to = newArray(latent.dtype, weight.length) as Float32Array;
    for (let at = 0; at < weight.length; at++) to[at] = mask?.data[at] === 0 ? 0 : weight[at];
    return { latent: wrap(to, latent.shape, latent.dtype as "float32"), mask };
  }

  params(): QuantParams {
    const { shape } = this.first.scale;
    const of = (data: Float32Array): Tensor => wrap(data, shape, "float32");
    return { scale: of(this.scale), zeroPoint: this.zeroPoint && of(this.zeroPoint) };
  }
}

/** Writes of each scale the first step at which one of its columns has its turn. */
function findTurns(
  turns: Int32Array,
  index: Int32Array,
  { rows, columns }: Site,
  couplings: readonly Coupling[],
): void {
  turns.fill(columns);
  for (let row = 0; row < rows; row++) {
    const { order } = couplings[Math.floor((row * couplings.length) / rows)];
    for (let step = 0; step < columns; step++) {
      const k = index[row * columns + order[step]];
      turns[k] = Math.min(turns[k], step);
    }
  }
}
