/** A right call of everything that `bitgrad` exports: what is not an op. The ops are in `ops.ts`. */

import * as bitgrad from "bitgrad";
import { Rng, type Tensor, tensor } from "bitgrad";
import {
  any,
  type Call,
  call,
  choice,
  count,
  each,
  exact,
  flag,
  fn,
  given,
  integer,
  like,
  list,
  matrix,
  maybe,
  optional,
  positive,
  real,
  share,
  type Table,
  text,
  vector,
} from "./call.ts";
import { ops } from "./ops.ts";

type Loose = (...args: unknown[]) => unknown;
const square = (x: Tensor) => x.square().sum();
const rng = () => new Rng(1);
const created = { dtype: choice("float32"), requiresGrad: flag(false) };
const drawn = { ...created, rng: given(rng, "null") };
const sizes = (takes = "") => list(() => [2, 3], `list ${takes}`);
const leaf = () => tensor([1, 2, 3], { requiresGrad: true });
const kept = (f: Loose) => (first: unknown, options: unknown) => {
  const opened = bitgrad.scope(first as never, options as never) as unknown;
  (opened as { dispose?: () => void } | undefined)?.dispose?.();
  f(opened);
};

const creation: Table = {
  zeros: call([sizes()], created),
  ones: call([sizes()], created),
  full: call([sizes(), given(() => 1, "nan negative fraction huge")], created),
  arange: call([real(0, "huge"), optional(real(5)), optional(real(1))], created),
  linspace: call([real(0), real(1), count(3)], created),
  eye: call([count(2), optional(count(3))], created),
  rand: call([sizes()], drawn),
  randn: call([sizes()], drawn),
  randint: call([integer(0), count(3), sizes()], { dtype: choice("int32"), rng: given(rng, "null") }),
  bernoulli: call([share(0.5), sizes()], { rng: given(rng, "null") }),
  sinusoidalPositions: call([count(2), count(4)], created),
  tensor: call([any(matrix)], {
    dtype: choice("float32"),
    requiresGrad: flag(false),
    shape: list(() => [3, 2]),
  }),
  dropout: call([any(matrix)], { p: share(0.5), training: flag(true), rng: given(rng, "null") }),
  isTensor: "takes anything",
  promote: call([choice("int8"), choice("uint8")]),
};

const gradients: Table = {
  grad: call([fn(square)], { createGraph: flag(false) }),
  "grad()": call([exact(vector, "shape object list")], null, { run: (x: Tensor) => bitgrad.grad(square)(x) }),
  valueAndGrad: call([fn(square)], { createGraph: flag(false) }),
  "valueAndGrad()": call([exact(vector, "shape object list")], null, {
    run: (x: Tensor) => bitgrad.valueAndGrad(square)(x),
    says: "grad",
  }),
  vjp: call([fn(square)]),
  "vjp()": call([exact(vector, "shape")], null, { run: (x: Tensor) => bitgrad.vjp(square)(x) }),
  "vjp()()": call([exact(vector, "dtype")], null, {
    run: (v: Tensor) => bitgrad.vjp((x: Tensor) => x.square())(vector())[1](v),
    says: "vjp",
  }),
  hvp: call([fn(square)]),
  "hvp()": call([exact(vector), like(vector)], null, {
    run: (x: Tensor, v: Tensor) => bitgrad.hvp(square)(x, v),
    says: "hvp grad",
  }),
  checkpoint: call([fn(square)]),
  backward: call(
    [exact(leaf)],
    { retainGraph: flag(false), createGraph: flag(false) },
    {
      run: (x: Tensor, options: object) => bitgrad.backward(bitgrad.isTensor(x) ? x.sum() : x, null, options),
    },
  ),
  noGrad: call([fn(() => 1)]),
  shapesOnly: call([fn(() => 1), maybe(fn(() => {}))]),
  checkNumerics: call([flag(false)], null, {
    run: (on: boolean) => {
      try {
        bitgrad.checkNumerics(on);
      } finally {
        bitgrad.checkNumerics(false);
      }
    },
  }),
  defineOp: call([text("twice"), given(() => ({ shape: () => [], forward() {} }))]),
  defineMultiOp: call([text("twice"), given(() => ({ shape: () => [], forward() {} }))], null, {
    says: "defineOp",
  }),
};

const process: Table = {
  useBackend: call(
    [choice("reference")],
    { relaxed: flag(true) },
    {
      run: (...args: never[]) => {
        const { name, relaxed } = bitgrad.backendInfo();
        try {
          bitgrad.useBackend(...(args as unknown as [never]));
        } finally {
          bitgrad.useBackend(name, { relaxed });
        }
      },
    },
  ),
  backendInfo: "takes nothing",
  setThreads: call([count(1)]),
  setHeapBudget: call([positive(2 ** 30)], null, {
    run: (bytes: number) => {
      try {
        bitgrad.setHeapBudget(bytes);
      } finally {
        bitgrad.setHeapBudget(2 ** 30);
      }
    },
  }),
  manualSeed: call([text("seed", "negative fraction huge")], null, { says: "Rng" }),
  memory: "takes nothing",
  keep: call([exact(vector, "shape dtype")]),
  scope: call(
    [
      optional(
        fn(() => 1),
        "object",
      ),
    ],
    { name: text("mine") },
    { run: kept(() => {}) as never },
  ),
  ...each(
    "BackendError BitgradError DTypeError FormatError GradError OptionError ShapeError StageError",
    "an error",
  ),
};

const filled = (method: string, make: () => ArrayLike<number>, args: Call["args"]): Call =>
  call([given(make), ...args], null, {
    run: (...all: unknown[]) => (rng() as unknown as Record<string, Loose>)[method](...all),
    says: "Rng",
  });

const random: Table = {
  "Rng.take": "is called by fills",
  Rng: call([text("seed", "negative fraction huge")]),
  "Rng.state": call([given(() => rng().state)], null, {
    run: (state: never) => {
      rng().state = state;
    },
    says: "Rng",
  }),
  "Rng.fillUint32": filled("fillUint32", () => new Uint32Array(3), []),
  "Rng.fillUniform": filled("fillUniform", () => new Float32Array(3), [
    optional(real(0, "fraction")),
    optional(real(2)),
  ]),
  "Rng.fillNormal": filled("fillNormal", () => new Float32Array(3), [
    optional(real(0)),
    optional(positive(1)),
  ]),
  "Rng.fillInt": filled("fillInt", () => new Int32Array(3), [integer(0), count(7)]),
  "Rng.fillBernoulli": filled("fillBernoulli", () => new Uint8Array(3), [share(0.5)]),
  "Rng.shuffle": call([given(() => [1, 2, 3], "list")], null, { run: (all: number[]) => rng().shuffle(all) }),
  "Rng.permutation": call([count(3)], null, { run: (n: number) => rng().permutation(n) }),
};

/** Cannot be assigned at all. */
const NOTHING: Call["args"][number] = { ...given(() => undefined), right: () => REFUSED };
const REFUSED = Symbol("what is refused in any case");
const assigned = (name: string, make: () => Tensor, place: Call["args"][number]): Call =>
  call([place], null, {
    run: (value: never) => {
      if (value === REFUSED) return;
      (make() as unknown as Record<string, unknown>)[name] = value;
    },
  });

const tensors: Table = {
  Tensor: "made by `tensor`",
  "Tensor.requiresGrad": assigned("requiresGrad", vector, flag(true)),
  "Tensor.grad": assigned("grad", leaf, { ...exact(vector, "null"), tensor: false }),
  ...Object.fromEntries(
    ["dtype", "shape", "size"].map((name) => [`Tensor.${name}`, assigned(name, vector, NOTHING)]),
  ),
};

/** The methods: the functions of the same names, on their first argument. */
const methods: Table = Object.fromEntries(
  Object.entries(ops).flatMap(([name, row]) =>
    typeof row === "string" || !(name in bitgrad.Tensor.prototype)
      ? []
      : [
          [
            `Tensor.${name}`,
            call(row.args.slice(1), row.options, {
              needs: row.needs.join(" ") || undefined,
              run: (...rest: unknown[]) =>
                (tensor(row.args[0].right() as never) as unknown as Record<string, Loose>)[name](...rest),
              says: row.says.join(" ") || undefined,
            }),
          ],
        ],
  ),
);

const others: Table = {
  "Tensor.dropout": call([], creation.dropout !== "" ? (creation.dropout as Call).options : null, {
    run: (options: object) => matrix().dropout(options),
  }),
  "Tensor.backward": call(
    [maybe(exact(vector, "object dtype"))],
    { retainGraph: flag(false), createGraph: flag(false) },
    {
      run: (gradient: Tensor, options: object) => leaf().mul(2).backward(gradient, options),
    },
  ),
  "Tensor.sumTo": call([list(() => [3], "list")], null, { run: (shape: number[]) => matrix().sumTo(shape) }),
};

export const core: Table = {
  ...ops,
  ...creation,
  ...gradients,
  ...process,
  ...random,
  ...tensors,
  ...methods,
  ...others,
};
