/** Random programs as fast-check commands: what to do and small numbers to do it with, read modulo what there is. */

import fc from "fast-check";
import { differentiable, kinkless, rough, smooth } from "./ops.ts";
import type { Program } from "./program.ts";

class Act implements fc.Command<object, Program> {
  private readonly name: string;
  private readonly act: (program: Program) => void;

  constructor(name: string, act: (program: Program) => void) {
    this.name = name;
    this.act = act;
  }

  check(): boolean {
    return true;
  }

  run(_: object, program: Program): void {
    this.act(program);
  }

  toString(): string {
    return this.name;
  }
}

const n = fc.nat(1000);
const act = <A extends unknown[]>(
  name: string,
  run: (program: Program, ...args: A) => void,
  ...args: { [K in keyof A]: fc.Arbitrary<A[K]> }
): fc.Arbitrary<Act> =>
  fc
    .tuple(...args)
    .map((all) => new Act(`${name}(${JSON.stringify(all).slice(1, -1)})`, (p) => run(p, ...(all as A))));

const names = fc.constantFrom(...Object.keys(smooth), ...Object.keys(rough));
const chain = fc
  .tuple(fc.constantFrom(...differentiable), fc.array(fc.constantFrom(...kinkless), { maxLength: 4 }))
  .map(([head, rest]) => [head, ...rest]);
const apply = act(
  "apply",
  (p, name: string, a: number, b: number, c: number) => p.apply(name, a, b, c),
  names,
  n,
  n,
  n,
);

const backward = act(
  "backward",
  (p, a: number, b: number, steps: string[], scoped: boolean) => p.backward(a, b, steps, scoped),
  n,
  n,
  chain,
  fc.boolean(),
);

export const programs = (maxCommands: number): fc.Arbitrary<Iterable<fc.Command<object, Program>>> =>
  fc.commands(
    [
      act("make", (p, shape: number, kind: number, seed: number) => p.make(shape, kind, seed), n, n, n),
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      apply,
      act("alias", (p, a: number) => p.alias(a), n),
      act("open", (p) => p.open()),
      act("open", (p) => p.open()),
      act("close", (p, level: number, kept: number) => p.close(level, kept), n, fc.nat(3)),
      act("keep", (p, a: number) => p.keepOne(a), n),
      act("dispose", (p, a: number) => p.dispose(a), n),
      act("nested", (p, depth: number) => p.nested(depth), n),
      act("thrown", (p, a: number) => p.thrown(a), n),
      act("own", (p, a: number) => p.own(a), n),
      act("own", (p, a: number) => p.own(a), n),
      backward,
      backward,
      backward,
      act("step", (p, a: number) => p.step(a), n),
      act("step", (p, a: number) => p.step(a), n),
      act("budget", (p, a: number) => p.budget(a), n),
      act("grow", (p, a: number) => p.grow(a), n),
      act("check", (p) => p.checkAll()),
    ],
    { maxCommands, size: "max" },
  );
