/** Codes that were found elsewhere, out of one model and into another. */

import { quantizedTransform } from "../codes/transform.ts";
import { OptionError, StageError, show } from "../errors.ts";
import { isTensor, type Tensor, tensor } from "../tensor.ts";
import { weightsOf } from "./prepare.ts";
import { checkLive } from "./steps.ts";

const fields = ["codes", "scale", "zeroPoint"] as const;

/**
 * The codes that weights of a prepared model hold, such as those that GPTQ found, and those of a frozen one: copies, by
 * names such as "0.weight.codes", "0.weight.scale" and "0.weight.zeroPoint". A state has the weights behind the quantizers
 * alone, and to load it lets held codes go: they are saved beside it, by `save` or in the `extra` of a checkpoint, for
 * `holdCodes`. Throws StageError for a model that is not prepared.
 *
 * @example
 * ```ts
 * import { Linear } from "bitgrad/nn";
 * import { freeze, heldCodes, int8WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const codes = heldCodes(freeze(prepare(new Linear(4, 2), plan({ default: int8WeightOnly() }))));
 * console.log(Object.keys(codes)); // ["weight.codes", "weight.scale"]
 * ```
 */
export function heldCodes(model: object): Record<string, Tensor> {
  const weights = weightsOf(model);
  if (weights.length === 0) {
    throw new StageError(
      "heldCodes: the model must be prepared, got no quantized weight; call prepare first",
    );
  }
  const found: Record<string, Tensor> = {};
  for (const [path, parameter] of weights) {
    const codes = quantizedTransform(parameter)!.codes;
    if (!codes) continue;
    for (const field of fields) if (codes[field]) found[`${path}.${field}`] = tensor(codes[field]);
  }
  return found;
}

/** The tensors of each weight. Throws OptionError for names that are of none. */
function byWeight(codes: Readonly<Record<string, Tensor>>, paths: ReadonlySet<string>) {
  const found = new Map<string, Partial<Record<(typeof fields)[number], Tensor>>>();
  for (const [name, given] of Object.entries(codes)) {
    const at = name.lastIndexOf(".");
    const path = name.slice(0, Math.max(0, at));
    const field = fields.find((known) => known === name.slice(at + 1));
    if (!field || !paths.has(path)) {
      throw new OptionError(
        `holdCodes: a name must be of a quantized weight and end in ${fields.join(", ")}, got ${show(name)}; prepare the model by the plan that the codes were found with`,
      );
    }
    if (!isTensor(given))
      throw new OptionError(`holdCodes: needs tensors, got ${show(given)} for ${show(name)}`);
    found.set(path, { ...found.get(path), [field]: given });
  }
  return found;
}

/**
 * Lets the weights of a prepared model hold the codes that `heldCodes` gave, of this model or of one prepared by the same
 * plan, and returns the model. Comes after the state is loaded; weights that have no codes among them are as they were.
 * Throws StageError for a model that is not prepared, or frozen; OptionError for names that are of no quantized weight, and
 * for codes without a scale; and what `hold` of a transform throws for those that do not fit. The model is then as it was.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { Linear } from "bitgrad/nn";
 * import { freeze, heldCodes, holdCodes, int4WeightOnly, plan, prepare } from "bitgrad/quant";
 *
 * const four = plan({ default: int4WeightOnly() });
 * const first = freeze(prepare(new Linear(4, 2, { rng: new Rng(1) }), four));
 * const second = holdCodes(prepare(new Linear(4, 2, { rng: new Rng(2) }), four), heldCodes(first));
 * console.log(second.weight.effective().sub(first.weight.effective()).abs().max().item()); // 0
 * ```
 */
export function holdCodes<M extends object>(model: M, codes: Readonly<Record<string, Tensor>>): M {
  checkLive("holdCodes", model);
  if (typeof codes !== "object" || codes === null || isTensor(codes)) {
    throw new OptionError(`holdCodes: needs tensors by name, got ${show(codes)}`);
  }
  const transforms = new Map(
    weightsOf(model).map(([path, parameter]) => [path, quantizedTransform(parameter)!]),
  );
  const given = byWeight(codes, new Set(transforms.keys()));
  for (const [path, { codes, scale }] of given) {
    if (codes && scale) continue;
    throw new OptionError(
      `holdCodes: a weight needs codes and a scale, got ${show(Object.keys(given.get(path)!))} of ${show(path)}`,
    );
  }
  const before = [...given.keys()].map(
    (path) => [transforms.get(path)!, transforms.get(path)!.codes] as const,
  );
  try {
    for (const [path, { codes, scale, zeroPoint = null }] of given) {
      const { shape } = codes!;
      const { spec } = transforms.get(path)!.quantizer;
      transforms.get(path)!.hold({ codes: codes as never, scale: scale!, zeroPoint, spec, shape });
    }
  } catch (error) {
    for (const [transform, held] of before) {
      if (held) transform.hold(held);
      else transform.release();
    }
    throw error;
  }
  return model;
}
