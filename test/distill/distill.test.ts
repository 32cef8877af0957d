import { OptionError, Rng, randn, relu, type Tensor, tensor } from "bitgrad";
import {
  consecutiveTeachers,
  distill,
  hiddenMse,
  kdLoss,
  multiTeacherLoss,
  type Term,
} from "bitgrad/distill";
import { Dropout, Linear, Sequential } from "bitgrad/nn";
import { linear } from "bitgrad/optim";
import { expectClose, gradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";
import { differing, methodCases, tensorOf } from "../golden/method-cases.ts";

const rng = new Rng(12);
const parts = (width: number) => ({
  first: new Linear(4, width, { rng }),
  drop: new Dropout(0.5),
  last: new Linear(width, 3, { rng }),
});
const joined = ({ first, drop, last }: ReturnType<typeof parts>) => new Sequential(first, relu, drop, last);
const net = (width: number) => joined(parts(width));
const x = randn([5, 4], { rng });

describe("distill", () => {
  it("adds weighed terms of outputs and of layers, with the teacher in evaluation and without a gradient", () => {
    const [own, other, widen] = [parts(6), parts(8), new Linear(6, 8, { rng })];
    const [student, teacher] = [joined(own), joined(other)];
    const terms: Term<Tensor>[] = [
      { name: "soft", weight: 2, loss: (s, t) => kdLoss(s, t) },
      { weight: linear({ total: 10 }), loss: (s, t) => hiddenMse(s, t), at: ["0", "0"], project: widen },
    ];
    const run = distill({
      student: { forward: (v) => student.forward(v) },
      teacher,
      terms: terms.slice(0, 1),
    });
    expect(Object.keys(run(x).parts)).toEqual(["soft"]);
    const { loss, parts: given } = distill({ student, teacher, terms })(x, 4);
    expectClose(loss, given.soft.mul(2).add(given[1].mul(0.6)));
    expectClose(given[1], hiddenMse(widen.forward(own.first.forward(x)), other.first.forward(x)));
    loss.backward();
    expect(other.first.weight.grad).toBe(null);
    expect(own.first.weight.grad).not.toBe(null);
    expect(widen.weight.grad).not.toBe(null);
    expect([own.drop.training, other.drop.training]).toEqual([true, true]);
    const again = distill({
      student: (v: Tensor) => v,
      teacher,
      terms: [{ weight: 1, loss: (_, t) => t.sum() }],
    });
    expect(again(x).loss.item()).toBe(again(x).loss.item());
  });

  it("gives models the x of a batch, and losses and functions the whole of it", () => {
    const student = new Linear(4, 3, { rng });
    const batch = { x, y: tensor([0, 1, 2, 0, 1], { dtype: "int32" }) };
    const seen: unknown[] = [];
    const teacher = (given: typeof batch) => {
      seen.push(given);
      return given.x.slice([[], [0, 3]]);
    };
    const loss = (s: Tensor, t: Tensor, { y }: typeof batch) => kdLoss(s, t, { labels: y });
    const { loss: total } = distill<typeof batch>({ student, teacher, terms: [{ weight: 1, loss }] })(batch);
    expectClose(total, kdLoss(student.forward(x), teacher(batch), { labels: batch.y }));
    expect(seen[0]).toBe(batch);
  });

  const plain = (s: Tensor) => s.sum();
  it.each<[object, string]>([
    [{ terms: [] }, "terms must be a list of at least one"],
    [{ student: 3 }, "student must be a model or a function, got 3"],
    [{ terms: [{ weight: Infinity, loss: plain }] }, "a weight must be a finite number or a schedule"],
    [{ terms: [{ weight: 1 }] }, "a loss must be a function"],
    [{ terms: [{ weight: 1, loss: plain, at: ["0"] }] }, "at must be the paths of two layers"],
    [{ terms: [{ weight: 1, loss: plain, project: 3 }] }, "project must be a layer or a function, got 3"],
    [{ terms: [{ weight: 1, loss: plain, kind: 1 }] }, "unknown option"],
    [
      {
        terms: [
          { weight: 1, loss: plain, name: "a" },
          { weight: 1, loss: plain, name: "a" },
        ],
      },
      "different names",
    ],
  ])("refuses %o", (wrong, text) => {
    const good = { student: net(2), teacher: net(2), terms: [{ weight: 1, loss: plain }] };
    expect(() => distill({ ...good, ...wrong })).toThrow(text);
  });

  it("says what a batch, a step or a loss must be", () => {
    const nets = { student: net(2), teacher: net(2) };
    const run = (term: object) => distill<Tensor>({ ...nets, terms: [{ weight: 1, loss: plain, ...term }] });
    expect(() => run({ weight: () => 1 })(x)).toThrow("needs the step");
    expect(() => run({ weight: () => Number.NaN })(x, 1)).toThrow("a schedule must give finite weights");
    expect(() => run({ loss: (s: Tensor) => s })(x)).toThrow("a loss must give a single number");
    expect(() => run({})({ y: 1 } as never)).toThrow(OptionError);
    expect(() => run({ at: ["9", "0"] })(x)).toThrow("no layer");
  });
});

describe("multiTeacherLoss", () => {
  it.each(methodCases("distill-teachers"))("gives what is known: $name", (given) => {
    const z = tensor(tensorOf(given.inputs.zs).to("float64"), { requiresGrad: true });
    const all = tensorOf(given.inputs.teachers).to("float64");
    const teachers = Array.from({ length: all.shape[0] }, (_, k) => all.slice([[k, k + 1]]).squeeze(0));
    const loss = multiTeacherLoss(z, teachers);
    loss.backward();
    expect([
      ...differing(given, "loss", [loss.item()]),
      ...differing(given, "grad_zs", [...z.grad!.data].map(Number)),
    ]).toEqual([]);
  });

  it("has the gradient of one teacher's cross entropy where there is one", () => {
    const [s, t] = [0, 1].map(() => randn([3, 4], { rng, dtype: "float64" }));
    gradcheck((z) => multiTeacherLoss(z, [t], { temperature: 2 }), [s]);
    expect(() => multiTeacherLoss(s, [])).toThrow("at least one teacher");
    expect(() => multiTeacherLoss(s, [t, t.slice([[0, 1]])])).toThrow("must have one shape");
  });
});

it("changes assistants in equal parts, and keeps the last", () => {
  const own = consecutiveTeachers({ assistants: ["a", "b", "c"], total: 7 });
  expect(Array.from({ length: 9 }, (_, k) => own(k)[0]).join("")).toBe("aaabbcccc");
  expect(consecutiveTeachers({ assistants: [1], fixed: 2, total: 1 })(5)).toEqual([2, 1]);
  expect(() => consecutiveTeachers({ assistants: [], total: 3 })).toThrow("at least one");
  expect(() => own(-1)).toThrow("the step must be an integer of at least 0, got -1");
});
