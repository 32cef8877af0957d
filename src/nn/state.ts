/** The numbers of a model by name: taken out, put back, counted. */

import { convertArray, isFloat, type TypedArray } from "../dtype.ts";
import {
  DTypeError,
  FormatError,
  isFunction,
  isPlainObject,
  OptionError,
  readOptions,
  show,
  synchronous,
} from "../errors.ts";
import { sameShape } from "../shape.ts";
import { isTensor, type Tensor } from "../tensor.ts";
import { withoutData } from "./blank.ts";
import { isParameter } from "./parameter.ts";
import { findAll, parameters } from "./tree.ts";

export type StateDict = Record<string, Tensor>;

/** Writes a buffer in place and counts the write, as `Parameter.update` does. */
export function writeBuffer(buffer: Tensor, write: (data: TypedArray) => void): void {
  buffer.storage.write(write, "write");
}

/** Every parameter and buffer with its name, a tied one under each of its names. */
const namedTensors = (model: object): [name: string, tensor: Tensor][] =>
  findAll(model, (item) => isParameter(item) || isTensor(item)).map(({ path, item }) => [
    path,
    isParameter(item) ? item.value : item,
  ]);

/**
 * The parameters and buffers of a model by name, a tied one under each of its names. The tensors are detached but live:
 * they share the model's memory, as in PyTorch, so a snapshot is `stateDict(clone(model))`.
 *
 * @example
 * ```ts
 * import { BatchNorm1d, stateDict } from "bitgrad/nn";
 *
 * console.log(Object.keys(stateDict(new BatchNorm1d(4))));
 * // ["weight", "bias", "runningMean", "runningVar", "numBatchesTracked"]
 * ```
 */
export function stateDict(model: object): StateDict {
  if (typeof model !== "object" || model === null || ArrayBuffer.isView(model)) {
    throw new OptionError(`stateDict: expected a model, got ${show(model)}`);
  }
  return Object.fromEntries(namedTensors(model).map(([name, tensor]) => [name, tensor.detach()]));
}

export interface LoadStateOptions {
  /** Whether missing and unexpected names are errors. */
  strict: boolean;
  /** The model's name for a name of the state; null leaves it out. */
  rename: ((name: string) => string | null) | null;
}

const torchNames: Readonly<Record<string, string>> = {
  running_mean: "runningMean",
  running_var: "runningVar",
  num_batches_tracked: "numBatchesTracked",
};

/** As in `weight_ih_l0_reverse`, or `bias_hh` of a cell. */
const recurrentName = /(?<=^|\.)(weight|bias)_(ih|hh)(?:_l(\d+)(_reverse)?)?$/;

/** PyTorch's names of batch norm buffers and of recurrent weights, as ours. */
const ownName = (name: string): string =>
  name
    .replace(/[^.]+$/, (last) => (Object.hasOwn(torchNames, last) ? torchNames[last] : last))
    .replace(recurrentName, (_, what: string, of: string, layer?: string, reverse?: string) => {
      const cell = layer === undefined ? "" : `cells.l${layer}${reverse ? "Reverse" : ""}.`;
      return `${cell}${what}${of === "ih" ? "Ih" : "Hh"}`;
    });

/** What `loadStateDict` found wanting when not strict. */
export interface LoadReport {
  readonly missing: readonly string[];
  readonly unexpected: readonly string[];
}

/**
 * Copies a state into a model's parameters and buffers. PyTorch's `running_mean`, `running_var` and
 * `num_batches_tracked` are taken as `runningMean`, `runningVar` and `numBatchesTracked`, its `weight_ih_l0` and the
 * like as `cells.l0.weightIh`, unless the model has such names itself; other names go through `rename`. A tied parameter
 * needs only one of its names, and the count of batches may be missing, as it is in old checkpoints. Not strict, it
 * takes what fits by name and reports the rest. Floats go to floats and integers to integers, rounded to the model's
 * precision. Throws FormatError, having changed nothing, for missing or unexpected names, shapes or kinds of numbers
 * that differ, and tied names whose values differ.
 *
 * @example
 * ```ts
 * import { Linear, loadStateDict, stateDict } from "bitgrad/nn";
 *
 * const [a, b] = [new Linear(4, 2), new Linear(4, 2)];
 * loadStateDict(b, stateDict(a));
 * console.log(b.weight.value.equal(a.weight.value).all().toArray()); // true
 * ```
 */
export function loadStateDict(
  model: object,
  state: Readonly<Record<string, Tensor>>,
  options?: Partial<LoadStateOptions>,
): LoadReport {
  const { strict, rename } = readOptions<LoadStateOptions>("loadStateDict", options, {
    strict: true,
    rename: null,
  });
  if (rename !== null && !isFunction(rename)) {
    throw new OptionError(`loadStateDict: option rename must be a function, got ${show(rename)}`);
  }
  const wanted = namedTensors(model);
  const names = new Set(wanted.map(([name]) => name));
  const given = renamed(state, rename, names);
  const unexpected = [...given.keys()].filter((name) => !names.has(name));
  const sources = new Map<Tensor, { name: string; values: TypedArray }>();
  const wrong: string[] = [];
  for (const [name, target] of wanted) {
    const source = given.get(name);
    if (source === undefined) continue;
    const values = fitted(source, target);
    const twin = sources.get(target);
    if (typeof values === "string") wrong.push(`${name}: ${values}`);
    else if (twin && !sameNumbers(twin.values, values))
      wrong.push(`${name}: differs from ${twin.name}, its twin`);
    else sources.set(target, { name, values });
  }
  const absent = ([name, target]: [string, Tensor]) =>
    !given.has(name) && !sources.has(target) && !name.endsWith("numBatchesTracked");
  const missing = wanted.filter(absent).map(([name]) => name);
  const problems = [
    ...(strict ? counted("missing", missing) : []),
    ...(strict ? counted("unexpected", unexpected) : []),
    ...counted("not fitting", wrong),
  ];
  if (problems.length > 0) {
    throw new FormatError(`loadStateDict: the state does not fit the model, got ${problems.join(", ")}`);
  }
  // A state may hold the model's own tensors, under other names.
  const arrays = new Set<TypedArray>(wanted.map(([, { data }]) => data));
  const writes = [...sources].map(
    ([target, { values }]) =>
      [target, arrays.has(values) && values !== target.data ? values.slice() : values] as const,
  );
  for (const [target, values] of writes) writeBuffer(target, (data) => data.set(values));
  return { missing, unexpected };
}

function renamed(
  state: Readonly<Record<string, Tensor>>,
  rename: LoadStateOptions["rename"],
  names: ReadonlySet<string>,
): Map<string, Tensor> {
  if (!isPlainObject(state)) {
    throw new OptionError(`loadStateDict: a state is an object of tensors by name, got ${show(state)}`);
  }
  const given = new Map<string, Tensor>();
  for (const [old, value] of Object.entries(state)) {
    if (!isTensor(value)) {
      throw new OptionError(`loadStateDict: a state holds tensors, got ${show(value)} for ${show(old)}`);
    }
    const chosen = rename ? synchronous("loadStateDict", rename(old), "rename") : old;
    if (chosen === null) continue;
    if (typeof chosen !== "string") {
      throw new OptionError(
        `loadStateDict: rename must return a name or null, got ${show(chosen)} for ${show(old)}`,
      );
    }
    const name = names.has(chosen) ? chosen : ownName(chosen);
    if (given.has(name)) {
      throw new OptionError(`loadStateDict: two names become one, got ${show(name)} for ${show(old)} too`);
    }
    given.set(name, value);
  }
  return given;
}

/** The numbers of `source` as `target` holds them, or what keeps them from fitting. */
function fitted(source: Tensor, target: Tensor): TypedArray | string {
  if (!sameShape(source.shape, target.shape)) {
    return `${show(source.shape)} where the model has ${show(target.shape)}`;
  }
  if (source.dtype === target.dtype) return target.storage.refuses(source.data) ?? source.data;
  if (isFloat(source.dtype) !== isFloat(target.dtype)) {
    return `${source.dtype} where the model has ${target.dtype}`;
  }
  try {
    const values = convertArray("loadStateDict", source.data, target.dtype);
    return target.storage.refuses(values) ?? values;
  } catch (error) {
    if (error instanceof DTypeError) return `${source.dtype} values beyond ${target.dtype}`;
    throw error;
  }
}

const sameNumbers = (a: TypedArray, b: TypedArray): boolean =>
  a === b || a.every((value, i) => Object.is(value, b[i]));

const counted = (what: string, names: readonly string[]): string[] =>
  names.length === 0 ? [] : [`${names.length} ${what} ${show(names)}`];

/**
 * How many numbers the parameters of a model hold, shared ones once. Given a function, counts what it makes without
 * allocating it: `parameterCount(() => new Gpt(config))`.
 *
 * @example
 * ```ts
 * import { Linear, parameterCount } from "bitgrad/nn";
 *
 * console.log(parameterCount(new Linear(4, 2))); // 10
 * console.log(parameterCount(() => new Linear(100_000, 100_000))); // 10000100000
 * ```
 */
export const parameterCount = (model: object | (() => object)): number =>
  parameters(typeof model === "function" ? withoutData(model as () => object) : model).reduce(
    (sum, { size }) => sum + size,
    0,
  );
