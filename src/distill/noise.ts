/** Labels that are wrong on purpose. */

import { checkChoice, checkInteger, checkShare, OptionError, readOptions, show } from "../errors.ts";
import { defaultRng } from "../random/default.ts";
import type { Rng } from "../random/rng.ts";
import { asTensor, type Tensor, type TensorLike, tensor } from "../tensor.ts";

export interface LabelNoiseOptions {
  /** The probability of a label to be drawn anew; of labels whose class the map changes by "asymmetric". */
  rate: number;
  /** To any other class alike, to the class that `map` gives, or to the next class, the last to the first. */
  kind: "symmetric" | "asymmetric" | "pair";
  classes: number;
  /** By "asymmetric": the class that each class is taken for, itself where it is not confused. */
  map: readonly number[] | null;
  /** Default: the default generator. */
  rng: Rng | null;
}

export interface NoisyLabels {
  readonly labels: Tensor<"int32">;
  /** Where they are wrong now. */
  readonly changed: Tensor<"bool">;
}

/**
 * Class indices of which about a share `rate` is wrong. Each is drawn by itself, by "symmetric" never its own class.
 * Indices of -100 stay. Throws OptionError for an index that is no class.
 *
 * @example
 * ```ts
 * import { Rng } from "bitgrad";
 * import { injectLabelNoise } from "bitgrad/distill";
 *
 * const options = { rate: 1, kind: "pair", classes: 3, rng: new Rng(1) } as const;
 * console.log(injectLabelNoise([0, 1, 2], options).labels.toArray()); // [1, 2, 0]
 * ```
 */
export function injectLabelNoise(
  labels: TensorLike,
  options: Partial<LabelNoiseOptions> & Pick<LabelNoiseOptions, "rate" | "classes">,
): NoisyLabels {
  const op = "injectLabelNoise";
  const { rate, kind, classes, map, rng } = readOptions<LabelNoiseOptions>(op, options, {
    rate: undefined as unknown as number,
    kind: "symmetric",
    classes: undefined as unknown as number,
    map: null,
    rng: null,
  });
  checkShare(op, "rate", rate);
  checkChoice(op, "kind", kind, ["symmetric", "asymmetric", "pair"]);
  checkInteger(op, "classes", classes, 2);
  const isClass = (c: unknown) => Number.isInteger(c) && (c as number) >= 0 && (c as number) < classes;
  if ((kind === "asymmetric") !== (map !== null)) {
    throw new OptionError(`${op}: a map goes with "asymmetric" noise, got ${show(map)} for ${show(kind)}`);
  }
  if (map !== null && !(Array.isArray(map) && map.length === classes && map.every(isClass))) {
    throw new OptionError(`${op}: map must be a list of a class for each of ${classes}, got ${show(map)}`);
  }
  const given = asTensor(op, labels, "int32");
  const old = [...given.data].map(Number);
  const odd = old.find((label) => label !== -100 && !isClass(label));
  if (odd !== undefined) {
    throw new OptionError(`${op}: labels must be classes from 0 to ${classes - 1} or -100, got ${odd}`);
  }
  const source = rng ?? defaultRng();
  const hit = new Uint8Array(old.length);
  const shift = new Int32Array(old.length).fill(1);
  source.fillBernoulli(hit, rate);
  if (kind === "symmetric") source.fillInt(shift, 1, classes);
  const next = old.map((label, i) => {
    if (label === -100 || hit[i] === 0) return label;
    return map ? map[label] : (label + shift[i]) % classes;
  });
  const { shape } = given;
  return {
    labels: tensor(next, { dtype: "int32", shape }) as Tensor<"int32">,
    changed: tensor(
      next.map((label, i) => label !== old[i]),
      { dtype: "bool", shape },
    ) as Tensor<"bool">,
  };
}
