/** Writes rows of `size` from position `start` on: sin at even and cos at odd columns of position/10000^(2i/size). */
export function writeSinusoids(out: Float32Array | Float64Array, size: number, start: number): void {
  for (let at = 0; at < out.length; at++) {
    const i = at % size;
    const angle = (start + (at - i) / size) / 10000 ** ((i - (i % 2)) / size);
    out[at] = i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  }
}
