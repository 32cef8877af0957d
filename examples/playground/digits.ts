/** Digits: a network of two layers that tells pictures of 12×12 numbers apart. */

import { noGrad, Rng, scope, tensor } from "bitgrad";
import { glyphs, loader } from "bitgrad/data";
import { mlp } from "bitgrad/models";
import { crossEntropy } from "bitgrad/nn";
import type { PackedModel } from "bitgrad/packed";
import {
  binaryDynamic,
  int4Dynamic,
  int8Dynamic,
  plan,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import { accuracy } from "bitgrad/train";
import type { Drawing } from "./messages.ts";
import type { Subject } from "./subject.ts";
import type { RoundedWidth } from "./widths.ts";

const side = 12;
const pixels = side * side;
const batch = 50;
const inGallery = 20;

const roundings: Record<RoundedWidth, QuantConfig> = {
  "8": int8Dynamic(),
  "4": int4Dynamic({ group: 16 }),
  "1.58": ternaryDynamic(),
  "1": binaryDynamic(),
};

/** One pass over the test pictures is too short for the clocks of browsers. */
const timedPasses = 10;

/** The reader's drawings weigh as much as so many made pictures each: moved about and blurred by noise, as those are. */
const copies = 40;

/** A drawing moved by up to one place each way, with noise. */
export function moved(picture: Float32Array, rng: Rng): Float32Array {
  const by = new Int32Array(2);
  rng.fillInt(by, -1, 2);
  const out = new Float32Array(pixels);
  rng.fillNormal(out, 0, 0.15);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const [r, c] = [row - by[0], column - by[1]];
      if (r >= 0 && r < side && c >= 0 && c < side) out[row * side + column] += picture[r * side + c];
    }
  }
  return out;
}

/** The made pictures, and the reader's drawings. */
function pictures(seed: string, drawings: readonly Drawing[]): { x: Float32Array[]; y: Int32Array } {
  const made = glyphs({ count: 4000, rng: new Rng(`pictures ${seed}`) });
  const rng = new Rng(`drawings ${seed}`);
  const x = Array.from(
    { length: made.y.size },
    (_, i): Float32Array => made.x.data.slice(i * pixels, (i + 1) * pixels),
  );
  const y = [...made.y.data];
  for (const drawing of drawings) {
    for (let copy = 0; copy < copies; copy++) {
      x.push(moved(drawing.pixels, rng));
      y.push(drawing.digit);
    }
  }
  return { x, y: Int32Array.from(y) };
}

const softmaxed = (logits: Float32Array): number[] => {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (z) => Math.exp(z - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
};

export const picturesOf = (data: Float32Array) => ({ data, shape: [data.length / pixels, pixels] });

const scoresOf = (model: PackedModel, data: Float32Array): Float32Array =>
  model.forward(picturesOf(data)).data;

/** The digit of the highest score of every picture. */
export function readOff(scores: Float32Array): number[] {
  const rows = Array.from({ length: scores.length / 10 }, (_, i) => scores.subarray(10 * i, 10 * i + 10));
  return rows.map((row) => row.indexOf(Math.max(...row)));
}

/** `drawing` gives the picture that the reader draws, or null. */
export function digitsSubject(seed: string, drawing: () => Float32Array | null): Subject {
  const test = glyphs({ count: 1000, rng: new Rng("test") });
  return {
    model: (rng) => mlp([pixels, 64, 10], { rng }),
    batches: (rng, drawings) => loader(pictures(seed, drawings), { batch, shuffle: true, rng }),
    plan: (width) => plan({ default: roundings[width] }),
    rates: { train: 3e-3, tune: 1e-2 },
    perBatch: batch,
    baseline: Math.log(10),
    gallery: { pixels: test.x.data.slice(0, inGallery * pixels), digits: test.y.data.slice(0, inGallery) },
    run(model) {
      for (let pass = 0; pass < timedPasses; pass++) scoresOf(model, test.x.data);
      return timedPasses * test.y.size;
    },
    show(model, bytes) {
      const scores = scoresOf(model, test.x.data);
      const drawn = drawing();
      return noGrad(() =>
        scope(() => {
          const logits = tensor(scores, { shape: [test.y.size, 10] });
          return {
            bytes,
            loss: crossEntropy(logits, test.y).item(),
            accuracy: accuracy(logits, test.y),
            sample: null,
            guesses: Array.from(logits.argmax({ axis: 1 }).data.slice(0, inGallery)),
            drawing: drawn && softmaxed(scoresOf(model, drawn)),
          };
        }),
      );
    },
  };
}
