/** The inputs of the tab of digits: a pad to draw on, and the reader's drawings among the pictures that are learned from. */

import type { Bench, Tab } from "./bench.ts";
import { picture } from "./card.ts";
import { element, fromTemplate, part } from "./dom.ts";
import { places } from "./fitted.ts";
import type { Drawing } from "./messages.ts";
import { Pad } from "./pad.ts";

/** While the reader draws, the models are asked no more often than this, in milliseconds. */
const askEvery = 200;

export function digitsTab(bench: () => Bench): Tab {
  const inputs = fromTemplate("digits-inputs");
  const seen = part(inputs, "seen");
  const digit = part<HTMLSelectElement>(inputs, "digit");
  const add = part<HTMLButtonElement>(inputs, "add");
  const list = part(inputs, "drawings");
  const drawings: Drawing[] = [];
  let pixels: Float32Array | null = null;
  let waiting = false;

  const look = () => {
    waiting = false;
    pixels = pad.picture();
    add.disabled = pixels === null;
    seen.replaceChildren(picture(pixels ?? new Float32Array(places * places)));
    bench().ask({ type: "see", pixels });
  };
  const pad = new Pad(part(inputs, "pad"), () => {
    if (waiting) return;
    waiting = true;
    setTimeout(look, askEvery);
  });
  seen.append(picture(new Float32Array(places * places)));
  for (let i = 0; i < 10; i++) digit.add(new Option(String(i)));
  part(inputs, "clear").addEventListener("click", () => pad.clear());
  add.addEventListener("click", () => {
    if (!pixels) return;
    const drawing = { pixels, digit: Number(digit.value) };
    drawings.push(drawing);
    const item = element("li", {}, picture(pixels), element("span", { textContent: digit.value }));
    list.append(item);
    pad.clear();
    bench().say(`Your ${digit.value} is among the pictures of the next training.`);
  });
  return {
    inputs,
    meaning: fromTemplate("digits-meaning"),
    lengths: [80, 320, 640, 2000],
    tuning: 1,
    words: { baseline: "guessing", worth: "accuracy", unit: "pictures", file: "digits" },
    setup: (seed) => ({ task: "digits", seed }),
    prompt: () => "",
    drawings: () => drawings,
    pixels: () => pixels,
    fixed: [],
  };
}
