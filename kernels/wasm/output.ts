/** Lays an output transform out on the heap as kernels/wasm/output.as.ts reads it. */

import type { Output } from "../output.ts";
import { alloc, free, view } from "./heap.ts";

const specWords = 15;
const kinds = { int32: 0, float32: 1, int8: 2, uint8: 3, bits: 4 } as const;

/** What layers of the same weights share, by the object that stands for the weights and by name. */
const common = new WeakMap<object, Map<string, { readonly address: number; uses: number }>>();

/** Blocks that are allocated one after another and freed together. */
export class Blocks {
  private readonly addresses: number[] = [];
  private readonly leave: (() => void)[] = [];

  /** The address of so many bytes; throws HeapFull where the heap is exhausted. */
  take(bytes: number): number {
    const address = alloc(bytes);
    if (address === 0) throw new HeapFull();
    this.addresses.push(address);
    return address;
  }

  /** Runs `use` on the address of so many bytes, which are free again after; throws HeapFull as `take` does. */
  lend(bytes: number, use: (address: number) => void): void {
    const address = alloc(bytes);
    if (address === 0) throw new HeapFull();
    try {
      use(address);
    } finally {
      free(address);
    }
  }

  /**
   * The address of what `fill` writes into so many bytes: written once for all layers that ask for `name` of the same `weights`,
   * which must not change meanwhile, and freed with the last of them.
   */
  share(weights: object, name: string, bytes: number, fill: (address: number) => void): number {
    const held = common.get(weights) ?? new Map();
    common.set(weights, held);
    const block = held.get(name) ?? { address: alloc(bytes), uses: 0 };
    if (block.address === 0) throw new HeapFull();
    if (block.uses++ === 0) held.set(name, block);
    this.leave.push(() => {
      if (--block.uses > 0) return;
      held.delete(name);
      free(block.address);
    });
    if (block.uses === 1) fill(block.address);
    return block.address;
  }

  /** `length` floats: the values, or the one value, or `missing`, then zeros. */
  floats(length: number, values: ArrayLike<number> | undefined, count: number, missing: number): number {
    const address = this.take(length * 4);
    const to = view("float32", address, length);
    to.fill(0);
    if (values === undefined || values.length === 1) to.fill(values?.[0] ?? missing, 0, count);
    else to.set(values);
    return address;
  }

  free(): void {
    for (const address of this.addresses.splice(0)) free(address);
    for (const leave of this.leave.splice(0)) leave();
  }
}

/** Thrown inside of `onHeap` alone. */
class HeapFull extends Error {}

/** What `make` returns, or null, with nothing left allocated, where the heap is exhausted. */
export function onHeap<T>(make: (blocks: Blocks) => T): T | null {
  const blocks = new Blocks();
  try {
    return make(blocks);
  } catch (error) {
    blocks.free();
    if (error instanceof HeapFull) return null;
    throw error;
  }
}

/** What changes from call to call. */
export interface OutputPlace {
  /** Where the output goes and the bytes between its rows. */
  readonly out: number;
  readonly step: number;
  /** The scales of the rows of the activations, and the bytes between them; left out, those that were laid out. */
  readonly scaleX?: number;
  readonly scaleXStep?: number;
}

/** Writes the changing words of a spec. */
export function placeOutput(spec: number, { out, step, scaleX, scaleXStep = 4 }: OutputPlace): void {
  const words = view("int32", spec, specWords);
  words[1] = out;
  words[2] = step;
  if (scaleX !== undefined) {
    words[5] = scaleX;
    words[6] = scaleXStep;
  }
}

/**
 * The address of the spec of `output` over n columns; with `grouped`, the kernel applies scaleW. `sumW` (n) is needed
 * where there is a zeroX.
 */
export function layOutput(
  blocks: Blocks,
  output: Output,
  n: number,
  grouped: boolean,
  sumW: ArrayLike<number> | null,
): number {
  const width = Math.ceil(n / 8) * 8;
  const spec = blocks.take(specWords * 4);
  const { to, scaleW, scaleX, bias, zeroX = 0, thresholds, directions } = output;
  const integers = (value: (i: number) => number): number => {
    const address = blocks.take(width * 4);
    const array = view("int32", address, width);
    for (let i = 0; i < width; i++) array[i] = i < n ? value(i) : 0;
    return address;
  };
  const scale = grouped ? 0 : blocks.floats(width, scaleW, n, 1);
  const rows = blocks.floats(Math.max(4, scaleX?.length ?? 0), scaleX, 1, 1);
  const offsets = blocks.floats(width, bias, n, 0);
  const shift = zeroX === 0 || sumW === null ? 0 : integers((i) => -Math.imul(zeroX, sumW[i]));
  const limits = thresholds === undefined ? 0 : integers((i) => thresholds[i]);
  const down = thresholds === undefined ? 0 : integers((i) => ((directions?.[i] ?? 1) > 0 ? 0 : -1));
  const words = view("int32", spec, specWords);
  const floats = view("float32", spec + 32, 4);
  words.set([kinds[to], 0, 0, n, scale, rows, scaleX !== undefined && scaleX.length > 1 ? 4 : 0, offsets]);
  floats.set([output.low ?? -Infinity, output.high ?? Infinity, output.inverse ?? 1, output.outZero ?? 0]);
  words.set([shift, limits, down], 12);
  return spec;
}
