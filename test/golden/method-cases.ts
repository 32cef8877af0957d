/** Reference cases of whole methods, as `methods/*.json` hold them: what public code or a formula gives. */

import { readFileSync } from "node:fs";
import { type Tensor, tensor } from "bitgrad";

interface GivenTensor {
  readonly dtype: string;
  readonly shape: number[];
  readonly data: number[];
}

export interface MethodCase<P> {
  readonly name: string;
  readonly params: P;
  readonly inputs: Readonly<Record<string, GivenTensor>>;
  readonly outputs: Readonly<Record<string, GivenTensor>>;
  readonly tolerance: { readonly rtol: number; readonly atol: number };
}

export const methodCases = <P = object>(file: string): MethodCase<P>[] =>
  JSON.parse(readFileSync(new URL(`./methods/${file}.json`, import.meta.url), "utf8")).cases;

export const tensorOf = ({ shape, data }: GivenTensor): Tensor => tensor(data, { shape });

/**
 * What differs from an output, where it `counts`, by more than the tolerance of its case; integers must be equal. Files
 * write a float32 as the shortest decimal that is rounded to it.
 */
export function differing<P>(
  of: MethodCase<P>,
  name: string,
  got: readonly number[],
  counts: (index: number, length: number) => boolean = () => true,
): string[] {
  const { dtype, data } = of.outputs[name];
  const { rtol, atol } = dtype.startsWith("float") ? of.tolerance : { rtol: 0, atol: 0 };
  if (got.length !== data.length) return [`${name}: got ${got.length} numbers, want ${data.length}`];
  return data.flatMap((written, i) => {
    const want = dtype === "float32" ? Math.fround(written) : written;
    const right = Math.abs(got[i] - want) <= atol + rtol * Math.abs(want);
    return right || !counts(i, data.length) ? [] : [`${name}[${i}]: got ${got[i]}, want ${want}`];
  });
}
