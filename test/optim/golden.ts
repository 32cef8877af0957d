import { readFileSync } from "node:fs";
import { expect } from "vitest";

interface GoldenTensor {
  readonly dtype: string;
  readonly shape: number[];
  readonly data: number[];
}

export interface Case {
  readonly id: string;
  readonly op: string;
  readonly params: Record<string, unknown>;
  readonly variant: { readonly options?: Record<string, number> };
  readonly inputs: Record<string, GoldenTensor>;
  readonly outputs: Record<string, GoldenTensor>;
  readonly tol: { readonly rtol: number; readonly atol: number };
}

/** The cases of one suite of reference values made with PyTorch. */
export const golden = (suite: string): Case[] =>
  JSON.parse(readFileSync(new URL(`../golden/${suite}.json`, import.meta.url), "utf8")).cases;

/** PyTorch's snake_case options in camelCase. */
export const camelOptions = (params: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(params).map(([key, value]) => [key.replace(/_(\w)/g, (_, c) => c.toUpperCase()), value]),
  );

/** |got − want| ≤ atol + rtol·|want| for every element. */
export function expectWithin(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  { rtol, atol }: Case["tol"],
): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++) {
    expect(Math.abs(got[i] - want[i]), `element ${i}: got ${got[i]}, want ${want[i]}`).toBeLessThanOrEqual(
      atol + rtol * Math.abs(want[i]),
    );
  }
}
