import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toFloat16, widenFloat16 } from "../../kernels/formats/half.ts";
import { type BlockFormat, formats } from "../../kernels/formats/index.ts";
import { putScalesAndMins, scalesAndMins } from "../../kernels/formats/k-quants.ts";
import { Rng } from "../../src/random/rng.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const normals = (n: number, rng: Rng): Float32Array => {
  const x = new Float32Array(n);
  rng.fillNormal(x);
  return x;
};
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"));

const all = Object.values(formats) as BlockFormat[];
const ramp = Float32Array.from({ length: 32 }, (_, i) => (i - 16) / 8);
const onTies = [-1, -0.5, -0.1, 0, 0.3, 0.7, 1.5, 2];
const padded = (values: readonly number[], size: number): Float32Array => {
  const x = new Float32Array(size);
  x.set(values);
  return x;
};

/** Numbers that a format of `kind` is for. */
function sample(format: BlockFormat, rng: Rng, blocks: number): Float32Array {
  const x = normals(format.blockSize * blocks, rng);
  if (!format.name.startsWith("TQ") && format.name !== "Q2_0") return x;
  return x.map((v) => (Math.abs(v) < 0.5 ? 0 : 0.75 * Math.sign(v)));
}

describe("the bytes of a block", () => {
  it("are those of ggml for a ramp in Q4_0, Q8_0 and Q1_0", () => {
    expect(hex(formats.Q4_0.encode(ramp))).toBe("0034809191a2a2b3b3c4c4d5d5e6e6f7f7f8");
    const q8 = formats.Q8_0.encode(ramp);
    expect(hex(q8.subarray(0, 2))).toBe("0824");
    const codes = new Int8Array(q8.buffer, 2);
    expect([codes[0], codes[1], codes[8], codes[24], codes[31]]).toEqual([-127, -119, -64, 64, 119]);
    const long = Float32Array.from({ length: 128 }, (_, i) => ramp[i % 32]);
    expect(hex(formats.Q1_0.encode(long))).toBe(`003c${"0000ffff".repeat(4)}`);
  });

  it("are those of ggml for zeros and for ones in Q4_0", () => {
    expect(hex(formats.Q4_0.encode(new Float32Array(32)))).toBe(`0080${"88".repeat(16)}`);
    expect(hex(formats.Q4_0.encode(new Float32Array(32).fill(1)))).toBe(`00b0${"00".repeat(16)}`);
  });

  it("pack five trits a byte in TQ1_0, the first most significant, all 243 of them reversibly", () => {
    const x = new Float32Array(256);
    // Byte 0 holds every 32nd trit.
    [1, 0, -1, 0, 1].forEach((t, n) => {
      x[32 * n] = t;
    });
    expect(formats.TQ1_0.encode(x)[0]).toBe(205);
    expect(
      [0, -1, 1].map((t) => formats.TQ1_0.encode(padded([5], 256).map((v, i) => (i < 255 ? t : v / 5)))[1]),
    ).toEqual([128, 0, 255]);
    for (let k = 0; k < 243; k++) {
      const trits = [81, 27, 9, 3, 1].map((p) => (Math.floor(k / p) % 3) - 1);
      trits.forEach((t, n) => {
        x[32 * n] = t;
      });
      x[255] = 1;
      expect(formats.TQ1_0.decode(formats.TQ1_0.encode(x))).toEqual(x);
    }
  });

  it("put trit m + 32 n of each 128 in bits 2 n of byte m in TQ2_0", () => {
    const x = new Float32Array(256);
    x[3] = 1;
    x[35] = -1;
    x[128 + 96] = 1;
    const bytes = formats.TQ2_0.encode(x);
    expect(bytes[0]).toBe(0b01010101);
    expect(bytes[3]).toBe(0b01010010);
    expect(bytes[32]).toBe(0b10010101);
    expect(hex(bytes.subarray(64))).toBe("003c");
  });

  it("are those of bitsandbytes in NF4 and of the OCP format in MXFP4", () => {
    const nf4 = formats.NF4.encode(padded(onTies, 64));
    expect(hex(nf4.subarray(0, 8))).toBe("0000004024679bef");
    const want = [-1.050146, -0.568883, -0.1821, 0, 0.32186, 0.67583, 1.445914, 2];
    formats.NF4.decode(nf4)
      .subarray(0, 8)
      .forEach((v, i) => {
        expect(v).toBeCloseTo(want[i], 5);
      });
    const mx = formats.MXFP4.encode(padded(onTies, 32));
    expect(mx[0]).toBe(126);
    expect(Array.from(mx.subarray(1, 9), (b) => b & 15)).toEqual([12, 10, 0, 0, 1, 3, 5, 6]);
    expect(Array.from(formats.MXFP4.decode(mx).subarray(0, 8))).toEqual([-1, -0.5, 0, 0, 0.25, 0.75, 1.5, 2]);
  });

  it("hold eight scales and minima of 6 bits in twelve bytes in Q4_K", () => {
    const [s, m] = [
      [1, 2, 3, 63, 33, 48, 17, 60],
      [5, 0, 62, 7, 40, 16, 3, 59],
    ];
    const scales = new Uint8Array(12);
    putScalesAndMins(scales, s, m);
    expect(hex(scales)).toBe("81c243ff85403ec7810031bc");
    expect(scalesAndMins(scales)).toEqual({ scales: Uint8Array.from(s), mins: Uint8Array.from(m) });
  });

  it("decode as the layouts of Q4_K and Q6_K say", () => {
    // d = 1, dmin = 0.5; scale j + 1, minimum j; codes i mod 16.
    const block = new Uint8Array(144);
    block.set(bytesOf("003c0038"));
    putScalesAndMins(block.subarray(4, 16), [1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 2, 3, 4, 5, 6, 7]);
    for (let i = 0; i < 128; i++) block[16 + i] = (i % 16) * 17;
    const out = formats.Q4_K.decode(block);
    for (let i = 0; i < 256; i++) expect(out[i]).toBe(((i >> 5) + 1) * (i % 16) - 0.5 * (i >> 5));

    const six = new Uint8Array(210);
    for (let j = 0; j < 16; j++) six[192 + j] = (j - 8) & 255;
    six.set(bytesOf("003c"), 208);
    // Element 37: the second quarter of the first half, so the low half of byte 32 + 5 and bits 2 and 3 of byte 128 + 5.
    six[37] = 11;
    six[128 + 5] = 0b0100;
    // Element 128 + 96 + 7: the last quarter of the second half.
    six[64 + 32 + 7] = 0x90;
    six[128 + 32 + 7] = 0b11000000;
    const values = formats.Q6_K.decode(six);
    expect(values[37]).toBe((2 - 8) * (11 + 16 - 32));
    expect(values[128 + 96 + 7]).toBe(6 * (9 + 48 - 32));
    expect(values[0]).toBe(-8 * -32);
  });
});

describe.each(all)("$name", (format) => {
  const { name, blockSize, byteSize, encode, decode, dot } = format;
  const rng = new Rng(`formats ${name}`);
  const x = sample(format, rng, 8);

  it("decodes what it encoded to the numbers' neighbourhood, deterministically", () => {
    const bytes = encode(x);
    expect(bytes).toHaveLength(8 * byteSize);
    expect(encode(x)).toEqual(bytes);
    const back = decode(bytes);
    let [noise, power] = [0, 0];
    back.forEach((v, i) => {
      noise += (v - x[i]) ** 2;
      power += x[i] ** 2;
    });
    const most: Partial<Record<string, number>> = { Q1_0: 0.5, Q2_K: 0.1, Q3_K: 0.03 };
    expect(noise / power).toBeLessThan(most[name] ?? 0.02);
  });

  it("keeps zeros zero and blocks apart", () => {
    const zeros = new Float32Array(2 * blockSize);
    expect(decode(encode(zeros)).every((v) => v === 0)).toBe(true);
    const mixed = x.slice(0, 2 * blockSize);
    mixed.fill(0, 0, blockSize);
    const bytes = encode(mixed);
    expect(bytes.subarray(byteSize)).toEqual(encode(mixed.slice(blockSize)));
    expect(encode([])).toHaveLength(0);
    expect(decode(new Uint8Array(0))).toHaveLength(0);
  });

  it("does not let the sign of zero, tiny numbers or equal numbers make NaN", () => {
    for (const value of [-0, 1e-45, -1e-38, 3e-30, 1e-7, 1, -1, 1000]) {
      const back = decode(encode(new Float32Array(blockSize).fill(value)));
      for (const v of back) {
        expect(v).not.toBeNaN();
        expect(Math.abs(v - value)).toBeLessThanOrEqual(
          Math.abs(value) * (name === "MXFP4" ? 0.25 : 0.01) + 1e-6,
        );
      }
    }
  });

  it("multiplies with floats as its decoded numbers do", () => {
    const bytes = encode(x);
    const y = normals(x.length, rng);
    const values = decode(bytes);
    let want = 0;
    for (let i = 0; i < y.length; i++) want += values[i] * y[i];
    expect(dot(bytes, y)).toBe(want);
  });

  it("refuses ragged rows, numbers that are not finite, and bytes that are no whole blocks", () => {
    expect(() => encode(new Float32Array(blockSize + 1))).toThrow(
      `${name}.encode: the length must be a multiple of ${blockSize}, got ${blockSize + 1}`,
    );
    for (const bad of [Number.NaN, Infinity, -Infinity, 1e39])
      expect(() => encode(padded([0, bad], blockSize).map((v) => v))).toThrow(
        `${name}.encode: values must be finite`,
      );
    expect(() => decode(new Uint8Array(byteSize - 1))).toThrow(
      `${name}.decode: needs whole blocks of ${byteSize} bytes, got ${byteSize - 1} bytes`,
    );
    expect(() => decode("bytes" as never)).toThrow(`${name}.decode: needs whole blocks`);
    expect(() => dot(encode(x), y1)).toThrow(`${name}.dot: 8 blocks hold`);
  });
  const y1 = new Float32Array(1);

  it("refuses scales that are not finite, in files and from numbers too large", () => {
    // Every two bytes that may be a float16 scale, and MXFP4's own NaN.
    const at = {
      Q8_0: 0,
      Q5_0: 0,
      Q5_1: 2,
      Q4_0: 0,
      Q4_1: 2,
      Q6_K: 208,
      Q5_K: 2,
      Q4_K: 0,
      Q3_K: 108,
      Q2_K: 82,
      IQ4_NL: 0,
      IQ4_XS: 0,
      Q2_0: 0,
      Q1_0: 0,
      TQ1_0: 52,
      TQ2_0: 64,
      NF4: 2,
      MXFP4: -1,
    }[name]!;
    const bytes = encode(x);
    if (at < 0) bytes[0] = 255;
    else bytes.set(name === "NF4" ? [0x80, 0x7f] : [0x00, 0x7c], at);
    expect(() => decode(bytes)).toThrow(`${name}.decode: a scale must be finite, got another in block 0`);
    expect(() => dot(bytes, x)).toThrow(`${name}.dot: a scale must be finite`);
    if (name === "NF4" || name === "MXFP4") return;
    const large = Float32Array.from({ length: blockSize }, (_, i) => (i % 2 ? -1e30 : 1e30));
    expect(() => encode(large)).toThrow(`${name}.encode: a scale must fit float16`);
  });
});

describe("the error of a block", () => {
  const values = fc.array(fc.double({ min: -1000, max: 1000, noNaN: true }), {
    minLength: 32,
    maxLength: 32,
  });
  const rounding = (d: number): number => Math.abs(widenFloat16(toFloat16([d]))[0] - d);

  it("is at most half a step in Q8_0, Q4_1 and Q5_1, a step in Q4_0 and Q5_0, and what float16 scales add", () => {
    fc.assert(
      fc.property(values, (list) => {
        const x = Float32Array.from(list);
        const largest = Math.max(...x.map(Math.abs));
        const range = Math.max(...x) - Math.min(...x);
        const most = {
          Q8_0: largest / 254 + 127 * rounding(largest / 127),
          Q5_0: largest / 16 + 16 * rounding(largest / 16),
          Q4_0: largest / 8 + 8 * rounding(largest / 8),
          Q5_1: range / 62 + 31 * rounding(range / 31) + rounding(Math.min(...x)),
          Q4_1: range / 30 + 15 * rounding(range / 15) + rounding(Math.min(...x)),
        };
        for (const [name, bound] of Object.entries(most)) {
          const { encode, decode } = formats[name as keyof typeof most];
          const errors = decode(encode(x)).map((v, i) => Math.abs(v - x[i]));
          expect(Math.max(...errors), name).toBeLessThanOrEqual(bound + 1e-6 * largest + 1e-30);
        }
      }),
    );
  });
});
