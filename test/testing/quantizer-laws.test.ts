import { BitgradError, OptionError, type Tensor, tensor } from "bitgrad";
import { Parameter } from "bitgrad/nn";
import { chooseParams, type Quantizer, spec, ste } from "bitgrad/quant";
import { laws } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const codes = spec({ bits: 3, granularity: "channel" });
const params = (x: Tensor) => chooseParams(x, codes);
const own = (change: Partial<Quantizer> = {}) => ({ name: "own", spec: codes, params, ...change });

const failing = (make: () => Quantizer, options = {}): string[] =>
  laws.quantizer(make, options).flatMap(({ name, check }) => {
    try {
      check();
      return [];
    } catch (error) {
      expect(error).toBeInstanceOf(BitgradError);
      expect((error as BitgradError).code).toBe("LAW");
      expect((error as Error).message).toMatch(`laws.quantizer: own breaks its law, "${name}", got`);
      return [name];
    }
  });

const sameBits = "gives the same bits again, and in a copy";
const stored = "trains with the numbers that it stores";
const packed = "gives the same numbers packed, written and read";
const nearest = "takes the nearest level";
const gradient = "passes the gradient of its surrogate";
const rows = "gives each row codes of its own";
const twice = "gives twice the weights the same codes";
const zeros = "keeps zeros 0";
const odd = "refuses NaN and infinity";

describe("laws.quantizer", () => {
  it("holds for a quantizer by the contract, and lists what is asked for", () => {
    const all = laws.quantizer(() => own(), { nearest: true, scaleFree: true }).map(({ name }) => name);
    expect(all).toEqual([stored, packed, nearest, gradient, rows, twice, zeros, odd, sameBits]);
    expect(failing(() => own(), { nearest: true, scaleFree: true })).toEqual([]);
    const fewer = laws.quantizer(() => ste({ granularity: "tensor" }), { except: [zeros] });
    expect(fewer.map(({ name }) => name)).toEqual([stored, packed, gradient, odd, sameBits]);
  });

  it("holds for one that learns its scale", () => {
    const learned = (parameter: Parameter): Quantizer => {
      const scale = new Parameter(chooseParams(parameter.value, codes).scale);
      return Object.assign(own({ params: () => ({ scale: scale.value, zeroPoint: null }) }), { scale });
    };
    // Of a row of zeros it is 1.
    for (const { check } of laws.quantizer(learned)) check();
  });

  let calls = 0;
  it.each<[string, Partial<Quantizer>, string[]]>([
    [
      "scales that change from call to call",
      { params: (x) => ({ scale: params(x).scale.mul(1 + (calls++ % 7) / 7), zeroPoint: null }) },
      [stored, packed, rows, twice, sameBits],
    ],
    [
      "codes that are not the nearest",
      { codes: (x) => x.greater(0).where(1, -1).mul(x.notEqual(0)).to("int8") },
      [nearest],
    ],
    [
      "codes beyond its bits",
      { codes: (x) => x.notEqual(0).where(9, 0).to("int8") },
      [stored, packed, nearest, gradient, rows, twice, sameBits],
    ],
    [
      "codes for which sizes matter",
      { codes: (x) => x.abs().greater(0.7).where(x.sign(), 0).to("int8") },
      [nearest, twice],
    ],
    ["a surrogate without a gradient at 0", { soft: (x) => x.abs().sqrt() }, [gradient]],
    [
      "scales that know their place",
      {
        params: (x) => ({
          scale: tensor(Float32Array.from({ length: x.shape[0] }, (_, i) => i + 1)),
          zeroPoint: null,
        }),
      },
      [rows, twice],
    ],
    [
      "a zero that is moved",
      {
        codes: (x) => x.less(0).where(-1, 1).to("int8"),
        params: (x) => ({ scale: params(x).scale.add(1), zeroPoint: null }),
      },
      [nearest, twice, zeros],
    ],
    [
      "NaN that ends in an error of the engine",
      {
        params(x) {
          if (Number.isNaN(x.sum().item())) throw new RangeError("no such scale");
          return params(x);
        },
      },
      [odd],
    ],
  ])("finds %s", (_what, change, broken) => {
    expect(failing(() => own(change), { nearest: true, scaleFree: true })).toEqual(broken);
  });

  it("finds what a packed file cannot hold, and what is learned without a gradient", () => {
    const columns = spec({ bits: 3, granularity: "channel", axis: 1 });
    const make = () => own({ spec: columns, params: (x) => chooseParams(x, columns) });
    expect(failing(make)).toEqual([packed]);
    const idle = () => Object.assign(own(), { idle: new Parameter(tensor([1])) });
    expect(failing(idle)).toEqual([gradient]);
  });

  it.each([
    [
      () => laws.quantizer(own() as never),
      "laws.quantizer: needs a function that makes a quantizer, got Object",
    ],
    [() => laws.quantizer((() => 1) as never), "laws.quantizer: needs a quantizer such as bwn(), got 1"],
    [
      () => laws.quantizer(() => own(), { except: ["flies"] }),
      'laws.quantizer: there is no such law to except, got "flies"',
    ],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(OptionError);
    expect(run).toThrow(message);
  });
});
