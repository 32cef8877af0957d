/**
 * Which of several products of the same numbers runs: the one that `npm run bench -- --crossover` measured to be faster for
 * weights of so many bits, so large, times so many rows. `backendInfo().choices` tells what was chosen, and why.
 */

import { wasmSupport } from "../../../kernels/wasm/load.ts";
import { choices } from "../../backend.ts";
import { crossovers } from "./crossover.ts";
import type { Crossover } from "./measured.ts";

/** What was measured with the build that runs, or else with the plain one. */
const measured = (): Crossover =>
  (wasmSupport().build === "relaxed" ? crossovers.relaxed : null) ?? crossovers.plain;

/** Products that are remembered; the first of them are forgotten. */
const remembered = 100;

function record(product: string, way: string): void {
  choices.delete(product);
  if (choices.size >= remembered) choices.delete(choices.keys().next().value!);
  choices.set(product, `${way}, as measured on ${measured().machine}`);
}

/** Rows of integer codes up to which a weight (n, k) of 1 bit, or a ternary one, is multiplied by lookup. */
export function rowsByLookup(bits: 1 | 2, n: number, k: number): number {
  const steps = measured().lookupRows[bits];
  const distance = ([weights]: readonly [number, number]): number => Math.abs(Math.log(weights / (n * k)));
  const [, rows] = steps.reduce((best, step) => (distance(step) < distance(best) ? step : best));
  record(
    `${bits === 1 ? "1-bit" : "ternary"} weights (${n}, ${k}) times integers`,
    rows === Infinity
      ? "by lookup"
      : rows === 0
        ? "as int8"
        : `by lookup up to ${rows} rows, as int8 from there`,
  );
  return rows;
}

/** Whether a weight (n, k) is multiplied by float32 input faster as float32 than as codes. */
export function floatIsFaster(bits: number, n: number, k: number): boolean {
  const faster = n * k <= measured().floatWeights[bits - 1];
  record(`${bits}-bit weights (${n}, ${k}) times float32`, faster ? "kept as float32" : "packed");
  return faster;
}
