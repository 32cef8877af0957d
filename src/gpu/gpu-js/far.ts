/** Numbers that kernels of gpu.js made, or will have made. */

import type { Far } from "../engine.ts";

/** What gpu.js gives and takes: an array where its mode computes on the CPU, else a texture. */
export type Resident = Float32Array | Texture;

export interface Texture {
  toArray(): Float32Array | Promise<Float32Array>;
  delete(): void;
}

export const isTexture = (x: Resident): x is Texture => !ArrayBuffer.isView(x);

export class Later implements Far {
  readonly length: number;
  readonly ready: Promise<Resident>;

  constructor(length: number, ready: Promise<Resident>) {
    this.length = length;
    this.ready = ready;
    // Whoever reads the last result hears of it: what is made from this fails with the same error.
    ready.catch(() => {});
  }

  async read(): Promise<Float32Array> {
    const held = await this.ready;
    return isTexture(held) ? await held.toArray() : held;
  }
}

/** Also of one that another copy of the library made. */
export const isLater = (data: unknown): data is Later =>
  typeof (data as Partial<Later> | null)?.ready?.then === "function";
