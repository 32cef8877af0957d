/** By which scale a number is read, by its place along each axis. */

import type { QuantSpec } from "bitgrad/quant";

export function scaleAt({ granularity, axis }: QuantSpec, shape: readonly number[], index: number): number {
  const rank = shape.length;
  const own = (axis + rank) % rank;
  /** How many places along an axis share a scale. */
  const shared = (size: number, at: number): number => {
    if (granularity === "tensor") return size;
    if (granularity === "channel") return at === own ? 1 : size;
    if (granularity === "token") return at === rank - 1 ? size : 1;
    if ("group" in granularity) return at === own ? granularity.group : 1;
    return at < rank - 2 ? 1 : granularity.block[at - rank + 2];
  };
  let scale = 0;
  let inner = shape.reduce((a, b) => a * b, 1);
  let rest = index;
  for (const [at, size] of shape.entries()) {
    inner /= size;
    const place = Math.floor(rest / inner);
    rest -= place * inner;
    const share = shared(size, at);
    scale = scale * Math.ceil(size / share) + Math.floor(place / share);
  }
  return scale;
}
