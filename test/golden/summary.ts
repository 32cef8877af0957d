import { expect } from "vitest";
import type { Case } from "./case.ts";

const numbers = (data: readonly (number | string)[]): number[] => data.map(Number);

/** The sums and samples that stand for a large result. */
export function expectSummary({ outputs }: Case, out: ArrayLike<number>, shape: readonly number[]): void {
  const [rows, last] = [shape[0], shape[shape.length - 1]];
  const sumRows = new Array<number>(rows).fill(0);
  const sumLast = new Array<number>(last).fill(0);
  let weighted = 0;
  for (let i = 0; i < out.length; i++) {
    sumRows[Math.floor(i / (out.length / rows))] += out[i];
    sumLast[i % last] += out[i];
    weighted += out[i] * ((i % 97) + 1);
  }
  expect(sumRows).toEqual(numbers(outputs.sum_rows.data));
  expect(sumLast).toEqual(numbers(outputs.sum_last.data));
  expect(numbers(outputs.sample_index.data).map((i) => out[i])).toEqual(numbers(outputs.sample.data));
  expect([weighted]).toEqual(numbers(outputs.weighted.data));
}
