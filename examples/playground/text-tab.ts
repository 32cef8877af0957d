/** The inputs of the text tab: what to learn from, the size of the model, and what a sample begins with. */

import type { Bench, Tab } from "./bench.ts";
import corpus from "./corpus.txt?raw";
import { count, fromTemplate, part } from "./dom.ts";

/** More would take long to hand over, and a small model learns little from it. */
const mostText = 4 * 1024 * 1024;

export function textTab(bench: () => Bench): Tab {
  const inputs = fromTemplate("text-inputs");
  const text = part<HTMLTextAreaElement>(inputs, "text");
  const file = part<HTMLInputElement>(inputs, "text-file");
  const size = part<HTMLSelectElement>(inputs, "size");
  const prompt = part<HTMLInputElement>(inputs, "prompt");
  const length = part(inputs, "length");
  const measure = () => {
    length.textContent = `${count(new TextEncoder().encode(text.value).length)} bytes`;
  };
  text.value = corpus;
  measure();
  text.addEventListener("input", measure);
  file.addEventListener("change", async () => {
    const chosen = file.files?.[0];
    if (!chosen) return;
    text.value = (await chosen.slice(0, mostText).text()).replaceAll("\r\n", "\n");
    measure();
  });
  prompt.addEventListener("change", () => bench().ask({ type: "prompt", prompt: asked(prompt.value) }));
  return {
    inputs,
    meaning: fromTemplate("text-meaning"),
    lengths: [100, 300, 900, 3000],
    tuning: 1 / 3,
    words: {
      baseline: "counting letters alone",
      worth: "loss",
      unit: "bytes",
      file: "text",
    },
    setup: (seed) => ({
      task: "text",
      seed,
      text: new TextEncoder().encode(text.value),
      size: size.value as "small" | "large",
    }),
    prompt: () => asked(prompt.value),
    drawings: () => [],
    pixels: () => null,
    fixed: [text, file, size],
  };
}

/** A speaker's name, as the plays have it, begins a line of its own. */
const asked = (prompt: string): string => (prompt.endsWith(":") ? `${prompt}\n` : prompt);
