/** What a model says of its residual stream: the states that blocks read through normalisations, and add to. */

import type { LayerNorm, RMSNorm } from "./norm.ts";
import { type Place, within } from "./units.ts";

/**
 * States that embeddings make and blocks add to, (…, features), which nothing reads but normalisations: with all that is
 * added turned by one rotation, and the readers of the normalisations turned back, the model computes the same function. For
 * QuaRot (Ashkboos et al., 2024, arXiv:2404.00456).
 */
export interface ResidualStream {
  readonly features: number;
  /** Where the features lie in all that is added: columns of tables, rows of the layers that end a branch, and biases. */
  readonly writers: readonly Place[];
  /** Paths of the normalisations, with those of the layers that read each, and that nothing else reads. */
  readonly norms: readonly { readonly name: string; readonly readers: readonly string[] }[];
  /** Whether a normalisation takes the mean off, as LayerNorm does: rotations must then leave it as it is. */
  readonly centered: boolean;
}

type Stream = Omit<ResidualStream, "features">;

/** Whether normalisations take the mean off: of those that are learned, LayerNorm has a bias. */
export const centers = (norm: LayerNorm | RMSNorm): boolean => "bias" in norm;

/** What the blocks of a list say of one stream, by their names in the whole; null where one of them has none. */
export function streamOfAll(
  path: string,
  blocks: readonly { residualStream(): ResidualStream | null }[],
): Stream | null {
  const all: Stream = { writers: [], norms: [], centered: false };
  return blocks.reduce<Stream | null>((stream, block, i) => {
    const part = block.residualStream();
    if (!stream || !part) return null;
    const name = (inside: string): string => `${path}.${i}.${inside}`;
    return {
      writers: [...stream.writers, ...within(`${path}.${i}`, part.writers)],
      norms: [
        ...stream.norms,
        ...part.norms.map((norm) => ({ name: name(norm.name), readers: norm.readers.map(name) })),
      ],
      centered: stream.centered || part.centered,
    };
  }, all);
}
