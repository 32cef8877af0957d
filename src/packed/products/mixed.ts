/**
 * Codes of the input but of its outliers, which meet the weights' values in float32: both products are added. Features
 * count, not single numbers. LLM.int8(), Dettmers et al., 2022, arXiv:2208.07339.
 */

import type { ConvGeometry } from "../../../kernels/conv/reference.ts";
import { plus } from "../../../kernels/elementwise/arithmetic.ts";
import { binary, conv2d, gemm } from "../../backend.ts";
import { readColumns } from "../file/weight.ts";
import { afford, giveBack, room, work } from "../values.ts";
import { checkFinite, type MixedInput } from "./input.ts";
import type { Layer } from "./laid.ts";
import { alone, type Featured, outliersOf, without } from "./outliers.ts";
import { Operands, type Way } from "./way.ts";

interface Floats<S> {
  layout(of: Operands, size: S): Featured;
  /** Writes the product of some features of x alone, without the bias. */
  multiply(
    out: Float32Array,
    x: Float32Array,
    lies: Featured,
    some: readonly number[],
    of: Operands,
    size: S,
  ): void;
}

/** The first of the ways of codes that serves what is left; without outliers that is all. */
const mixed = <S>(ways: readonly Way<S>[], { layout, multiply }: Floats<S>): Way<S> => ({
  serves: ({ input }) => input?.kind === "mixed",

  run(out, x, size, of) {
    const { op, weight, bias, laid } = of;
    const { bits, threshold } = of.input as MixedInput;
    const lies = layout(of, size);
    const some = outliersOf(x, lies, threshold);
    const inner = laid.get("codes", () => new Operands(op, weight, { kind: "dynamic", bits }, bias))!;
    const multiplyCodes = (y: Float32Array, rest: Float32Array) =>
      ways.find((way) => way.serves(inner) && way.run(y, rest, size, inner));
    if (some.length === 0) return multiplyCodes(out, x) !== undefined;
    checkFinite(op, x, x.length);
    const [codes, floats] = [room(out.length), room(out.length)];
    multiplyCodes(codes, without(x, lies, some));
    multiply(floats, x, lies, some, of, size);
    binary(out, [out.length], codes, [out.length], floats, [out.length], plus);
    return true;
  },
});

/** Some columns of a weight. */
class Columns implements Layer {
  readonly values: Float32Array;

  constructor({ weight }: Operands, some: readonly number[]) {
    this.values = readColumns(weight.coded!, some);
  }

  free(): void {
    giveBack(this.values);
  }
}

const rows: Floats<number> = {
  layout: ({ weight }) => ({ features: weight.columns, inner: 1 }),

  multiply(out, x, { features }, some, of, m) {
    const { rows: n } = of.weight;
    const k = some.length;
    work(m * n * k);
    const part = room(m * k);
    for (let r = 0; r < m; r++) for (let i = 0; i < k; i++) part[r * k + i] = x[r * features + some[i]];
    // Outliers lie in the same features from call to call.
    const { values } = of.laid.get("columns", () => new Columns(of, some), some.join())!;
    gemm(out, part, values, { m, k, n, transposeA: false, transposeB: true });
  },
};

const images: Floats<ConvGeometry> = {
  layout: (_, { c, h, w }) => ({ features: c, inner: h * w }),

  multiply(out, x, lies, some, { weight }, g) {
    afford(weight.columns * g.oh * g.ow);
    work(out.length * weight.columns);
    conv2d(out, alone(x, lies, some), weight.dequantized(), g);
  },
};

export const mixedRows = (ways: readonly Way<number>[]): Way<number> => mixed(ways, rows);
export const mixedConv = (ways: readonly Way<ConvGeometry>[]): Way<ConvGeometry> => mixed(ways, images);
