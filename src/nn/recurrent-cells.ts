/** One step of recurrent networks: RNNCell, LSTMCell, GRUCell. Networks over time are in `recurrent.ts`. */

import type { DType } from "../dtype.ts";
import { checkChoice, readOptions, ShapeError, show } from "../errors.ts";
import { zeros } from "../ops/create.ts";
import { split } from "../ops/join.ts";
import type { Rng } from "../random/rng.ts";
import { sameShape } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { blank } from "./blank.ts";
import { type RngOption, uniform } from "./init.ts";
import { Parameter } from "./parameter.ts";
import { checkFloat, checkSizes } from "./sizes.ts";

export interface CellOptions extends RngOption {
  /** Two biases, of the input's product and of the state's, as in PyTorch. */
  bias: boolean;
  dtype: DType;
}

export interface RnnCellOptions extends CellOptions {
  nonlinearity: "tanh" | "relu";
}

export const cellDefaults: CellOptions = { bias: true, dtype: "float32", rng: null as Rng | null };
export const rnnDefaults: RnnCellOptions = { ...cellDefaults, nonlinearity: "tanh" };

/** What a step hands to the next: the output, and for an LSTM its cell. Each (B, hidden). */
export type CellState = readonly Tensor[];
/** The next state, of the input's product and the state. */
export type Step = (projected: Tensor, state: CellState) => CellState;

/** Weights of `gates` gates one under another, drawn from ±1/√hidden as in PyTorch. */
export abstract class Cell {
  /** (gates · hidden, input). */
  weightIh: Parameter;
  /** (gates · hidden, hidden). */
  weightHh: Parameter;
  biasIh: Parameter | null;
  biasHh: Parameter | null;

  constructor(op: string, gates: number, inputSize: number, hiddenSize: number, options: CellOptions) {
    checkSizes(op, { inputSize, hiddenSize });
    const { bias, dtype, rng } = options;
    checkFloat(op, dtype);
    const bound = 1 / Math.sqrt(hiddenSize);
    const drawn = (...shape: number[]) =>
      uniform(new Parameter(blank(shape, dtype)), { low: -bound, high: bound, rng });
    this.weightIh = drawn(gates * hiddenSize, inputSize);
    this.weightHh = drawn(gates * hiddenSize, hiddenSize);
    this.biasIh = bias ? drawn(gates * hiddenSize) : null;
    this.biasHh = bias ? drawn(gates * hiddenSize) : null;
  }

  get inputSize(): number {
    return this.weightIh.shape[1];
  }

  get hiddenSize(): number {
    return this.weightHh.shape[1];
  }

  /** The input's part of all gates, (…, input) -> (…, gates · hidden): that of many steps is one product. */
  project(x: Tensor): Tensor {
    return x.linear(this.weightIh.effective(), this.biasIh?.effective());
  }

  /** A step, with weights that are read once for all steps. */
  abstract stepper(): Step;

  /** The state's part of all gates. */
  protected product(): (h: Tensor) => Tensor {
    const [weight, bias] = [this.weightHh.effective(), this.biasHh?.effective()];
    return (h) => h.linear(weight, bias);
  }

  protected once(
    op: string,
    given: TensorLike,
    state: readonly (TensorLike | null | undefined)[],
  ): CellState {
    const x = asTensor(op, given);
    if (x.rank !== 2 || x.shape[1] !== this.inputSize)
      throw new ShapeError(`${op}: needs (B, ${this.inputSize}), got ${show(x.shape)}`);
    const shape = [x.shape[0], this.hiddenSize];
    return this.stepper()(
      this.project(x),
      state.map((part) => stateOf(op, part, shape, this.weightHh.value.dtype)),
    );
  }
}

/** A part of a state, zeros where none is given. */
export function stateOf(
  op: string,
  given: TensorLike | null | undefined,
  shape: readonly number[],
  dtype: DType,
): Tensor {
  if (given === null || given === undefined) return zeros(shape, { dtype });
  const part = asTensor(op, given);
  if (sameShape(part.shape, shape)) return part;
  throw new ShapeError(`${op}: the state must have shape ${show(shape)}, got ${show(part.shape)}`);
}

/**
 * tanh(W_ih·x + b_ih + W_hh·h + b_hh), or relu of it. Elman, 1990.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { RNNCell } from "bitgrad/nn";
 *
 * const cell = new RNNCell(8, 16);
 * console.log(cell.forward(zeros([4, 8]), cell.forward(zeros([4, 8]))).shape); // [4, 16]
 * ```
 */
export class RNNCell extends Cell {
  readonly nonlinearity: "tanh" | "relu";

  constructor(inputSize: number, hiddenSize: number, options?: Partial<RnnCellOptions>) {
    const { nonlinearity, ...settings } = readOptions<RnnCellOptions>("RNNCell", options, rnnDefaults);
    checkChoice("RNNCell", "nonlinearity", nonlinearity, ["tanh", "relu"]);
    super("RNNCell", 1, inputSize, hiddenSize, settings);
    this.nonlinearity = nonlinearity;
  }

  stepper(): Step {
    const product = this.product();
    const { nonlinearity } = this;
    return (x, [h]) => [x.add(product(h))[nonlinearity]()];
  }

  /** The next state: (B, input), and the state (B, hidden) or none for zeros, -> (B, hidden). */
  forward(x: TensorLike, state?: TensorLike | null): Tensor {
    return this.once("RNNCell", x, [state])[0];
  }
}

/**
 * A step of an LSTM. Its gates are those of PyTorch, in this order: input, forget, cell, output. Hochreiter and Schmidhuber,
 * 1997.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { LSTMCell } from "bitgrad/nn";
 *
 * const [h, c] = new LSTMCell(8, 16).forward(zeros([4, 8]));
 * console.log(h.shape, c.shape); // [4, 16] [4, 16]
 * ```
 */
export class LSTMCell extends Cell {
  constructor(inputSize: number, hiddenSize: number, options?: Partial<CellOptions>) {
    super("LSTMCell", 4, inputSize, hiddenSize, readOptions("LSTMCell", options, cellDefaults));
  }

  stepper(): Step {
    const product = this.product();
    const size = this.hiddenSize;
    return (x, [h, c]) => {
      const [i, f, g, o] = split(x.add(product(h)), size, { axis: 1 });
      const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
      return [o.sigmoid().mul(next.tanh()), next];
    };
  }

  /** The next output and cell: (B, input), and a pair of both (B, hidden) or none for zeros, -> such a pair. */
  forward(x: TensorLike, state?: readonly [h: TensorLike, c: TensorLike] | null): [h: Tensor, c: Tensor] {
    const [h, c] = this.once("LSTMCell", x, pairOf("LSTMCell", state));
    return [h, c];
  }
}

/** Throws ShapeError for what is neither a pair nor nothing. */
export function pairOf(op: string, state: unknown): readonly (TensorLike | null)[] {
  if (state === null || state === undefined) return [null, null];
  if (Array.isArray(state) && state.length === 2)
    return state as unknown as readonly [TensorLike, TensorLike];
  throw new ShapeError(`${op}: the state must be a pair [h, c], got ${show(state)}`);
}

/**
 * A step of a GRU. Its gates are those of PyTorch, in this order: reset, update, new; the reset gate scales the state's
 * product. Cho et al., 2014, arXiv:1406.1078.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { GRUCell } from "bitgrad/nn";
 *
 * console.log(new GRUCell(8, 16).forward(zeros([4, 8])).shape); // [4, 16]
 * ```
 */
export class GRUCell extends Cell {
  constructor(inputSize: number, hiddenSize: number, options?: Partial<CellOptions>) {
    super("GRUCell", 3, inputSize, hiddenSize, readOptions("GRUCell", options, cellDefaults));
  }

  stepper(): Step {
    const product = this.product();
    const size = this.hiddenSize;
    return (x, [h]) => {
      const [xGates, xNew] = split(x, [2 * size, size], { axis: 1 });
      const [hGates, hNew] = split(product(h), [2 * size, size], { axis: 1 });
      const [reset, update] = split(xGates.add(hGates).sigmoid(), size, { axis: 1 });
      const fresh = xNew.add(reset.mul(hNew)).tanh();
      return [fresh.add(update.mul(h.sub(fresh)))];
    };
  }

  /** The next state: (B, input), and the state (B, hidden) or none for zeros, -> (B, hidden). */
  forward(x: TensorLike, state?: TensorLike | null): Tensor {
    return this.once("GRUCell", x, [state])[0];
  }
}
