/** Cases of whole layers and small networks, loaded by PyTorch's parameter names. */

import { concat, type Tensor } from "bitgrad";
import {
  type Capture,
  crossEntropy,
  Embedding,
  LayerNorm,
  Linear,
  loadStateDict,
  MultiHeadAttention,
  namedParameters,
  Sequential,
  type Step,
  TransformerDecoderLayer,
  TransformerEncoderLayer,
} from "bitgrad/nn";
import type { Row, Run, Suite, Tensors } from "./case.ts";

const renames: readonly (readonly [RegExp, string])[] = [
  [/\bself_attn\b/, "attention"],
  [/\bmultihead_attn\b/, "crossAttention"],
  [/\bout_proj\b/, "out"],
  [/\blinear1\b/, "mlp.up"],
  [/\blinear2\b/, "mlp.down"],
];

/** Our names for a PyTorch name; the stacked projection of attention is three parameters, stacked on axis 0. */
function ourNames(torchName: string): string[] {
  const name = renames.reduce((text, [from, to]) => text.replace(from, to), torchName);
  const stacked = /^(.*)in_proj_(weight|bias)$/.exec(name);
  return stacked ? ["query", "key", "value"].map((part) => `${stacked[1]}${part}.${stacked[2]}`) : [name];
}

/** Loads the inputs named `param.…` into a model; gives a reader of their gradients by those names. */
export function load(model: object, inputs: Tensors): NonNullable<Run["gradOf"]> {
  const state: Record<string, Tensor> = {};
  for (const [name, value] of Object.entries(inputs)) {
    if (!name.startsWith("param.")) continue;
    const names = ourNames(name.slice(6));
    value.chunk(names.length).forEach((part, i) => {
      state[names[i]] = part;
    });
  }
  loadStateDict(model, state);
  const parameters = new Map(namedParameters(model));
  return (name) => {
    if (!name.startsWith("param.")) return null;
    const grads = ourNames(name.slice(6)).flatMap((ours) => parameters.get(ours)?.grad ?? []);
    return grads.length > 0 ? concat(grads) : null;
  };
}

/** A row of a model: made from the settings, loaded, run. */
function model<M extends object, S extends object>(
  call: string,
  make: (settings: S, inputs: Tensors) => M,
  forward: (model: M, inputs: Tensors, settings: S) => Tensors,
  about: Pick<Row, "torch" | "note"> = {},
): Row {
  return {
    ...about,
    call,
    run(inputs, given) {
      const settings = given as S;
      const made = make(settings, inputs);
      const gradOf = load(made, inputs);
      return { outputs: forward(made, inputs, settings), gradOf };
    },
  };
}

/** PyTorch's layers block where a bool mask is true; here it is where a key may be attended to. */
const allowed = (mask: Tensor | undefined): Tensor | null =>
  !mask ? null : mask.dtype === "bool" ? mask.logicalNot() : mask;

/** Masks of keys (B, S) as (B, 1, 1, S). */
const ofKeys = (mask: Tensor | undefined): Tensor | null =>
  allowed(mask)?.reshape([mask!.shape[0], 1, 1, mask!.shape[1]]) ?? null;

interface Heads {
  readonly embed_dim: number;
  readonly num_heads: number;
  readonly bias: boolean;
  readonly average_attn_weights: boolean;
}

interface Block {
  readonly d_model: number;
  readonly nhead: number;
  readonly dim_feedforward: number;
  readonly dropout: number;
  readonly activation: "relu" | "gelu";
  readonly norm_first: boolean;
  readonly layer_norm_eps?: number;
}

const blockOptions = ({ dropout, activation, norm_first, layer_norm_eps: eps }: Block) => ({
  dropout,
  activation,
  norm: norm_first ? ("pre" as const) : ("post" as const),
  eps,
});

interface Gpt {
  readonly vocab: number;
  readonly block: number;
  readonly n_embd: number;
  readonly n_head: number;
  readonly ff: number;
  readonly n_layer: number;
}

const tinyGpt = ({ vocab, block, n_embd, n_head, ff, n_layer }: Gpt) => ({
  tok: new Embedding(vocab, n_embd),
  pos: new Embedding(block, n_embd),
  blocks: Array.from(
    { length: n_layer },
    () => new TransformerEncoderLayer(n_embd, n_head, ff, { norm: "pre", activation: "geluTanh" }),
  ),
  ln: new LayerNorm(n_embd),
  head: new Linear(n_embd, vocab, { bias: false }),
});

const activations: Readonly<Record<string, (x: Tensor) => Tensor>> = {
  tanh: (x) => x.tanh(),
  relu: (x) => x.relu(),
  gelu: (x) => x.gelu(),
};

const maskNote =
  "in bitgrad/nn; a bool mask is true where a key may be attended to, in PyTorch where it may not";

export const transformer: Suite = {
  multihead_attention: model(
    "new MultiHeadAttention(dim, heads, { bias }).forward(x, { context, causal, mask, capture })",
    ({ embed_dim, num_heads, bias }: Heads) => new MultiHeadAttention(embed_dim, num_heads, { bias }),
    (layer, { query, key, value, attn_mask, key_padding_mask }, { average_attn_weights: average }) => {
      const capture: Capture = { probabilities: [] };
      const mask = allowed(attn_mask) ?? ofKeys(key_padding_mask);
      const out = layer.forward(query, { context: [key, value], mask, capture });
      const [probabilities] = capture.probabilities!;
      return { out, weights: average ? probabilities.mean({ axis: 1 }) : probabilities };
    },
    { torch: "MultiheadAttention", note: maskNote },
  ),
  encoder_layer: model(
    "new TransformerEncoderLayer(dim, heads, hidden, { norm, activation, dropout, eps }).forward(x, { causal, mask })",
    (settings: Block) =>
      new TransformerEncoderLayer(
        settings.d_model,
        settings.nhead,
        settings.dim_feedforward,
        blockOptions(settings),
      ),
    (layer, { src, src_mask, src_key_padding_mask }) => ({
      out: layer.forward(src, { mask: allowed(src_mask) ?? ofKeys(src_key_padding_mask) }),
    }),
    { torch: "TransformerEncoderLayer", note: maskNote },
  ),
  decoder_layer: model(
    "new TransformerDecoderLayer(dim, heads, hidden, { norm, activation, dropout, eps }).forward(x, memory, { causal, mask })",
    (settings: Block) =>
      new TransformerDecoderLayer(
        settings.d_model,
        settings.nhead,
        settings.dim_feedforward,
        blockOptions(settings),
      ),
    (layer, { tgt, memory, tgt_mask }) => ({
      out: layer.forward(tgt, memory, { causal: false, mask: allowed(tgt_mask) }),
    }),
    { torch: "TransformerDecoderLayer", note: `${maskNote}; causal unless told otherwise` },
  ),
  tiny_gpt: model(
    "",
    tinyGpt,
    ({ tok, pos, blocks, ln, head }, { idx, target }) => {
      const places = Array.from({ length: idx.shape[1] }, (_, i) => i);
      let x = tok.forward(idx).add(pos.forward(places));
      for (const block of blocks) x = block.forward(x, { causal: true });
      const logits = head.forward(ln.forward(x));
      return { logits, loss: crossEntropy(logits, target) };
    },
    { torch: null },
  ),
  mlp: model(
    "",
    ({ dims, activation }: { dims: number[]; activation: string }) =>
      new Sequential(
        ...dims.slice(1).flatMap((n, i): Step[] => {
          const layer = new Linear(dims[i], n);
          return i === dims.length - 2 ? [layer] : [layer, activations[activation]];
        }),
      ),
    (layers, { input, target }) => {
      const logits = layers.forward(input);
      return { logits, loss: crossEntropy(logits, target) };
    },
    { torch: null },
  ),
};
