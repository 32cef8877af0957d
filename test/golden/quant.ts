/** Quantizers: codes, values and straight-through gradients. */

import { straightThrough, type Tensor, tensor } from "bitgrad";
import {
  dequantize,
  fakeQuantize,
  movingAverage,
  type QTensor,
  quantize,
  type SpecOptions,
  spec,
} from "bitgrad/quant";
import { row, type Suite, type Tensors } from "./case.ts";

/** The spec whose codes are qmin … qmax. */
function specOf(qmin: number, qmax: number, rest: Partial<SpecOptions> = {}) {
  const bits = Math.ceil(Math.log2(qmax - qmin + 1));
  if (qmin === -qmax) return spec({ bits, ...rest });
  return spec({ bits, scheme: "affine", signed: qmin < 0, ...rest });
}

interface Settings {
  readonly scale: number;
  readonly zero_point: number;
  readonly qmin: number;
  readonly qmax: number;
  readonly axis: number;
  readonly dtype: "qint8" | "quint8" | "qint32";
  readonly grad_factor: number;
}

const perChannel = (axis: number): Partial<SpecOptions> => ({ granularity: "channel", axis });
const floats = (t: Tensor): Tensor => tensor(t.toArray() as number[], { dtype: "float32" });
const one = (x: number): Tensor => tensor([x]);

/** PyTorch's params in ours; symmetric codes have no zero point. */
const paramsOf = (s: QTensor["spec"], scale: Tensor, zero: Tensor) => ({
  scale,
  zeroPoint: s.zeroPoint === "none" ? null : zero,
});

/** The gradient times `factor`, the value untouched. */
const scaledGradient = (x: Tensor, factor: number): Tensor => straightThrough(x.mul(factor), x.detach());

function quantized(
  x: Tensor,
  { dtype }: Settings,
  scale: Tensor,
  zero: Tensor,
  rest: Partial<SpecOptions>,
): Tensors {
  const s = dtype === "qint8" ? specOf(-128, 127, rest) : specOf(0, 255, rest);
  const q = quantize(x, s, paramsOf(s, scale, zero));
  return { int_repr: q.codes as Tensor, dequantized: dequantize(q) };
}

function perTensor({ input }: Tensors, settings: Settings): Tensors {
  const { scale, zero_point: zero, dtype } = settings;
  if (dtype !== "qint32") return quantized(input, settings, one(scale), one(zero), {});
  const codes = input.div(scale).round().add(zero);
  return { int_repr: tensor(codes.data, { dtype: "int32" }), dequantized: codes.sub(zero).mul(scale) };
}

const learned = (axis: number | null) =>
  row<Settings>(
    "fakeQuantize(x, spec({ bits, scheme: 'affine' }), { scale, zeroPoint })",
    ({ input, scale, zero_point: zero }, { qmin, qmax, grad_factor: factor }) => {
      const s = specOf(qmin, qmax, axis === null ? {} : perChannel(axis));
      return fakeQuantize(input, s, {
        scale: scaledGradient(scale, factor),
        zeroPoint: scaledGradient(zero, factor),
      });
    },
    { note: "scale and zero point that require a gradient are learned" },
  );

const weightGroups = (weight: Tensor, group: number, symmetric: boolean) =>
  quantize(
    weight,
    symmetric
      ? spec({ bits: 4, granularity: { group } })
      : spec({ bits: 4, scheme: "affine", granularity: { group } }),
  );

const asInt32 = (t: Tensor): Tensor =>
  tensor(Int32Array.from(t.data as ArrayLike<number>), { shape: t.shape });

export const quant: Suite = {
  fake_quantize_per_tensor: row<Settings>(
    "fakeQuantize(x, spec({ bits, scheme: 'affine' }), { scale, zeroPoint })",
    ({ input }, { scale, zero_point: zero, qmin, qmax }) => {
      const s = specOf(qmin, qmax);
      return fakeQuantize(input, s, paramsOf(s, one(scale), one(zero)));
    },
    { torch: "fake_quantize_per_tensor_affine" },
  ),
  fake_quantize_per_channel: row<Settings>(
    "fakeQuantize(x, spec({ bits, scheme: 'affine', granularity: 'channel', axis }), { scale, zeroPoint })",
    ({ input, scale, zero_point: zero }, { qmin, qmax, axis }) => {
      const s = specOf(qmin, qmax, perChannel(axis));
      return fakeQuantize(input, s, paramsOf(s, scale, floats(zero)));
    },
    { torch: "fake_quantize_per_channel_affine" },
  ),
  lsq_per_tensor: { ...learned(null), torch: "_fake_quantize_learnable_per_tensor_affine" },
  lsq_per_channel: {
    ...learned(0),
    run: (inputs, settings) => learned((settings as Settings).axis).run(inputs, settings),
    torch: "_fake_quantize_learnable_per_channel_affine",
  },
  quantize_per_tensor: row<Settings>(
    "quantize(x, spec({ bits: 8, scheme: 'affine' }), { scale, zeroPoint })",
    perTensor,
  ),
  quantize_per_channel: row<Settings>(
    "quantize(x, spec({ bits: 8, scheme: 'affine', granularity: 'channel', axis }), { scale, zeroPoint })",
    ({ input, scale, zero_point: zero }, settings) =>
      quantized(input, settings, scale, floats(zero), perChannel(settings.axis)),
  ),
  quantize_ties: row<Settings>("", perTensor, { torch: null }),
  fake_quantize_module: row<{ averaging_constant: number }>(
    "movingAverage(spec({ bits: 8, range: 'full' }), { momentum })",
    (inputs, { averaging_constant: momentum }) => {
      const observer = movingAverage(spec({ range: "full" }), { momentum });
      const batches = Object.values(inputs);
      const scales: number[] = [];
      const outs = batches.map((batch, i) => {
        observer.observe(batch);
        const params = observer.params();
        scales.push(params.scale.item());
        return [`out${i}`, fakeQuantize(batch, observer.spec, params)] as const;
      });
      return {
        scale: tensor(scales),
        zero_point: tensor(new Int32Array(batches.length)),
        ...Object.fromEntries(outs),
      };
    },
    { torch: "FakeQuantize, MovingAverageMinMaxObserver" },
  ),
  ste_sign: row(
    "",
    ({ input }) => straightThrough(input.clip({ min: -1, max: 1 }), input.less(0).where(-1, 1)),
    {
      torch: null,
    },
  ),
  binary_linear: row(
    "",
    ({ input, weight }) => {
      const signs = straightThrough(weight.clip({ min: -1, max: 1 }), weight.less(0).where(-1, 1));
      return input.linear(signs.mul(weight.abs().mean({ axis: 1, keepDims: true })));
    },
    { torch: null },
  ),
  ternary_linear: row(
    "",
    ({ input, weight }) => {
      const scale = weight.detach().abs().mean().add(1e-5).reshape([1]);
      return input.linear(
        fakeQuantize(weight, spec({ bits: 2 }), { scale, zeroPoint: null }, { mask: false }),
      );
    },
    { torch: null },
  ),
  dynamic_int8_linear: row(
    "",
    ({ input, weight }) => {
      const x = quantize(input, spec({ granularity: "token" }));
      const w = quantize(weight, spec({ granularity: "channel" }));
      const acc = (x.codes as Tensor).matmul(w.codes as Tensor, { transposeB: true });
      return { x_int: x.codes as Tensor, w_int: w.codes as Tensor, acc, out: acc.mul(w.scale).mul(x.scale) };
    },
    { torch: null },
  ),
  groupwise_int4: row<{ group: number; symmetric: boolean }>(
    "",
    ({ weight }, { group, symmetric }) => {
      const q = weightGroups(weight, group, symmetric);
      return {
        q: asInt32(q.codes as Tensor),
        scale: q.scale,
        zero_point: q.zeroPoint
          ? asInt32(q.zeroPoint)
          : tensor(new Int32Array(q.scale.size), { shape: q.scale.shape }),
        dequantized: dequantize(q),
      };
    },
    { torch: null },
  ),
};
