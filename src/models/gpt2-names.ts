/** Gpt's names for those of GPT-2's checkpoints. */

import { OptionError, show } from "../errors.ts";

const parts: readonly (readonly [RegExp, string])[] = [
  [/^wte\./, "token."],
  [/^wpe\./, "position."],
  [/^ln_f\./, "norm."],
  [/^lm_head\./, "head."],
  [/^h\./, "blocks."],
  [/\.ln_(\d)\./, ".norm$1."],
  [/\.attn\.c_proj\./, ".attention.out."],
  [/\.mlp\.c_fc\./, ".mlp.up."],
  [/\.mlp\.c_proj\./, ".mlp.down."],
];

/**
 * A name of GPT-2's checkpoint as `Gpt` has it, the joint projection as its three parts. Made for `load`, after `gpt2Names` of
 * `bitgrad/io`, which transposes: `load(path, { into: gpt, rename: composeNames(gpt2Names, gptNames) })`.
 *
 * @example
 * ```ts
 * import { gptNames } from "bitgrad/models";
 *
 * console.log(gptNames("h.0.mlp.c_fc.weight").name); // blocks.0.mlp.up.weight
 * ```
 */
export function gptNames(name: string): { name: string | readonly string[] } {
  if (typeof name !== "string") throw new OptionError(`gptNames: a name must be text, got ${show(name)}`);
  const ours = parts.reduce((text, [from, to]) => text.replace(from, to), name);
  const joint = /^(.*)\.attn\.c_attn\.(.*)$/.exec(ours);
  if (!joint) return { name: ours };
  return { name: ["query", "key", "value"].map((part) => `${joint[1]}.attention.${part}.${joint[2]}`) };
}
