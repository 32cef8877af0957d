/** What holds of every spec: of its codes, and of the quantizers that are made of it. */

import { Rng, type Tensor } from "bitgrad";
import {
  bitnet158,
  bwn,
  chooseParams,
  dequantize,
  fakeQuantize,
  type Granularity,
  nf4,
  type Quantizer,
  type QuantSpec,
  quantize,
  type ScaleOptions,
} from "bitgrad/quant";
import { arb, laws } from "bitgrad/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const list = (t: Tensor): number[] => Array.from(t.data as ArrayLike<number>);
const isSigns = ({ bits, scheme }: QuantSpec): boolean => bits === 1 && scheme === "symmetric";
const cases = fc.tuple(arb.weights({ max: 1e4 }), arb.spec());

describe("codes of every spec", () => {
  it("are integers from qmin to qmax, and no more than its bits tell apart", () => {
    fc.assert(
      fc.property(cases, ([x, how]) => {
        const codes = list(quantize(x, how).codes as Tensor);
        const odd = codes.filter((q) => !(Number.isInteger(q) && q >= how.qmin && q <= how.qmax));
        expect(odd).toEqual([]);
        expect(how.qmax - how.qmin).toBeLessThan(isSigns(how) ? 3 : 2 ** how.bits);
      }),
    );
  });

  it("stand for what fake quantization gives, by the same draws", () => {
    fc.assert(
      fc.property(cases, ([x, how]) => {
        const values = fakeQuantize(x, how, null, { rng: new Rng(3) });
        expect(list(values)).toEqual(list(dequantize(quantize(x, how, null, { rng: new Rng(3) }))));
      }),
    );
  });

  it("are those of the values that they stand for, by the same scales", () => {
    fc.assert(
      fc.property(cases, ([x, how]) => {
        const q = quantize(x, how);
        // Draws round an integer that a quotient misses by a bit to its neighbour.
        const steady = how.rounding === "stochastic" ? { ...how, rounding: "half-even" as const } : how;
        expect(list(quantize(dequantize(q), steady, q).codes as Tensor)).toEqual(list(q.codes as Tensor));
      }),
    );
  });

  it("rise with the numbers, or fall where the scale is negative", () => {
    fc.assert(
      fc.property(cases, ([x, how]) => {
        if (how.rounding === "stochastic" || how.granularity !== "tensor") return;
        const { scale, codes } = quantize(x, how);
        const order = list(x)
          .map((v, i) => [v, i] as const)
          .sort(([a], [b]) => a - b)
          .map(([, i]) => (codes.data[i] as number) * Math.sign(scale.item() || 1));
        expect(order.filter((q, i) => q < order[i - 1])).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });

  it("keep zeros 0 but for signs, float zero points, and codebooks without a 0", () => {
    fc.assert(
      fc.property(cases, ([x, how]) => {
        if (isSigns(how) || how.zeroPoint === "float" || how.codebook?.includes(0) === false) return;
        const values = list(fakeQuantize(x, how));
        expect(values.filter((v, i) => x.data[i] === 0 && v !== 0)).toEqual([]);
        expect(values.some((v) => Object.is(v, -0))).toBe(false);
      }),
    );
  });
});

const packed = "gives the same numbers packed, written and read";
const zeros = "keeps zeros 0";

/** The laws that a quantizer of a spec need not keep, each for its reason. */
function exceptions({ granularity, axis, zeroPoint, signed, codebook }: QuantSpec): string[] {
  const except: string[] = [];
  // Packed weights have a scale a row, not a column.
  const byColumns = granularity === "channel" || (typeof granularity === "object" && "group" in granularity);
  const ofRows = granularity === "channel" ? axis % 2 === 0 : Math.abs(axis) === 1;
  if (byColumns && !ofRows) except.push(packed);
  // Packed codes with float zero points have no sign.
  else if (zeroPoint === "float" && signed) except.push(packed);
  // A run of zeros has scale 1, and takes the level nearest to 0.
  if (codebook?.includes(0) === false) except.push(zeros);
  return except;
}

/**
 * Twice the weights have the same codes, but by a scale that is bounded below, by one that stays float32 where float16 loses
 * bits, of equal numbers by a float zero point that is rounded beside a code, and of zeros by a codebook without a 0.
 */
const isScaleFree = ({ eps, scaleDtype, zeroPoint, signed, codebook }: QuantSpec): boolean =>
  eps === 0 &&
  scaleDtype !== "float16" &&
  !(zeroPoint === "float" && signed) &&
  codebook?.includes(0) !== false;

const hold = (make: () => Quantizer, how: QuantSpec): void => {
  const options = { nearest: true, scaleFree: isScaleFree(how), except: exceptions(how) };
  for (const { check } of laws.quantizer(make, options)) check();
};

describe("laws.quantizer holds", () => {
  it("of the quantizer of any spec that draws nothing", () => {
    fc.assert(
      // Drawn codes are others each time.
      fc.property(
        arb.spec().filter(({ rounding }) => rounding !== "stochastic"),
        (how) => hold(() => ({ name: "own", spec: how, params: (x) => chooseParams(x, how) }), how),
      ),
      { numRuns: 60 },
    );
  });

  const granularity = fc.constantFrom<Granularity>(
    "tensor",
    "channel",
    "token",
    { group: 7 },
    { block: [2, 9] },
  );
  const anyScale = fc.constantFrom("float32", "float16", "bfloat16", "e8m0");
  // Signs have no e8m0 scales.
  const floats = fc.constantFrom("float32", "float16", "bfloat16");
  it.each([
    ["bwn", bwn, floats],
    ["centered bwn", (how: Partial<ScaleOptions>) => bwn({ ...how, center: true }), anyScale],
    ["bitnet158", bitnet158, anyScale],
    ["nf4", nf4, anyScale],
  ] as const)("of %s by every granularity and type of scales", (_, make, scaleDtype) => {
    fc.assert(
      fc.property(fc.record({ granularity, scaleDtype }), (options) =>
        hold(() => make(options), make(options).spec),
      ),
      { numRuns: 20 },
    );
  });
});
