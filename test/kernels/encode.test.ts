import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  packBits,
  packedBytes,
  packSigns,
  packTernary,
  unpackBits,
  unpackSigns,
  unpackTernary,
} from "../../kernels/bits.ts";
import { rowCases } from "../../kernels/encode/cases.ts";
import * as reference from "../../kernels/encode/reference.ts";
import {
  anyNonFinite,
  encodeExports,
  quantizeRows,
  encodeSigns as simdSigns,
} from "../../kernels/encode/simd.ts";
import { alloc, free, view } from "../../kernels/wasm/heap.ts";
import { DTypeError, OptionError, ShapeError } from "../../src/errors.ts";

const bitsAndCodes = fc.integer({ min: 1, max: 8 }).chain((bits) =>
  fc.tuple(fc.constant(bits), fc.boolean(), fc.integer({ min: 0, max: 70 })).chain(([b, signed, n]) => {
    const low = signed ? -(2 ** (b - 1)) : 0;
    const code = fc.integer({ min: low, max: low + 2 ** b - 1 });
    return fc.tuple(
      fc.constant(b),
      fc.constant(signed),
      fc.constant(n),
      fc.array(code, { minLength: 3 * n, maxLength: 3 * n }),
    );
  }),
);

describe("packing codes", () => {
  it("is undone by unpacking, for every width, order, sign and length", () => {
    fc.assert(
      fc.property(bitsAndCodes, fc.constantFrom("lsb", "msb"), ([bits, signed, n, codes], order) => {
        const packed = packBits(codes, 3, n, bits, { order: order as "lsb", signed });
        expect(packed.length).toBe(3 * packedBytes(n, bits));
        const layout = { order: order as "lsb" };
        const back = signed
          ? unpackBits(packed, 3, n, bits, { ...layout, signed: true })
          : unpackBits(packed, 3, n, bits, layout);
        expect([...back]).toEqual(codes);
      }),
    );
  });

  it("in order msb is that in order lsb with the bits of the whole row reversed, codes too", () => {
    const reversed = (value: number, bits: number): number =>
      Number.parseInt(value.toString(2).padStart(bits, "0").split("").reverse().join(""), 2);
    fc.assert(
      fc.property(bitsAndCodes, ([bits, signed, n, codes]) => {
        const fields = codes.map((code) => code & (2 ** bits - 1));
        const mirrored = packBits(
          fields.map((field) => reversed(field, bits)),
          3,
          n,
          bits,
        );
        const msb = packBits(codes, 3, n, bits, { order: "msb", signed });
        expect([...msb]).toEqual([...mirrored].map((byte) => reversed(byte, 8)));
      }),
    );
  });

  it("puts the first of two 4-bit codes in the low half, or with msb in the high one", () => {
    expect([...packBits([1, 2, 3], 1, 3, 4)]).toEqual([0x21, 0x03]);
    expect([...packBits([1, 2, 3], 1, 3, 4, { order: "msb" })]).toEqual([0x12, 0x30]);
  });

  it("gives a bit of 1 to negative numbers alone, in bytes from the lowest bit", () => {
    const a = [0.3, -1, 0, 2, -0.5, -0.1, 0.7, -3, 1, 1];
    // The complement of 4D 03, where 1 stands for x >= 0, within ten bits.
    expect([...packSigns(a, 1, 10)]).toEqual([0xb2, 0x00]);
    expect([...packSigns([-0, 0], 1, 2)]).toEqual([0]);
    expect([...unpackSigns(packSigns(a, 1, 10), 1, 10)]).toEqual([1, -1, 1, 1, -1, -1, 1, -1, 1, 1]);
  });

  it("gives signs of rows of any length back, each row from its first byte on", () => {
    for (const n of [0, 1, 7, 8, 9, 16, 29]) {
      const a = Float32Array.from({ length: 3 * n }, (_, i) => (Math.sin(i * 7.3 + n) < 0 ? -1 : 1));
      expect(unpackSigns(packSigns(a, 3, n), 3, n)).toEqual(Int8Array.from(a));
    }
  });

  it("keeps ternary digits as t + 1", () => {
    expect([...packTernary([-1, 0, 1, 1, -1], 1, 5)]).toEqual([0b10_10_01_00, 0]);
    expect([...unpackTernary(packTernary([-1, 0, 1, 1, -1], 1, 5), 1, 5)]).toEqual([-1, 0, 1, 1, -1]);
  });

  it("refuses what it cannot hold by typed errors", () => {
    expect(() => packBits([2], 1, 1, 1)).toThrow(OptionError);
    expect(() => packBits([-3], 1, 1, 2, { signed: true })).toThrow(OptionError);
    expect(() => packBits([1], 1, 1, 9)).toThrow(OptionError);
    expect(() => packBits([1], 1, 1, 1, { order: "big" as "msb" })).toThrow(OptionError);
    expect(() => packBits([1, 0], 1, 1, 1)).toThrow(ShapeError);
    expect(() => unpackBits(new Uint8Array(2), 1, 1, 1)).toThrow(ShapeError);
    expect(() => unpackBits(new Uint8Array(0), -1, 0, 1)).toThrow(ShapeError);
    expect(() => unpackSigns(new Uint8Array(2), 1, 1)).toThrow(ShapeError);
    expect(() => packSigns([1, Number.NaN], 1, 2)).toThrow(DTypeError);
    expect(() => packTernary([2], 1, 1)).toThrow(OptionError);
    expect(() => unpackTernary(Uint8Array.of(3), 1, 1)).toThrow(OptionError);
  });
});

describe("packing activations by SIMD", () => {
  it("gives the scales of the reference too, bit for bit", () => {
    for (const [out, scales, x, top, rows, n, stride] of rowCases()) {
      const [want, got] = [scales.slice(), scales.slice()];
      reference.quantizeRows(out.slice(), want, x, top, rows, n, stride);
      expect(quantizeRows(out.slice(), got, x, top, rows, n, stride)).toBe(true);
      expect([...got]).toEqual([...want]);
    }
  });

  it("packs signs as bits.ts does", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 99 }),
        fc.nat(),
        (rows, n, seed) => {
          const x = Float32Array.from({ length: rows * n }, (_, i) => Math.sin(i * 1.7 + seed) * (i % 5));
          const out = new Uint8Array(rows * packedBytes(n, 1));
          expect(simdSigns(out, x, rows, n)).toBe(true);
          expect([...out]).toEqual([...packSigns(x, rows, n)]);
        },
      ),
    );
  });

  it("finds what is not finite wherever it stands", () => {
    const n = 37;
    const at = alloc(n * 4);
    const x = view("float32", at, n);
    for (const build of [encodeExports("plain"), encodeExports("relaxed")].filter((code) => code !== null))
      for (const value of [Number.NaN, Infinity, -Infinity]) {
        x.fill(-3e38);
        expect(anyNonFinite(x, n, build)).toBe(false);
        for (let i = 0; i < n; i++) {
          x.fill(1e-45);
          x[i] = value;
          expect(anyNonFinite(x, n, build), `${i}`).toBe(true);
          expect(anyNonFinite(x, i, build), `before ${i}`).toBe(false);
          expect(reference.anyNonFinite(x, n)).toBe(true);
          expect(reference.anyNonFinite(x, i)).toBe(false);
        }
      }
    free(at);
  });
});
