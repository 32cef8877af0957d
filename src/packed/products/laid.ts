/** What a product lays on the heap, and how it goes again. */

import { memoryIsShared } from "../../../kernels/wasm/heap.ts";

/** Weights as a kernel reads them, until they are freed. */
export interface Layer {
  free(): void;
}

/** Gives the heap back when nobody holds the product any more. */
const freed = /* @__PURE__ */ new FinalizationRegistry<Layer>((layer) => layer.free());

/** The layers of one product by the names of its ways, each made at first use. */
export class Laid {
  private readonly layers = new Map<string, { readonly key: string; readonly layer: Layer | null }>();

  /**
   * The layer of a name, made where it is not there, or was made for another key: that one goes. Null where the kernel does not
   * serve it; it is asked again where the heap may have grown since.
   */
  get<L extends Layer>(name: string, make: () => L | null, key = ""): L | null {
    const known = this.layers.get(name);
    if (known?.key === key && (known.layer || memoryIsShared())) return known.layer as L | null;
    this.layers.delete(name);
    this.drop(known?.layer);
    const layer = make();
    if (layer) freed.register(this, layer, layer);
    this.layers.set(name, { key, layer });
    return layer;
  }

  /** Gives all of it back; what is used again is made anew. */
  free(): void {
    for (const { layer } of this.layers.values()) this.drop(layer);
    this.layers.clear();
  }

  private drop(layer: Layer | null | undefined): void {
    if (!layer) return;
    freed.unregister(layer);
    layer.free();
  }
}
