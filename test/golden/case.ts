/** Reference cases made with PyTorch, and what it takes to run one over the public API. */

import { readFileSync } from "node:fs";
import { type DType, type Tensor, tensor } from "bitgrad";
import { expect } from "vitest";

interface GoldenTensor {
  readonly dtype: string;
  readonly shape: number[];
  /** Numbers JSON lacks are "NaN", "Infinity" and "-Infinity". */
  readonly data: (number | string)[];
}

type Named = Readonly<Record<string, GoldenTensor>>;

export interface Case {
  readonly id: string;
  readonly op: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly variant: Readonly<Record<string, unknown>>;
  readonly inputs: Named;
  readonly outputs: Named;
  readonly grad_outputs: Named;
  readonly grads: Named;
  readonly tol: { readonly rtol: number; readonly atol: number };
}

export type Tensors = Readonly<Record<string, Tensor>>;

/** One op: how PyTorch calls it, how bitgrad does, and the call itself. */
export interface Row {
  /** PyTorch's name where the case's own is another; null for a case that has no name of its own. */
  readonly torch?: string | null;
  readonly call: string;
  readonly note?: string;
  run(inputs: Tensors, settings: object): Run;
}

export interface Run {
  readonly outputs: Tensors;
  /** The gradient of an input that was copied into a parameter; null for the others. */
  gradOf?(name: string): Tensor | null;
}

export type Suite = Readonly<Record<string, Row>>;

/** A row whose function gives one tensor ("out"), or several by name. S: the case's params, null ones left out. */
export function row<S extends object = object>(
  call: string,
  run: (inputs: Tensors, settings: S) => Tensor | Tensors,
  about: Pick<Row, "torch" | "note"> = {},
): Row {
  return {
    ...about,
    call,
    run(inputs, settings) {
      const result = run(inputs, settings as S);
      return { outputs: result instanceof tensorClass ? { out: result } : result };
    },
  };
}

const tensorClass = tensor(0).constructor as new () => Tensor;

/** Outputs out0, out1, … of an op that gives a list. */
export const listed = (tensors: readonly Tensor[]): Tensors =>
  Object.fromEntries(tensors.map((t, i) => [`out${i}`, t]));

export const readSuite = (name: string): Case[] =>
  JSON.parse(readFileSync(new URL(`./${name}.json`, import.meta.url), "utf8")).cases;

/** int64 is int32 here. */
const dtypeOf = ({ dtype }: GoldenTensor): DType => (dtype === "int64" ? "int32" : (dtype as DType));

const toTensor = (given: GoldenTensor, requiresGrad = false): Tensor =>
  tensor(given.data.map(Number), { dtype: dtypeOf(given), shape: given.shape, requiresGrad });

/** Runs a case: values, and where the case has them, gradients; in float32, within the case's own tolerance. */
export function check(given: Case, { run }: Row): void {
  const inputs = mapped(given.inputs, (t, name) => toTensor(t, name in given.grads));
  // PyTorch's None is an option left out.
  const settings = Object.entries({ ...given.variant, ...given.params }).filter(([, v]) => v !== null);
  const { outputs, gradOf } = run(inputs, Object.fromEntries(settings));
  const problems = Object.entries(given.outputs).flatMap(([name, want]) =>
    differences(name, outputs[name], want, given.tol),
  );
  if (Object.keys(given.grads).length > 0) {
    const parts = Object.entries(given.grad_outputs).map(([name, grad]) => ({
      output: outputs[name],
      grad: toTensor(grad),
    }));
    if (parts.length === 1) parts[0].output.backward(parts[0].grad);
    else {
      parts
        .map(({ output, grad }) => output.mul(grad).sum())
        .reduce((a, b) => a.add(b))
        .backward();
    }
    for (const [name, want] of Object.entries(given.grads)) {
      const got = gradOf?.(name) ?? inputs[name].grad;
      problems.push(...differences(`gradient of ${name}`, got, want, given.tol));
    }
  }
  expect(problems).toEqual([]);
}

const mapped = <A, B>(
  list: Readonly<Record<string, A>>,
  f: (item: A, name: string) => B,
): Record<string, B> => Object.fromEntries(Object.entries(list).map(([name, item]) => [name, f(item, name)]));

/** What is wrong with `got`, in words; at most the first five elements. */
function differences(
  name: string,
  got: Tensor | null | undefined,
  want: GoldenTensor,
  tol: Case["tol"],
): string[] {
  if (!got) return [`${name}: missing`];
  const dtype = dtypeOf(want);
  if (got.dtype !== dtype || `${got.shape}` !== `${want.shape}`) {
    return [`${name}: got ${got.dtype} (${got.shape}), want ${dtype} (${want.shape})`];
  }
  const { rtol, atol } = dtype === "float32" ? tol : { rtol: 0, atol: 0 };
  const wrong = want.data.flatMap((value, i) => {
    const a = got.data[i];
    const b = Number(value);
    const right =
      a === b || (Number.isNaN(a) && Number.isNaN(b)) || Math.abs(a - b) <= atol + rtol * Math.abs(b);
    return right ? [] : [`${name}[${i}]: got ${a}, want ${b}`];
  });
  return wrong.slice(0, 5);
}
