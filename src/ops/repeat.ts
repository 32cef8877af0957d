/** Padding, rolling and repeating, mostly composed of the movement ops. */

import { walkRows } from "../../kernels/elementwise/reference.ts";
import { convertArray } from "../dtype.ts";
import { OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { normalizeAxis, type Shape, stridesOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike, wrap } from "../tensor.ts";
import { concat } from "./join.ts";
import { reshape, slice } from "./movement.ts";
import { defineOp } from "./op.ts";

type Pads = readonly (readonly [before: number, after: number])[];

const padOp = defineOp<[x: Tensor], { pads: Pads; value: number }>("pad", {
  arity: 1,
  options: { pads: [], value: 0 },
  shape: ([x], { pads }) => x.shape.map((n, i) => n + pads[i][0] + pads[i][1]),
  forward(out, [x], { pads, value }, output) {
    if (value !== 0) out.fill(convertArray("pad", [value], x.dtype)[0]);
    const strides = stridesOf(output.shape);
    const start = pads.reduce((at, [before], i) => at + before * strides[i], 0);
    const { data } = x;
    walkRows(x.shape, [strides], (at, n, [i]) => {
      for (let k = 0; k < n; k++) out[start + i + k] = data[at + k];
    });
  },
  vjp: (grad, { inputs: [x] }, { pads }) => [
    grad.slice(x.shape.map((n, i) => [pads[i][0], pads[i][0] + n] as const)),
  ],
});

export interface PadOptions {
  /** What to fill with: a constant, the mirror image without the edge, or the edge. */
  mode: "constant" | "reflect" | "replicate";
  value: number;
}

/** x grown by [before, after] elements on each axis; `pads` may name only the last axes. Pads are not negative. */
export function pad(x: TensorLike, pads: Pads, options?: Partial<PadOptions>): Tensor {
  const { mode, value } = readOptions<PadOptions>("pad", options, { mode: "constant", value: 0 });
  x = asTensor("pad", x);
  if (!Array.isArray(pads) || pads.length > x.rank) {
    throw new ShapeError(`pad: needs one [before, after] an axis, got ${show(pads)} for rank ${x.rank}`);
  }
  const all: Pads = [...Array(x.rank - pads.length).fill([0, 0]), ...pads];
  for (const p of all) {
    if (!Array.isArray(p) || p.length !== 2 || !p.every((n) => Number.isInteger(n) && n >= 0)) {
      throw new OptionError(`pad: pads must be pairs of non-negative integers, got ${show(pads)}`);
    }
  }
  if (mode === "constant") return padOp(x, { pads: all, value });
  if (mode !== "reflect" && mode !== "replicate") {
    throw new OptionError(`pad: unknown mode, got ${show(mode)}; use "constant", "reflect" or "replicate"`);
  }
  let result = x;
  all.forEach(([before, after], axis) => {
    const n = x.shape[axis];
    if (before + after === 0) return;
    if (mode === "reflect" ? Math.max(before, after) >= n : n === 0) {
      throw new ShapeError(
        `pad: ${mode} padding reaches beyond the axis, got ${show([before, after])} on axis ${axis} of size ${n}`,
      );
    }
    const at = Int32Array.from({ length: n + before + after }, (_, i) => {
      const k = i - before;
      if (mode === "replicate") return Math.min(Math.max(k, 0), n - 1);
      return k < 0 ? -k : k >= n ? 2 * (n - 1) - k : k;
    });
    result = result.indexSelect(wrap(at, [at.length], "int32"), { axis });
  });
  return result;
}

/** Elements shifted along an axis, those that leave coming back at the other end. Without an axis, x is rolled flat. */
export function roll(
  x: TensorLike,
  shift: number | readonly number[],
  options?: { axis?: number | readonly number[] },
): Tensor {
  const { axis } = readOptions("roll", options, {
    axis: undefined as number | readonly number[] | undefined,
  });
  x = asTensor("roll", x);
  if (axis === undefined) {
    if (typeof shift !== "number")
      throw new OptionError(`roll: several shifts need as many axes, got ${show(shift)}`);
    return reshape(roll(reshape(x, [x.size]), shift, { axis: 0 }), x.shape);
  }
  const shifts = typeof shift === "number" ? [shift] : shift;
  const axes = typeof axis === "number" ? [axis] : axis;
  if (!Array.isArray(shifts) || !Array.isArray(axes) || shifts.length !== axes.length)
    throw new OptionError(`roll: needs one shift an axis, got ${show(shift)} and ${show(axis)}`);
  return axes.reduce((t, a, i) => {
    const k = normalizeAxis("roll", a, t.rank);
    const n = t.shape[k];
    if (!Number.isInteger(shifts[i]))
      throw new OptionError(`roll: a shift must be an integer, got ${show(shifts[i])}`);
    const by = n === 0 ? 0 : ((shifts[i] % n) + n) % n;
    if (by === 0) return t;
    const lead = Array<null>(k).fill(null);
    return concat([slice(t, [...lead, [n - by, n]]), slice(t, [...lead, [0, n - by]])], { axis: k });
  }, x);
}

/** x repeated whole, `repeats[i]` times along axis i; more repeats than axes add axes in front. torch.Tensor.repeat. */
export function tile(x: TensorLike, repeats: readonly number[]): Tensor {
  x = asTensor("tile", x);
  if (!Array.isArray(repeats) || !repeats.every((n) => Number.isInteger(n) && n >= 0)) {
    throw new OptionError(`tile: repeats must be non-negative integers, got ${show(repeats)}`);
  }
  const rank = Math.max(x.rank, repeats.length);
  const shape: Shape = [...Array(rank - x.rank).fill(1), ...x.shape];
  const times: Shape = [...Array(rank - repeats.length).fill(1), ...repeats];
  const spread = x.reshape(shape.flatMap((n) => [1, n])).broadcastTo(shape.flatMap((n, i) => [times[i], n]));
  return reshape(
    spread,
    shape.map((n, i) => n * times[i]),
  );
}

/** Each element repeated `times` in place along an axis. */
export function repeatInterleave(x: TensorLike, times: number, options?: { axis?: number }): Tensor {
  const { axis } = readOptions("repeatInterleave", options, { axis: 0 });
  x = asTensor("repeatInterleave", x);
  if (!Number.isInteger(times) || times < 0)
    throw new OptionError(`repeatInterleave: times must be a non-negative integer, got ${show(times)}`);
  const k = normalizeAxis("repeatInterleave", axis, x.rank);
  const spread = x.unsqueeze(k + 1).broadcastTo([...x.shape.slice(0, k + 1), times, ...x.shape.slice(k + 1)]);
  return reshape(
    spread,
    x.shape.map((n, i) => (i === k ? n * times : n)),
  );
}

export { padOp };
