/** Rotary positions. */

import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";
import { defineOp, type Grads } from "./op.ts";
import { floats } from "./softmax.ts";

export interface RotaryOptions {
  /** Position of the first row. */
  offset: number;
  base: number;
  /** Pairs (2j, 2j + 1) or (j, j + D/2). */
  style: "interleaved" | "half";
}

const rotaryOp = defineOp<[x: Tensor], RotaryOptions & { sign: number }>("rotary", {
  writesAll: true,
  arity: 1,
  options: { offset: 0, base: 10000, style: "interleaved", sign: 1 },
  shape: ([x]) => x,
  forward(out, [x], { offset, base, style, sign }) {
    const [t, d] = x.shape.slice(-2);
    const half = d / 2;
    const { data } = x;
    const [step, gap] = style === "half" ? [1, half] : [2, 1];
    for (let p = 0; p < t; p++) {
      for (let j = 0; j < half; j++) {
        const angle = sign * (p + offset) * base ** ((-2 * j) / d);
        const cos = Math.cos(angle);
        const sin = Math.sin(angle);
        for (let i = p * d + j * step; i < data.length; i += t * d) {
          const a = data[i];
          const b = data[i + gap];
          out[i] = a * cos - b * sin;
          out[i + gap] = a * sin + b * cos;
        }
      }
    }
  },
  vjp: (grad, _, options): Grads => [rotaryOp(grad, { ...options, sign: -options.sign })],
});

/** Throws OptionError for a style or base that is none. */
export function readRotary(op: string, options: Partial<RotaryOptions> | undefined): RotaryOptions {
  const given = readOptions<RotaryOptions>(op, options, { offset: 0, base: 10000, style: "interleaved" });
  const { base, style } = given;
  if (style !== "interleaved" && style !== "half")
    throw new OptionError(`${op}: unknown style, got ${show(style)}; use "interleaved" or "half"`);
  if (!(base > 0 && base < Infinity))
    throw new OptionError(`${op}: base must be above 0 and finite, got ${show(base)}`);
  return given;
}

/**
 * Rotary position embedding of (…, T, D): pair j at position p turns by p · base^(−2j/D). Su et al., 2021,
 * arXiv:2104.09864.
 */
export function rotary(x: TensorLike, options?: Partial<RotaryOptions>): Tensor {
  x = asTensor("rotary", x);
  const given = readRotary("rotary", options);
  if (x.rank < 2 || x.shape[x.rank - 1] % 2 !== 0)
    throw new ShapeError(`rotary: needs (…, T, D) with an even D, got ${show(x.shape)}`);
  return rotaryOp(floats(x), given);
}

export { rotaryOp };
