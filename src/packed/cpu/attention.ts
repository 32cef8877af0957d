import { type AttentionMask, attention as inDouble } from "../../../kernels/attention/reference.ts";
import { attention as kernel } from "../../backend.ts";
import type { AttentionCall, RotaryCall } from "../executor.ts";
import { doubles, type Ids, mended, room } from "../values.ts";

export function attention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  call: AttentionCall,
): Float32Array {
  const { b, h, hkv, tq, tk, d, rows, beside, causal, mask } = call;
  const out = room(b * h * tq * d);
  const lse = doubles(b * h * tq);
  const options = { scale: 1 / Math.sqrt(d), causal, mask: mask && additive(mask, tk) };
  const sizes = { b, h, hkv, tq, tk, d, dv: d, rows, beside };
  kernel(out, lse, q, k, v, sizes, options);
  // Scores that overflow leave a sum of none, which is right only for a query that may read nothing.
  const reads = (at: number): boolean => {
    let key = Math.floor(at / (h * tq)) * tk;
    const end = key + (causal ? tk - tq + (at % tq) + 1 : tk);
    while (key < end && mask && !mask[key]) key++;
    return key < end;
  };
  const odd = () => lse.some((sum, at) => !(Math.abs(sum) < Infinity) && reads(at));
  return mended(out, () => inDouble(out, lse, q, k, v, sizes, options), odd);
}

/** What is added to the scores of hidden keys. */
function additive(mask: Ids["data"], s: number): AttentionMask {
  const data = room(mask.length);
  for (let i = 0; i < data.length; i++) data[i] = mask[i] ? 0 : -Infinity;
  return { data, strides: [s, 0, 0, 1] };
}

export function rotary(x: Float32Array, { t, d, offset, base, style }: RotaryCall): Float32Array {
  const half = d / 2;
  const [step, gap] = style === "half" ? [1, half] : [2, 1];
  const out = room(x.length);
  for (let p = 0; p < t; p++) {
    for (let j = 0; j < half; j++) {
      const angle = (p + offset) * base ** ((-2 * j) / d);
      const cos = Math.cos(angle);
      const sin = Math.sin(angle);
      for (let i = p * d + j * step; i < x.length; i += t * d) {
        const a = x[i];
        const c = x[i + gap];
        out[i] = a * cos - c * sin;
        out[i + gap] = a * sin + c * cos;
      }
    }
  }
  return out;
}
