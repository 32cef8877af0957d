/** Rotations of features, and where they turn parameters: what `rotate` is made of. */

import { hadamard, powerOfTwoIn, regularHadamard } from "../../../kernels/linalg/hadamard.ts";
import { newArray } from "../../dtype.ts";
import type { Parameter } from "../../nn/parameter.ts";
import { type Place, placeIndices } from "../../nn/units.ts";
import { defaultRng } from "../../random/default.ts";
import type { Rng } from "../../random/rng.ts";
import { wrap } from "../../tensor.ts";

/** Multiplies a row of features by an orthogonal matrix, in place. */
export type Rotation = (row: Float64Array) => void;

/** x times ±1, then times a Walsh–Hadamard matrix over each block. */
export const signedRotation =
  (signs: ArrayLike<number>, block: number): Rotation =>
  (row) => {
    for (let i = 0; i < row.length; i++) row[i] *= signs[i];
    hadamard(row, block);
  };

/** The largest power of four that divides `n`. */
export function powerOfFourIn(n: number): number {
  const power = powerOfTwoIn(n);
  return Number.isInteger(Math.sqrt(power)) ? power : power / 2;
}

/**
 * x in a random order, then times a Hadamard matrix of equal row sums over each block: it is as flat, and leaves the mean as
 * it is and numbers that are all alike, so that LayerNorm of a turned row is the turned LayerNorm of the row.
 */
export function centeredRotation(features: number, rng: Rng | null): Rotation {
  const block = powerOfFourIn(features);
  const order = (rng ?? defaultRng()).permutation(features);
  return (row) => {
    const given = row.slice();
    for (let i = 0; i < row.length; i++) row[i] = given[order[i]];
    regularHadamard(row, block);
  };
}

/** Writes a parameter's numbers, changed in double precision. */
export function edit(parameter: Parameter, change: (data: Float64Array) => void): void {
  const { data, shape, dtype } = parameter.value;
  const numbers = Float64Array.from(data, Number);
  change(numbers);
  const next = newArray(dtype, numbers.length);
  next.set(numbers);
  parameter.assign(wrap(next, shape, dtype));
}

/** Turns `channels` features of a parameter where `place` says that they lie: the rows or columns of a matrix, or a bias. */
export function turn(parameter: Parameter, place: Place, channels: number, rotation: Rotation): void {
  const [rows, columns = 1] = parameter.shape;
  const indices = Array.from({ length: channels }, (_, c) => placeIndices(place, c));
  const row = new Float64Array(channels);
  edit(parameter, (data) => {
    const [others, along, across] = place.axis === 0 ? [columns, columns, 1] : [rows, 1, columns];
    for (let other = 0; other < others; other++) {
      for (let j = 0; j < place.repeat; j++) {
        for (let c = 0; c < channels; c++) row[c] = data[other * across + indices[c][j] * along];
        rotation(row);
        for (let c = 0; c < channels; c++) data[other * across + indices[c][j] * along] = row[c];
      }
    }
  });
}
