/** One model beside another: its size, its speed, how good it is, and what it does. */

import { count, element, part, percent, speed } from "./dom.ts";
import type { Gallery, Look, Shown } from "./messages.ts";

const side = 12;

/** A picture of 12×12 numbers, 0 dark to 1 light. */
export function picture(pixels: Float32Array): HTMLCanvasElement {
  const canvas = element("canvas", { width: side, height: side, className: "picture" });
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(side, side);
  pixels.forEach((value, i) => {
    const grey = Math.max(0, Math.min(255, Math.floor(value * 255)));
    image.data.set([grey, grey, grey, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

const pair = (name: string, value: string): HTMLElement[] => [
  element("dt", { textContent: name }),
  element("dd", { textContent: value }),
];

/** The numbers of a model. `beside` is what its size is compared with. */
function facts(shown: Shown, beside: Shown | null): HTMLElement[] {
  const { bytes, loss, accuracy, perSecond, sample } = shown;
  const part = beside && beside.bytes > bytes ? `, 1/${(beside.bytes / bytes).toFixed(0)}` : "";
  return [
    ...pair("File", `${count(bytes)} bytes${part}`),
    ...(accuracy === null ? [] : pair("Accuracy", `${(100 * accuracy).toFixed(1)} %`)),
    ...(loss === null || accuracy !== null ? [] : pair("Loss", loss.toFixed(3))),
    ...pair("Speed", `${speed(perSecond)} ${sample === null ? "pictures" : "bytes"}/s`),
  ];
}

/** Pictures with the digits that a model sees in them; where it is wrong, with the right one. */
function guesses({ pixels, digits }: Gallery, guessed: readonly number[]): HTMLElement {
  const items = guessed.map((guess, i) => {
    const right = guess === digits[i];
    const text = right ? `${guess}` : `${guess}, not ${digits[i]}`;
    const canvas = picture(pixels.subarray(i * side * side, (i + 1) * side * side));
    return element(
      "li",
      { className: right ? "right" : "wrong" },
      canvas,
      element("span", { textContent: text }),
    );
  });
  return element("ul", { className: "gallery" }, ...items);
}

function drawn(shares: readonly number[]): HTMLElement {
  const order = shares.map((_, digit) => digit).sort((a, b) => shares[b] - shares[a]);
  const [first, second] = order;
  const text = `Your drawing: ${first} (${percent(shares[first])}), else ${second} (${percent(shares[second])})`;
  return element("p", { className: "drawn", textContent: text });
}

/** It scrolls, and so can be reached by keys. */
function sampleOf(text: string): HTMLElement {
  const sample = element("pre", { className: "sample", textContent: text, tabIndex: 0 });
  sample.setAttribute("role", "region");
  sample.setAttribute("aria-label", "A sample of what it writes");
  return sample;
}

/** Shows a model in a card. The card's heading stays. */
export function showCard(
  card: HTMLElement,
  shown: Shown,
  gallery: Gallery | null,
  beside: Shown | null,
): void {
  part(card, "facts").replaceChildren(...facts(shown, beside));
  const does = part(card, "does");
  const before = does.querySelector("pre");
  if (shown.sample !== null && before) {
    // In place, so that who reads in it stays where he is.
    before.textContent = shown.sample;
    return;
  }
  const parts: HTMLElement[] = [];
  if (shown.drawing) parts.push(drawn(shown.drawing));
  if (shown.guesses && gallery) parts.push(guesses(gallery, shown.guesses));
  if (shown.sample !== null) parts.push(sampleOf(shown.sample));
  does.replaceChildren(...parts);
}

/** The cells of a row of the table. */
export function cells({ bytes, loss, accuracy, perSecond }: Look): string[] {
  const worth = accuracy === null ? (loss?.toFixed(3) ?? "") : `${(100 * accuracy).toFixed(1)} %`;
  return [count(bytes), worth, speed(perSecond)];
}
