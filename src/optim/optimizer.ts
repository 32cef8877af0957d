import { makeRoom } from "../../kernels/wasm/heap.ts";
import { anyNonFinite } from "../backend.ts";
import { undoing } from "../changes.ts";
import type { FloatArray } from "../dtype.ts";
import {
  FormatError,
  GradError,
  isPlainObject,
  OptionError,
  readOptions,
  ShapeError,
  show,
  synchronous,
} from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import { defaultRng } from "../random/default.ts";
import { Rng } from "../random/rng.ts";
import { sameShape } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { clipFactor, gradNorm } from "./clip.ts";
import { type Group, makeGroups, type OptimizerRows, type RuleGroup } from "./group.ts";
import { type HyperParameters, withHyper } from "./hyper.ts";
import { checkAtLeast, checkPositive } from "./options.ts";
import type { RuleState, UpdateRule } from "./rule.ts";
import { makeState, mismatch, pinState, readSlot, savedSlot } from "./slots.ts";
import { staged } from "./stored.ts";

export interface OptimizerOptions {
  /** Bounds the norm of all gradients together, as `clipGradNorm`, without touching them. */
  readonly clipNorm: number | null;
  /** Bounds each gradient element, as `clipGradValue`, without touching it. */
  readonly clipValue: number | null;
  /** What rules draw their first states from; default: the default generator. */
  readonly rng: Rng | null;
}

/** Everything an optimizer needs to resume: tensors and plain numbers by name. */
export type OptimizerState = Record<string, Tensor | number>;

export interface Optimizer {
  readonly groups: readonly Group[];
  /**
   * The learning rate of the first group whose rule has one. Setting it scales every group alike: each gets the value times
   * the ratio of its initial rate to the first's.
   */
  lr: number;
  /**
   * Updates every parameter that has a gradient; what a rule remembers of a parameter begins anew where `replace` has given it
   * another shape. Throws GradError for a gradient that is not finite, and OptionError where a rule writes what the store of
   * a parameter does not hold, having changed nothing: no weight, no state.
   */
  step(): void;
  /** Drops every gradient. */
  zeroGrad(): void;
  /**
   * A copy of the state: `lr.<path>` and `hyper.<path>.<name>`, the rate and the hyper-parameters of the parameter's group,
   * and `state.<path>.<slot>`, numbers and tensors of the slots' own dtypes. A parameter of a list is named by its place.
   */
  stateDict(): OptimizerState;
  /**
   * Restores a state by the names of the parameters, whatever the order of the rows; the steps that follow equal the
   * uninterrupted ones bit for bit. A state without hyper-parameters, as older ones are, leaves them as they are. Throws
   * FormatError and changes nothing if it does not fit.
   */
  loadStateDict(state: OptimizerState): void;
}

/**
 * Updates the parameters of a model (or a list of parameters) by a rule, or by the rule of the first row whose predicate
 * takes them. A parameter that two layers share is stepped once. Throws OptionError for a parameter that no row takes and
 * for a row that takes none.
 *
 * @example
 * ```ts
 * import { ones } from "bitgrad";
 * import { LayerNorm, Linear, Sequential } from "bitgrad/nn";
 * import { adamw, everything, isBias, isNorm, optimizer } from "bitgrad/optim";
 *
 * const model = new Sequential(new Linear(4, 8), new LayerNorm(8), new Linear(8, 2));
 * const opt = optimizer(
 *   model,
 *   [
 *     [isNorm, adamw({ weightDecay: 0 })],
 *     [isBias, adamw({ weightDecay: 0 })],
 *     [everything, adamw({ weightDecay: 0.1 })],
 *   ],
 *   { clipNorm: 1 },
 * );
 * model.forward(ones([3, 4])).square().mean().backward();
 * opt.step();
 * opt.zeroGrad();
 * console.log(opt.groups.map(({ parameters }) => parameters.length)); // [2, 2, 2]
 * ```
 */
export function optimizer(
  model: object | readonly Parameter[],
  rules: UpdateRule | OptimizerRows,
  options?: Partial<OptimizerOptions>,
): Optimizer {
  const { clipNorm, clipValue, rng } = readOptions<OptimizerOptions>("optimizer", options, {
    clipNorm: null,
    clipValue: null,
    rng: null,
  });
  if (clipNorm !== null) checkPositive("optimizer", "clipNorm", clipNorm);
  if (clipValue !== null) checkPositive("optimizer", "clipValue", clipValue);
  const groups = makeGroups(model, rules);
  const states = new Map<Parameter, RuleState>();
  const generations = new WeakMap<RuleState, number>();
  /** None of a value that was replaced by one of another shape. */
  const stateOf = (parameter: Parameter): RuleState | undefined => {
    const state = states.get(parameter);
    return state && generations.get(state) === parameter.generation ? state : undefined;
  };
  const keepState = (parameter: Parameter, state: RuleState): void => {
    generations.set(state, parameter.generation);
    states.set(parameter, pinState(state));
  };
  const leader = groups.find((group) => group.rule.options.lr !== undefined) ?? groups[0];

  return {
    groups,
    get lr() {
      return leader.lr;
    },
    set lr(value) {
      checkAtLeast("optimizer", "lr", value, 0);
      if (leader.initialLr === 0) {
        throw new OptionError("optimizer: lr cannot scale an initial rate, got 0; set the lr of the groups");
      }
      for (const group of groups) group.lr = value * (group.initialLr / leader.initialLr);
    },
    step() {
      for (const { parameters } of groups)
        for (const { parameter } of parameters) makeRoom(parameter.value.storage.bytes * mostArrays);
      const work: Work[] = [];
      groups.forEach((group, i) => {
        checkAtLeast("step", `the lr of group ${i}`, group.lr, 0);
        for (const { path, parameter } of group.parameters) {
          const grad = gradOf(path, parameter);
          if (grad) work.push({ group, parameter, path, grad: clipValue ? clamp(grad, clipValue) : grad });
        }
      });
      if (clipNorm === null) checkFinite(work);
      const factor = clipNorm === null ? 1 : clippingFactor(work, clipNorm);
      const update = ({ group, grad }: Work, weight: FloatArray, state: RuleState): void => {
        const scaled = factor < 1 ? grad.map((g) => g * factor) : grad;
        synchronous(
          "step",
          group.rule.update(weight, scaled, state, group.lr) as unknown,
          "update of a rule",
        );
      };
      // All that may fail comes before the first write.
      const [fresh, writes] = undoing(() => {
        const fresh = new Map<Parameter, RuleState>();
        const writes = work.map((item) => {
          const { group, path, parameter } = item;
          const state = stateOf(parameter) ?? makeState(group.rule, path, parameter, rng ?? defaultRng());
          if (!stateOf(parameter)) fresh.set(parameter, state);
          return parameter.store
            ? staged(`step: ${path}`, parameter, state, (weight, next) => update(item, weight, next))
            : null;
        });
        return [fresh, writes] as const;
      });
      for (const [parameter, state] of fresh) keepState(parameter, state);
      for (const [i, item] of work.entries()) {
        const { parameter, path } = item;
        const state = states.get(parameter)!;
        const write = writes[i];
        if (write) write(state);
        else parameter.update((weight) => update(item, weight, state), `step: ${path}`);
      }
    },
    zeroGrad() {
      for (const { parameters } of groups) for (const { parameter } of parameters) parameter.grad = null;
    },
    stateDict() {
      const saved: OptimizerState = {};
      for (const group of groups) {
        for (const { path, parameter } of group.parameters) {
          saved[`lr.${path}`] = group.lr;
          for (const [key, value] of Object.entries(group.hyper)) saved[`hyper.${path}.${key}`] = value;
          for (const [slot, held] of Object.entries(stateOf(parameter) ?? {})) {
            const key = `state.${path}.${slot}`;
            saved[key] = savedSlot(key, held, parameter);
          }
        }
      }
      return saved;
    },
    loadStateDict(saved) {
      if (!isPlainObject(saved)) {
        throw new OptionError(`loadStateDict: a state is an object of values by name, got ${show(saved)}`);
      }
      const unread = new Set(Object.keys(saved));
      const settings = groups.map((group, i) => settingsOf(group, i, saved, unread));
      const restored = new Map<Parameter, RuleState>();
      for (const [i, { parameters }] of groups.entries()) {
        const { rule } = settings[i];
        for (const { path, parameter } of parameters) {
          // What is drawn is read over.
          const state = makeState(rule, path, parameter, new Rng(0));
          // A parameter that has had no gradient yet has no state.
          if (!Object.keys(state).some((slot) => unread.has(`state.${path}.${slot}`))) continue;
          for (const slot of Object.keys(state)) {
            const key = `state.${path}.${slot}`;
            unread.delete(key);
            state[slot] = readSlot(key, state[slot], saved[key], parameter);
          }
          restored.set(parameter, state);
        }
      }
      if (unread.size > 0) {
        throw new FormatError(
          `loadStateDict: the state holds what this optimizer has not, got ${show([...unread])}`,
        );
      }
      groups.forEach((group, i) => {
        group.lr = settings[i].lr;
        group.use(settings[i].rule);
      });
      states.clear();
      for (const [parameter, state] of restored) keepState(parameter, state);
    },
  };
}

// What a kernel of a rule works on: weight, gradient, and at most three arrays of state, each in a block of its own.
const mostArrays = 6;

/** The rate of a group and its rule with the hyper-parameters that were saved. */
function settingsOf(
  group: RuleGroup,
  i: number,
  saved: OptimizerState,
  unread: Set<string>,
): { lr: number; rule: UpdateRule } {
  const read = (what: string, name: (path: string) => string) =>
    groupNumber(group, i, what, name, saved, unread);
  const lr = read("rates", (path) => `lr.${path}`);
  checkAtLeast("loadStateDict", `lr.${group.parameters[0].path}`, lr, 0);
  const hyper: HyperParameters = {};
  // States written before hyper-parameters were saved hold none: theirs stay as they are.
  if (!Object.keys(saved).some((key) => key.startsWith("hyper."))) return { lr, rule: group.rule };
  for (const key of Object.keys(group.hyper)) hyper[key] = read(key, (path) => `hyper.${path}.${key}`);
  return { lr, rule: withHyper(group.rule, hyper) };
}

/** The number that all parameters of a group were saved with, by its name for each. */
function groupNumber(
  { parameters }: Group,
  i: number,
  what: string,
  name: (path: string) => string,
  saved: OptimizerState,
  unread: Set<string>,
): number {
  const numbers = parameters.map(({ path }) => {
    const key = name(path);
    const value = saved[key];
    if (typeof value !== "number") throw mismatch(key, "a number", value);
    unread.delete(key);
    return value;
  });
  const other = numbers.findIndex((value) => !Object.is(value, numbers[0]));
  if (other >= 0) {
    throw new FormatError(
      `loadStateDict: parameters of one group had ${what} of their own, got ${numbers[0]} for ${parameters[0].path} and ${numbers[other]} for ${parameters[other].path} in group ${i}; make the optimizer by the rows it was saved with`,
    );
  }
  return numbers[0];
}

function gradOf(path: string, { grad, value }: Parameter): FloatArray | null {
  if (grad === null) return null;
  if (!sameShape(grad.shape, value.shape)) {
    throw new ShapeError(
      `step: a gradient must have its parameter's shape, got ${show(grad.shape)} for ${show(value.shape)} in ${path}`,
    );
  }
  return grad.data as FloatArray;
}

const clamp = (grad: FloatArray, limit: number): FloatArray =>
  grad.map((g) => Math.min(Math.max(g, -limit), limit));

interface Work {
  readonly group: Group;
  readonly parameter: Parameter;
  readonly path: string;
  readonly grad: FloatArray;
}

function checkFinite(work: readonly Work[]): void {
  for (const { path, grad } of work) {
    if (!anyNonFinite(grad, grad.length)) continue;
    throw new GradError(
      `step: a gradient must be finite, got ${grad.find((g) => !Number.isFinite(g))} in that of ${path}; no parameter was changed`,
    );
  }
}

function clippingFactor(work: readonly Work[], maxNorm: number): number {
  const norm = gradNorm(work.map(({ grad }) => grad));
  if (Number.isFinite(norm)) return clipFactor(norm, maxNorm);
  checkFinite(work);
  throw new GradError(`step: the norm of the gradients overflows, got ${norm}`);
}
