/**
 * The state of one random program: its live tensors, each with a plain copy that it must equal for as long as it lives, its
 * open scopes, and parameters with their optimizers. Every act checks what it can; `end` closes everything and checks the rest.
 */

import {
  keep,
  memory,
  Rng,
  type Scope,
  scope,
  setHeapBudget,
  type Tensor,
  tensor,
  useBackend,
  zeros,
} from "bitgrad";
import { crossEntropy, Parameter } from "bitgrad/nn";
import { adam, adamw, lion, type Optimizer, optimizer, sgd, signum } from "bitgrad/optim";
import type { DType, TypedArray } from "../../src/dtype.ts";
import { isRecording } from "../../src/tape.ts";
import { backendName, close, onReference } from "./against.ts";
import { rough, smooth } from "./ops.ts";

interface Level {
  scope: Scope;
  parent: Level | null;
  open: boolean;
}

interface Entry {
  tensor: Tensor;
  copy: TypedArray;
  level: Level | null;
}

const wholeBudget = 2 ** 30;
const shapes = [
  [],
  [1],
  [3],
  [0, 4],
  [64],
  [65],
  [2, 3, 4, 5],
  [7, 17],
  [1, 130],
  [16, 24],
  [4, 8, 8],
  [1300],
  [40, 50],
];
const specials = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 1e-40];

const rules = [
  () => adamw({ lr: 0.01, weightDecay: 0.1 }),
  () => adam({ lr: 0.01, amsgrad: true, weightDecay: 0.01 }),
  () => sgd({ lr: 0.01, momentum: 0.9, nesterov: true }),
  () => lion({ lr: 0.001 }),
  () => signum({ lr: 0.001 }),
];

const same = (a: ArrayLike<number>, b: ArrayLike<number>): boolean => {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
};
const tame = (data: ArrayLike<number>, finite = false): boolean =>
  Array.prototype.every.call(data, (x: number) => (Number.isFinite(x) ? Math.abs(x) < 1e3 : !finite));

export class Program {
  readonly live: Entry[] = [];
  private readonly gone: Tensor[] = [];
  private readonly levels: Level[] = [];
  private readonly trained: {
    parameter: Parameter;
    optimizer: Optimizer;
    copy: TypedArray;
    grad: TypedArray | null;
  }[] = [];
  private readonly start = memory();

  constructor() {
    useBackend(backendName);
    setHeapBudget(wholeBudget);
    this.make(3, 0, 1);
  }

  private get level(): Level | null {
    return this.levels.findLast((level) => level.open) ?? null;
  }

  private pick(n: number): Entry {
    return this.live[n % this.live.length];
  }

  private admit(made: Tensor, level = this.level): void {
    this.live.push({ tensor: made, copy: made.data.slice(), level });
    if (this.live.length > 24) this.dispose(1);
  }

  make(shape: number, kind: number, seed: number): void {
    const rng = new Rng(seed);
    const sizes = shapes[shape % shapes.length];
    const dtype: DType = kind % 9 === 8 ? "float64" : kind % 9 === 7 ? "int32" : "float32";
    const count = sizes.reduce((a, b) => a * b, 1);
    const values = Array.from({ length: count }, () => {
      if (dtype === "int32") return Math.floor(rng.next() * 9) - 4;
      return kind % 3 === 0 && rng.next() < 0.05
        ? specials[Math.floor(rng.next() * specials.length)]
        : rng.next() * 4 - 2;
    });
    const plain = tensor(values, { dtype, shape: sizes });
    // Arrays that come from outside stay plain; results of ops lie on the heap of the scope.
    this.admit(kind % 2 === 0 || dtype === "int32" ? plain : plain.mul(1));
  }

  apply(name: string, a: number, b: number, c: number): void {
    const entries = [this.pick(a), this.pick(b), this.pick(c)];
    entries.forEach(check);
    const [x, y, z] = entries.map((entry) => entry.tensor);
    const result = (smooth[name] ?? rough[name])(x, y, z, c);
    if (result === null || result === x) return;
    const twins = entries.map(({ tensor: { shape, dtype }, copy }) => tensor(copy, { shape, dtype }));
    const wanted = onReference(() =>
      (smooth[name] ?? rough[name])(...(twins as [Tensor, Tensor, Tensor]), c),
    );
    close(
      name,
      result,
      wanted!,
      entries.every(({ copy }) => tame(copy, true)),
    );
    for (const twin of [...twins, wanted!]) twin.dispose();
    // A view lives where its memory does.
    const owner = this.live.find((entry) => entry.tensor.storage === result.storage);
    if (tame(result.data) && result.size < 6000) this.admit(result, owner ? owner.level : this.level);
    else result.dispose();
  }

  alias(a: number): void {
    const entry = this.pick(a);
    this.admit(entry.tensor.reshape([entry.tensor.size]), entry.level);
  }

  open(): void {
    if (this.levels.length < 400)
      this.levels.push({ scope: scope({ name: "soak" }), parent: this.level, open: true });
  }

  /** Closes any open scope, not the innermost alone, after keeping some of its tensors. */
  close(n: number, kept: number): void {
    const open = this.levels.filter((level) => level.open);
    if (open.length === 0) return;
    const level = n % 4 === 0 ? open[n % open.length] : open[open.length - 1];
    const mine = this.live.filter((entry) => entry.level === level);
    for (const entry of mine.slice(0, kept)) this.keep(entry);
    level.open = false;
    level.scope.dispose();
    this.drop((entry) => entry.level === level);
  }

  keepOne(n: number): void {
    this.keep(this.pick(n));
  }

  private keep(entry: Entry): void {
    keep(entry.tensor);
    let parent = entry.level?.parent ?? null;
    while (parent && !parent.open) parent = parent.parent;
    // Reshapes share their memory and move with it.
    for (const other of this.live) if (other.tensor.storage === entry.tensor.storage) other.level = parent;
  }

  dispose(n: number): void {
    if (this.live.length < 2) return;
    const entry = this.pick(n);
    entry.tensor.dispose();
    entry.tensor.dispose();
    this.drop((other) => other === entry);
  }

  private drop(where: (entry: Entry) => boolean): void {
    for (let i = this.live.length - 1; i >= 0; i--)
      if (where(this.live[i])) this.gone.push(this.live.splice(i, 1)[0].tensor);
    if (this.live.length === 0) this.make(3, 0, 7);
  }

  nested(depth: number): void {
    const entry = this.pick(depth);
    const sum = (n: number): Tensor =>
      scope(() => (n === 0 ? entry.tensor.to("float32") : sum(n - 1).add(0)));
    const inner = sum(depth % 20);
    if (
      !same(
        inner.data,
        Float32Array.from(entry.copy, (v) => v),
      ) &&
      !entry.copy.some((v) => Object.is(v, -0))
    )
      throw new Error(`nested: ${depth} scopes changed a tensor`);
    if (inner !== entry.tensor) inner.dispose();
  }

  thrown(a: number): void {
    const entry = this.pick(a);
    const before = memory();
    try {
      scope(() => {
        entry.tensor.add(entry.tensor);
        scope();
        throw new RangeError("soak");
      });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    // The scope left open inside ends too.
    if (memory().tensors !== before.tensors)
      throw new Error("thrown: a scope that threw left tensors behind");
  }

  own(a: number): void {
    const entry = this.pick(a);
    if (entry.tensor.dtype !== "float32" || !tame(entry.copy, true) || this.trained.length > 8) return;
    const parameter = new Parameter(entry.tensor.add(0));
    const rule = rules[this.trained.length % rules.length]();
    const copy = parameter.value.data.slice();
    this.trained.push({ parameter, optimizer: optimizer([parameter], rule), copy, grad: null });
  }

  /** A loss of a parameter through a few ops and a live tensor; its gradient against that of the reference. */
  backward(p: number, a: number, names: readonly string[], scoped: boolean): void {
    if (this.trained.length === 0) return;
    const row = this.trained[p % this.trained.length];
    const beside = this.pick(a);
    if (!tame(beside.copy, true)) return;
    const forward = (value: Tensor, y: Tensor): Tensor => {
      let x = value;
      for (const name of names) {
        const next = smooth[name](x, y, x, p);
        if (next && next.size > 0 && next.size < 4000 && tame(next.data, true)) x = next;
      }
      const at = x.rank > 0 && x.shape[x.rank - 1] > 1 && x.size > 0 && x.dtype === "float32";
      const loss = at ? crossEntropy(x, zeros(x.shape.slice(0, -1), { dtype: "int32" })) : x.square().mean();
      return loss.add(x.square().sum().mul(0.01));
    };
    const { value } = row.parameter;
    const run = () => forward(value, beside.tensor).backward();
    if (scoped) scope(run);
    else run();
    const twin = tensor(row.copy, { shape: value.shape, requiresGrad: true });
    const y = tensor(beside.copy, { shape: beside.tensor.shape, dtype: beside.tensor.dtype });
    onReference(() => scope(() => forward(twin, y).backward()));
    if (value.grad && twin.grad) {
      const wanted = row.grad ? twin.grad.add(tensor(row.grad, { shape: value.shape })) : twin.grad.add(0);
      close(`backward of ${names.join()}`, value.grad, wanted, true);
      row.grad = value.grad.data.slice();
      wanted.dispose();
    }
    twin.dispose();
    y.dispose();
  }

  step(p: number): void {
    if (this.trained.length === 0) return;
    const row = this.trained[p % this.trained.length];
    row.optimizer.step();
    if (row.grad === null && !same(row.parameter.value.data, row.copy))
      throw new Error("step: a parameter without gradient moved");
    row.copy = row.parameter.value.data.slice();
    row.optimizer.zeroGrad();
    row.grad = null;
    if (!tame(row.copy, true)) this.trained.splice(p % this.trained.length, 1);
  }

  budget(n: number): void {
    setHeapBudget([0, 1 << 22, 5 << 20, wholeBudget][n % 4]);
  }

  grow(n: number): void {
    const large = zeros([(1 + (n % 8)) << 15]).add(n);
    if (large.data[0] !== n || large.data[large.size - 1] !== n) throw new Error("grow: wrong numbers");
    large.dispose();
  }

  checkAll(): void {
    this.live.forEach(check);
    for (const { parameter, copy, grad } of this.trained) {
      if (!same(parameter.value.data, copy)) throw new Error("own: a parameter changed");
      if (grad !== null && !same(parameter.grad!.data, grad)) throw new Error("own: a gradient changed");
    }
    for (const tensor of this.gone) {
      for (const use of [
        () => tensor.data,
        () => tensor.equal(tensor),
        () => tensor.reshape([tensor.size]).equal(0),
      ]) {
        try {
          use();
        } catch (error) {
          if ((error as { code?: string }).code === "RELEASED") continue;
          throw error;
        }
        throw new Error("released: a tensor could be used after its memory was given back");
      }
    }
  }

  end(): void {
    this.checkAll();
    while (this.level) this.close(this.live.length, this.live.length % 3);
    this.checkAll();
    const { tensors, bytes } = memory();
    // Where every test runs in a scope, that one still holds what none of the program's does.
    const whole = process.env.BITGRAD_MEMORY !== "unshared";
    if (whole && (tensors !== this.start.tensors || bytes !== this.start.bytes))
      throw new Error(`memory: ${tensors} tensors and ${bytes} bytes are left in scopes`);
    if (!isRecording()) throw new Error("tape: recording was left off");
  }

  /** Leaves nothing open behind a program that failed. */
  release(): void {
    for (const level of this.levels.toReversed()) level.scope.dispose();
    setHeapBudget(wholeBudget);
  }
}

function check({ tensor: { data, shape }, copy }: Entry): void {
  if (!same(data, copy)) throw new Error(`live: a tensor of shape [${shape}] changed`);
}
