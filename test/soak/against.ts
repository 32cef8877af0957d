/** The same on the reference, beside what the backend in use gave. */

import { type Tensor, useBackend } from "bitgrad";

export const backendName = (process.env.BITGRAD_BACKEND ?? "simd") as "simd" | "reference";

export function onReference<T>(run: () => T): T {
  useBackend("reference");
  try {
    return run();
  } finally {
    useBackend(backendName);
  }
}

/** Kernels are held to their bounds one by one; this finds operands that were mixed up on the way to them. */
export function close(name: string, got: Tensor, want: Tensor, finite: boolean): void {
  if (got.dtype !== want.dtype || got.shape.join() !== want.shape.join())
    throw new Error(`${name}: got ${got.dtype}[${got.shape}], want ${want.dtype}[${want.shape}]`);
  const size = Array.prototype.reduce.call(
    want.data,
    (most: unknown, x: number) => (Number.isFinite(x) ? Math.max(most as number, Math.abs(x)) : most),
    1,
  ) as number;
  for (let i = 0; i < want.size; i++) {
    const [g, w] = [got.data[i], want.data[i]];
    if (Object.is(g, w) || g === w || Math.abs(g - w) <= 1e-3 * size) continue;
    if (!finite && !(Number.isFinite(g) && Number.isFinite(w))) continue;
    throw new Error(`${name}: element ${i} of [${want.shape}] is ${g}, ${w} on the reference`);
  }
}
