import { Rng, randn, type Tensor } from "bitgrad";
import { evaluate } from "bitgrad/nn";
import { loadPacked } from "bitgrad/packed";
import { calibrate, freeze, pack, plan, prepare, type QuantConfig } from "bitgrad/quant";

export const bits = ({ data }: { data: ArrayLike<number> }): number[] =>
  Array.from(new Uint32Array(Float32Array.from(data).buffer));
export const random = (shape: number[], seed = 3): Tensor => randn(shape, { rng: new Rng(seed) });
/** Copied: a memory that is not shared grows under views. */
export const values = (x: Tensor) => ({ data: x.data.slice() as Float32Array, shape: x.shape });

/** The frozen model and its packed twin, which went through a file. */
export async function twins<M extends object>(
  model: M,
  config: QuantConfig,
  x: Tensor,
  forward: ((x: Tensor) => unknown) | null = null,
) {
  prepare(model, plan({ default: config }));
  if (config.input?.().observer) await calibrate(model, [x], { forward });
  const packed = pack(evaluate(freeze(model)));
  return { model, packed: loadPacked(packed.toBytes()), fresh: packed };
}
