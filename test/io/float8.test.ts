import { DTypeError, type Tensor, tensor } from "bitgrad";
import { load, readSafetensors, type StoredFloat, save, writeSafetensors } from "bitgrad/io";
import { describe, expect, it } from "vitest";
import { toFloat8 } from "../../kernels/formats/half.ts";

/** What the OCP 8-bit specification and PyTorch say of the two. */
const kinds = [
  {
    format: "F8_E4M3",
    dtype: "float8_e4m3fn",
    mantissa: 3,
    bias: 7,
    most: 0x7e,
    largest: 448,
    infinity: Number.NaN,
  },
  {
    format: "F8_E5M2",
    dtype: "float8_e5m2",
    mantissa: 2,
    bias: 15,
    most: 0x7b,
    largest: 57344,
    infinity: Infinity,
  },
] as const;

/** A file of one tensor, byte by byte. */
function fileOf(format: string, bytes: readonly number[]): Uint8Array {
  const header = JSON.stringify({
    x: { dtype: format, shape: [bytes.length], data_offsets: [0, bytes.length] },
  });
  const file = new Uint8Array(8 + header.length + bytes.length);
  file.set([header.length]);
  file.set(new TextEncoder().encode(header), 8);
  file.set(bytes, 8 + header.length);
  return file;
}
const codes = Array.from({ length: 256 }, (_, code) => code);
const bytesIn = (file: Uint8Array, count: number): number[] => Array.from(file.subarray(-count));

describe.each(kinds)("$format", ({ format, dtype, mantissa, bias, most, largest, infinity }) => {
  const valueOf = (code: number): number => {
    const size = code & 0x7f;
    const sign = code > 127 ? -1 : 1;
    if (size > most) return size === most + 1 ? sign * infinity : Number.NaN;
    const field = size >> mantissa;
    const fraction = (size & (2 ** mantissa - 1)) / 2 ** mantissa;
    return sign * (field === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (field - bias));
  };
  const values = codes.map(valueOf);
  const write = (x: number[], type: "float32" | "float64" = "float64") =>
    bytesIn(writeSafetensors({ x: tensor(x, { dtype: type }) }, { dtype }), x.length);

  it("is read code by code as float32, on request alone", async () => {
    const read = readSafetensors(fileOf(format, codes), { widen: true }).tensors.x;
    expect(read.dtype).toBe("float32");
    expect(Array.from(read.data)).toEqual(values);
    expect(values[most]).toBe(largest);
    expect((await load(fileOf(format, [1, 0x80]), { widen: true })).tensors.x.toArray()).toEqual([
      2 ** (1 - bias - mantissa),
      -0,
    ]);
    expect(() => readSafetensors(fileOf(format, codes))).toThrow(
      `readSafetensors: ${dtype} is not a dtype, got it for "x"; pass { widen: true } to read it as float32`,
    );
  });

  it("is written code by code, NaN as PyTorch writes it", async () => {
    const whole = codes.filter((code) => !Number.isNaN(values[code]));
    expect(write(whole.map(valueOf))).toEqual(whole);
    expect(write(whole.map(valueOf), "float32")).toEqual(whole);
    expect(write([Number.NaN])[0] & 0x7f).toBe(0x7f);
    const file = await save(null, { x: tensor([0.1, -3]), n: tensor(Int32Array.of(5)) }, { dtype });
    const { tensors } = await load(file, { widen: true });
    expect((tensors.x as Tensor).data[1]).toBe(-3);
    expect(tensors.n.dtype).toBe("int32");
  });

  it("is rounded half to even, once, from either float", () => {
    for (let code = 0; code < most; code++) {
      const [low, high] = [valueOf(code), valueOf(code + 1)];
      const middle = (low + high) / 2;
      const even = code % 2 === 0 ? code : code + 1;
      expect(write([middle, -middle])).toEqual([even, even | 0x80]);
      expect(write([middle * (1 - 2 ** -52), middle * (1 + 2 ** -52)])).toEqual([code, code + 1]);
    }
    expect(write([2 ** -1074, -1e-300])).toEqual([0, 0x80]);
  });

  it("refuses what would leave its range", () => {
    const step = largest - valueOf(most - 1);
    const odd = most % 2 === 1;
    // At the middle between the largest and what would follow, an even code stays.
    if (odd) expect(() => write([largest + step / 2])).toThrow(DTypeError);
    else expect(write([largest + step / 2])).toEqual([most]);
    expect(write([largest + step / 2 - 1])).toEqual([most]);
    for (const x of [largest + step / 2 + 1, largest + step, 1e9, -1e300]) {
      expect(() => write([0, x])).toThrow(
        `a value is beyond the range of ${format}, got ${x} at index 1 of "x"`,
      );
    }
    if (Number.isNaN(infinity)) expect(() => write([-Infinity])).toThrow(`range of ${format}, got -Infinity`);
    else expect(write([Infinity, -Infinity])).toEqual([0x7c, 0xfc]);
    // As PyTorch's cast, before the check: no saturation.
    const beyond = Array.from(toFloat8([1e9, -1e9, Infinity], dtype));
    expect(beyond).toEqual(odd ? [0x7c, 0xfc, 0x7c] : [0x7f, 0xff, 0x7f]);
  });
});

it("a file may hold floats of all widths, each aligned", () => {
  const x = tensor([1, -2]);
  for (const dtype of ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"] as StoredFloat[]) {
    const file = writeSafetensors({ x, n: tensor(Int32Array.of(7)) }, { dtype });
    expect(readSafetensors(file, { widen: true }).tensors.x.toArray()).toEqual([1, -2]);
  }
  expect(() => writeSafetensors({ x }, { dtype: "float8" as never })).toThrow(
    "dtype must be float32, float16, bfloat16, float8_e4m3fn or float8_e5m2, got",
  );
});
