import { loadPacked, PackedLinear, PackedWeight } from "bitgrad/packed";
import { describe, expect, it } from "vitest";
import { composed } from "../fuzz/parts.ts";

/** A file of such a model, whose codes are rows of its weight. */
const file = (model: unknown, tensors: Record<string, Float32Array | Uint8Array> = {}): Uint8Array =>
  composed(
    model,
    Object.fromEntries(
      Object.entries(tensors).map(([name, data]) => {
        const { rows = 1 } = (model as { weight?: { rows?: number } }).weight ?? {};
        return [
          name,
          { data, shape: data instanceof Uint8Array ? [rows, data.length / rows] : [data.length] },
        ];
      }),
    ),
  );

const linear = (weight: object, codes: Uint8Array, scale = Float32Array.of(1)): Uint8Array =>
  file(
    { kind: "linear", bias: null, input: { kind: "dynamic", bits: 8 }, weight: { weight: "w", ...weight } },
    { "w.scale": scale, "w.codes": codes },
  );
const eight = { rows: 1, columns: 5, bits: 8, signed: true, group: null, codebook: null };
const codes = Uint8Array.of(1, 2, 3, 4, 5);

const refused = (bytes: Uint8Array, message: RegExp): void => {
  expect(() => loadPacked(bytes)).toThrow(message);
  expect(() => loadPacked(bytes)).toThrow(expect.objectContaining({ code: "FORMAT" }));
};

describe("a packed file is refused", () => {
  it("not when it is right", () => {
    const x = { data: Float32Array.of(127, 0, 0, 0, 1), shape: [1, 5] };
    expect([...loadPacked(linear(eight, codes)).forward(x).data]).toEqual([132]);
  });

  it("with bits behind the last code of a row, which no product may read", () => {
    for (const [bits, row, odd] of [
      [1, [0b00010], [0b100010]],
      [2, [0x55, 0x01], [0x55, 0x05]],
      [3, [0x49, 0x12], [0x49, 0x92]],
      [4, [0x11, 0x11, 0x01], [0x11, 0x11, 0x81]],
    ] as const) {
      const weight = { ...eight, bits, rows: 2 };
      expect(() => loadPacked(linear(weight, Uint8Array.of(...row, ...row)))).not.toThrow();
      refused(
        linear(weight, Uint8Array.of(...row, ...odd)),
        /bits behind the last code must be 0, got row 1/,
      );
    }
  });

  it("with weights of no columns, whose outputs no bytes bound", () => {
    const none = { ...eight, rows: 2 ** 31 - 1, columns: 0 };
    refused(linear(none, new Uint8Array(0)), /sizes must be counts/);
    const floats = { kind: "linear", bias: null, input: null, weight: { ...none, weight: "w", bits: 32 } };
    refused(file(floats, { w: new Float32Array(0) }), /sizes must be counts/);
  });

  it("with a sign that is neither true nor false", () => {
    refused(linear({ ...eight, signed: "yes" }, codes), /signed must be one of true, false, got "yes"/);
    refused(
      linear({ ...eight, signed: undefined }, codes),
      /signed must be one of true, false, got undefined/,
    );
  });

  it("with levels beyond float32", () => {
    const levels = { ...eight, bits: 1, signed: false, codebook: [0, 1e300] };
    refused(linear(levels, Uint8Array.of(3)), /sizes must be counts/);
  });

  it("with an eps below 0, axes that are none, or positions turned by powers of one", () => {
    const norm = { kind: "norm", type: "layer", size: 4, weight: null, bias: null };
    expect(() => loadPacked(file({ ...norm, eps: 0 }))).not.toThrow();
    refused(file({ ...norm, eps: -1 }), /eps must be a finite number of at least 0, got -1/);
    const biased = file({ ...norm, eps: 0, type: "rms", bias: { tensor: "b" } }, { b: new Float32Array(4) });
    refused(biased, /rms has no bias, got one/);
    for (const axes of [0, "", false, "4", [0.5, 8], ["4"], [-2, -2]]) {
      refused(file({ ...norm, eps: 0, axes }), /axes must hold 4 features/);
    }
    const projection = { kind: "linear", weight: { ...eight, weight: "w" }, bias: null, input: null };
    const [query, key, value, out] = [projection, projection, projection, projection];
    const attention = { kind: "attention", heads: 1, kvHeads: 1, query, key, value, out };
    const tensors = { "w.scale": Float32Array.of(1), "w.codes": codes };
    const turned = (base: number): Uint8Array =>
      file({ ...attention, rotary: { base, style: "half" } }, tensors);
    refused(turned(-1), /base must be a finite number of at least 1, got -1/);
    refused(turned(0), /base must be a finite number of at least 1, got 0/);
  });

  it("with scales that are not finite", () => {
    for (const scale of [Number.NaN, Infinity, -Infinity]) {
      refused(linear(eight, codes, Float32Array.of(scale)), /scales must be finite/);
    }
  });

  it("with a convolution whose padding makes an image much larger, or whose steps are huge", () => {
    const conv = {
      kind: "conv2d",
      weight: { ...eight, weight: "w", rows: 3, columns: 8 },
      bias: null,
      input: { kind: "signs" },
      kernel: [2, 2],
      stride: [1, 1],
      padding: [
        [0, 0],
        [0, 0],
      ],
      dilation: [1, 1],
      groups: 1,
    };
    const changed = (change: object): Uint8Array =>
      file({ ...conv, ...change }, { "w.scale": Float32Array.of(1), "w.codes": new Uint8Array(24) });
    expect(() =>
      loadPacked(
        changed({
          padding: [
            [1, 1],
            [500, 500],
          ],
        }),
      ),
    ).not.toThrow();
    expect(() =>
      loadPacked(
        changed({
          padding: [
            [900, 900],
            [0, 0],
          ],
          dilation: [1800, 1],
        }),
      ),
    ).not.toThrow();
    refused(
      changed({
        padding: [
          [1, 1],
          [10_000, 10_000],
        ],
      }),
      /padding must add at most 1024/,
    );
    refused(
      changed({
        padding: [
          [2 ** 40, 0],
          [0, 0],
        ],
      }),
      /padding must be two integers of 0 … 65535/,
    );
    const side = [0, 0];
    refused(changed({ padding: [side, side, side] }), /padding must be two integers .* got \(\(0, 0\), /);
    refused(changed({ padding: 7 }), /padding must be two integers .* got 7$/);
    refused(changed({ dilation: [2 ** 31, 1] }), /dilation must be two integers of 1 … 65535/);
    refused(changed({ stride: [1, 0] }), /stride must be two integers of 1 … 65535/);
  });
});

describe("a packed file is read once over", () => {
  it("and numbers that many layers name are in memory once", () => {
    const norm = { kind: "batchNorm", mean: { tensor: "a" }, factor: { tensor: "a" }, bias: { tensor: "a" } };
    const { root } = loadPacked(
      file({ kind: "sequential", steps: [norm, norm] }, { a: new Float32Array(64) }),
    ) as unknown as { root: { steps: Record<string, Float32Array>[] } };
    expect(root.steps[1].bias.buffer).toBe(root.steps[0].mean.buffer);
  });
});

describe("a weight made by hand", () => {
  it("without signs has larger codes, and sums of fewer products fit int32", () => {
    const input = { kind: "dynamic", bits: 8 } as const;
    const made = (columns: number): PackedLinear => {
      const bytes = new Uint8Array(columns).fill(255);
      const given = { ...eight, columns, signed: false, codes: bytes, scale: Float32Array.of(1) };
      return new PackedLinear({
        weight: PackedWeight.ofCodes({ ...given, scaleType: "float32" }),
        bias: null,
        input,
      });
    };
    const most = Math.floor((2 ** 31 - 1) / (127 * 255));
    const x = { data: new Float32Array(most).fill(127), shape: [1, most] };
    expect(made(most).forward(x).data[0]).toBe(Math.fround(127 * 255 * most));
    expect(() => made(most + 1)).toThrow(/sums of products must fit int32/);
  });

  it("is held to the same", () => {
    const given = { ...eight, bits: 4, codes: Uint8Array.of(1, 1, 0x11), scale: Float32Array.of(1) };
    expect(() => PackedWeight.ofCodes({ ...given, scaleType: "float32" })).toThrow(
      /bits behind the last code must be 0, got row 0/,
    );
  });
});
