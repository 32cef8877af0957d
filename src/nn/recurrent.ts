/** Recurrent networks over time: RNN, LSTM, GRU, in layers and in both directions. Their steps are cells. */

import { readOptions, ShapeError, show } from "../errors.ts";
import { concat, split } from "../ops/join.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { Dropout } from "./dropout.ts";
import {
  type Cell,
  type CellOptions,
  type CellState,
  cellDefaults,
  GRUCell,
  LSTMCell,
  pairOf,
  RNNCell,
  type RnnCellOptions,
  rnnDefaults,
  stateOf,
} from "./recurrent-cells.ts";
import { checkSizes } from "./sizes.ts";

export interface RecurrentOptions extends CellOptions {
  /** Each reads the outputs of the one before; default 1. */
  layers: number;
  /** Also reads backwards, with cells of its own; outputs are then 2 · hidden. */
  bidirectional: boolean;
  /** The share of outputs dropped between layers in training. */
  dropout: number;
}

export interface RnnOptions extends RecurrentOptions, RnnCellOptions {}

const ofNetwork = { layers: 1, bidirectional: false, dropout: 0 };

/** Tensors (B, C), one a step, as (T, B, C). */
const overTime = (steps: readonly Tensor[]): Tensor =>
  concat(steps).reshape([steps.length, ...steps[0].shape]);

/** (n, …) as n tensors (…). */
const each = (t: Tensor): Tensor[] => split(t, 1).map((part) => part.squeeze(0));

abstract class Recurrent<C extends Cell> {
  /** By layer: `l0`, `l0Reverse`, `l1`, … PyTorch's `weight_ih_l0_reverse` is `cells.l0Reverse.weightIh`. */
  readonly cells: Readonly<Record<string, C>>;
  readonly layers: number;
  readonly bidirectional: boolean;
  /** Between layers. */
  readonly dropout: Dropout;

  constructor(
    op: string,
    make: (inputSize: number) => C,
    inputSize: number,
    hiddenSize: number,
    { layers, bidirectional, dropout, rng }: RecurrentOptions,
  ) {
    checkSizes(op, { inputSize, hiddenSize, layers });
    const cells: Record<string, C> = {};
    const sides = bidirectional ? ["", "Reverse"] : [""];
    for (let i = 0; i < layers; i++)
      for (const side of sides) cells[`l${i}${side}`] = make(i === 0 ? inputSize : sides.length * hiddenSize);
    this.cells = cells;
    this.layers = layers;
    this.bidirectional = bidirectional;
    this.dropout = new Dropout(dropout, { rng });
  }

  get inputSize(): number {
    return this.cells.l0.inputSize;
  }

  get hiddenSize(): number {
    return this.cells.l0.hiddenSize;
  }

  /** Outputs (B, T, sides · hidden), and every part of the state after the last step, (layers · sides, B, hidden). */
  protected run(
    op: string,
    given: TensorLike,
    state: readonly (TensorLike | null)[],
  ): { output: Tensor; state: Tensor[] } {
    const x = asTensor(op, given);
    const { inputSize, hiddenSize } = this;
    if (x.rank !== 3 || x.shape[2] !== inputSize || x.shape[1] === 0)
      throw new ShapeError(`${op}: needs (B, T, ${inputSize}) with T above 0, got ${show(x.shape)}`);
    const cells = Object.values<Cell>(this.cells);
    const shape = [cells.length, x.shape[0], hiddenSize];
    const { dtype } = cells[0].weightHh.value;
    const before = state.map((part) => each(stateOf(op, part, shape, dtype)));
    const after: CellState[] = [];
    const sides = this.bidirectional ? 2 : 1;
    let sequence = x.transpose(0, 1);
    for (let layer = 0; layer < this.layers; layer++) {
      if (layer > 0) sequence = this.dropout.forward(sequence);
      const outputs: Tensor[] = [];
      for (let side = 0; side < sides; side++) {
        const at = layer * sides + side;
        const cell = cells[at];
        const step = cell.stepper();
        const steps = each(cell.project(sequence));
        if (side === 1) steps.reverse();
        let now: CellState = before.map((part) => part[at]);
        const hs = steps.map((projected) => {
          now = step(projected, now);
          return now[0];
        });
        if (side === 1) hs.reverse();
        outputs.push(overTime(hs));
        after.push(now);
      }
      sequence = sides === 1 ? outputs[0] : concat(outputs, { axis: 2 });
    }
    return {
      output: sequence.transpose(0, 1),
      state: state.map((_, part) => overTime(after.map((parts) => parts[part]))),
    };
  }
}

export interface RecurrentCall {
  /** The state before the first step, (layers · sides, B, hidden); zeros unless told otherwise. */
  state: TensorLike | null;
}

export interface LstmCall {
  /** Output and cell before the first step, each (layers · sides, B, hidden); zeros unless told otherwise. */
  state: readonly [h: TensorLike, c: TensorLike] | null;
}

export interface RecurrentResult {
  /** Outputs of the last layer, (B, T, sides · hidden). */
  output: Tensor;
  /** That of every layer after the last step, (layers · sides, B, hidden). */
  state: Tensor;
}

export interface LstmResult {
  /** Outputs of the last layer, (B, T, sides · hidden). */
  output: Tensor;
  /** Output and cell of every layer after the last step, each (layers · sides, B, hidden). */
  state: [h: Tensor, c: Tensor];
}

/**
 * Layers of RNNCell over time: (B, T, input) -> (B, T, hidden). PyTorch's states load by their names.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { RNN } from "bitgrad/nn";
 *
 * const { output, state } = new RNN(8, 16, { layers: 2 }).forward(zeros([4, 10, 8]));
 * console.log(output.shape, state.shape); // [4, 10, 16] [2, 4, 16]
 * ```
 */
export class RNN extends Recurrent<RNNCell> {
  constructor(inputSize: number, hiddenSize: number, options?: Partial<RnnOptions>) {
    const settings = readOptions<RnnOptions>("RNN", options, { ...rnnDefaults, ...ofNetwork });
    const { bias, dtype, rng, nonlinearity } = settings;
    const make = (size: number) => new RNNCell(size, hiddenSize, { bias, dtype, rng, nonlinearity });
    super("RNN", make, inputSize, hiddenSize, settings);
  }

  forward(x: TensorLike, options?: Partial<RecurrentCall>): RecurrentResult {
    const { state } = readOptions<RecurrentCall>("RNN", options, { state: null });
    const { output, state: after } = this.run("RNN", x, [state]);
    return { output, state: after[0] };
  }
}

/**
 * Layers of LSTMCell over time: (B, T, input) -> (B, T, hidden). PyTorch's states load by their names.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { LSTM } from "bitgrad/nn";
 *
 * const { output, state } = new LSTM(8, 16, { bidirectional: true }).forward(zeros([4, 10, 8]));
 * console.log(output.shape, state[0].shape, state[1].shape); // [4, 10, 32] [2, 4, 16] [2, 4, 16]
 * ```
 */
export class LSTM extends Recurrent<LSTMCell> {
  constructor(inputSize: number, hiddenSize: number, options?: Partial<RecurrentOptions>) {
    const settings = readOptions<RecurrentOptions>("LSTM", options, { ...cellDefaults, ...ofNetwork });
    const { bias, dtype, rng } = settings;
    const make = (size: number) => new LSTMCell(size, hiddenSize, { bias, dtype, rng });
    super("LSTM", make, inputSize, hiddenSize, settings);
  }

  forward(x: TensorLike, options?: Partial<LstmCall>): LstmResult {
    const { state } = readOptions<LstmCall>("LSTM", options, { state: null });
    const { output, state: after } = this.run("LSTM", x, pairOf("LSTM", state));
    return { output, state: [after[0], after[1]] };
  }
}

/**
 * Layers of GRUCell over time: (B, T, input) -> (B, T, hidden). PyTorch's states load by their names.
 *
 * @example
 * ```ts
 * import { zeros } from "bitgrad";
 * import { GRU } from "bitgrad/nn";
 *
 * console.log(new GRU(8, 16).forward(zeros([4, 10, 8])).output.shape); // [4, 10, 16]
 * ```
 */
export class GRU extends Recurrent<GRUCell> {
  constructor(inputSize: number, hiddenSize: number, options?: Partial<RecurrentOptions>) {
    const settings = readOptions<RecurrentOptions>("GRU", options, { ...cellDefaults, ...ofNetwork });
    const { bias, dtype, rng } = settings;
    const make = (size: number) => new GRUCell(size, hiddenSize, { bias, dtype, rng });
    super("GRU", make, inputSize, hiddenSize, settings);
  }

  forward(x: TensorLike, options?: Partial<RecurrentCall>): RecurrentResult {
    const { state } = readOptions<RecurrentCall>("GRU", options, { state: null });
    const { output, state: after } = this.run("GRU", x, [state]);
    return { output, state: after[0] };
  }
}
