import { OptionError, Rng, randn, ShapeError, tensor } from "bitgrad";
import { hiddenMse, kdLoss, softCrossEntropy } from "bitgrad/distill";
import { crossEntropy, klDiv, Linear, mseLoss } from "bitgrad/nn";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const rng = new Rng(21);
const student = randn([4, 6], { rng });
const teacher = randn([4, 6], { rng });
const labels = [1, 0, 5, 2];

describe("kdLoss", () => {
  it("has the gradient alpha·T/B·(σ(student/T) − σ(teacher/T))", () => {
    const s = tensor(student, { requiresGrad: true });
    kdLoss(s, teacher, { temperature: 3, alpha: 0.4, labels: tensor(labels, { dtype: "int32" }) }).backward();
    const soft = s
      .detach()
      .div(3)
      .softmax()
      .sub(teacher.div(3).softmax())
      .mul((0.4 * 3) / 4);
    const t = tensor(student, { requiresGrad: true });
    crossEntropy(t, labels).mul(0.6).backward();
    expectClose(s.grad!, soft.add(t.grad!), { atol: 1e-6 });
  });

  it("is 0 for a student that equals the teacher", () => {
    expectClose(kdLoss(teacher, teacher), 0, { atol: 1e-6 });
  });

  it("lets no gradient into the teacher", () => {
    const t = tensor(teacher, { requiresGrad: true });
    const s = tensor(student, { requiresGrad: true });
    kdLoss(s, t).backward();
    expect(t.grad).toBe(null);
    expect(s.grad).not.toBe(null);
  });

  it("averages over positions, however many axes they have", () => {
    const deep = kdLoss(student.reshape([2, 2, 6]), teacher.reshape([2, 2, 6]));
    expectClose(deep, kdLoss(student, teacher));
  });

  it("keeps its gradient's size as the temperature grows", () => {
    const size = (temperature: number) => {
      const s = tensor(student, { requiresGrad: true });
      kdLoss(s, teacher, { temperature }).backward();
      return s.grad!.norm().item();
    };
    expect(size(100) / size(20)).toBeCloseTo(1, 1);
  });

  it("weighs teacher and labels 0.9 to 0.1 unless told otherwise", () => {
    const wanted = kdLoss(student, teacher).mul(0.9).add(crossEntropy(student, labels).mul(0.1));
    expectClose(kdLoss(student, teacher, { labels }), wanted);
  });

  it("has the right gradient", () => {
    gradcheck((s) => kdLoss(s, teacher, { labels, alpha: 0.5 }), [student]);
  });

  it("has the value and the gradient of its composition, and a gradient of its gradient", () => {
    for (const dtype of ["float32", "float64"] as const) {
      const [s, t] = [randn([3, 5, 37], { rng, dtype }), randn([3, 5, 37], { rng, dtype })];
      // Neither gives this class, or the teacher alone does not.
      s.data[7] = Number.NEGATIVE_INFINITY;
      t.data.set([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY], 7);
      const q = s.div(2).logSoftmax();
      const wanted = klDiv(q, t.div(2).softmax(), { reduction: "sum" }).mul(4 / 15);
      const atol = dtype === "float32" ? 1e-6 : 1e-14;
      expectClose(kdLoss(s, t, { temperature: 2 }), wanted, { atol });
      const grads = [false, true].map((createGraph) => {
        const x = tensor(s, { requiresGrad: true });
        kdLoss(x, t, { temperature: 2 }).backward(undefined, { createGraph });
        return x.grad!.detach();
      });
      expectClose(grads[0], grads[1], { atol });
    }
    gradgradcheck((s) => kdLoss(s, teacher, { temperature: 2 }), [student]);
  });

  it("is Infinity where the student gives nothing to a class that the teacher gives", () => {
    const x = tensor([[0, 1, Number.NEGATIVE_INFINITY]], { requiresGrad: true });
    const loss = kdLoss(x, tensor([[0, 1, 2]]), { temperature: 1 });
    loss.backward();
    expect(loss.item()).toBe(Infinity);
    expectClose(
      x.grad!,
      x
        .detach()
        .softmax()
        .sub(tensor([[0, 1, 2]]).softmax()),
      { atol: 1e-6 },
    );
  });

  it("computes in float64 where one of both is, and of integers in float32", () => {
    expect(kdLoss(student.to("float64"), teacher).dtype).toBe("float64");
    expect(kdLoss(student, teacher.to("float64")).dtype).toBe("float64");
    expect(kdLoss(tensor([[1, 2]], { dtype: "int32" }), tensor([[1, 2]], { dtype: "int8" })).dtype).toBe(
      "float32",
    );
  });

  it.each([
    ["a temperature of 0", () => kdLoss(student, teacher, { temperature: 0 }), OptionError, "got 0"],
    ["an alpha of 2", () => kdLoss(student, teacher, { alpha: 2, labels }), OptionError, "got 2"],
    ["labels it is not given", () => kdLoss(student, teacher, { alpha: 0.5 }), OptionError, "needs labels"],
    ["logits of other shapes", () => kdLoss(student, teacher.transpose()), ShapeError, "(4, 6) and (6, 4)"],
    ["a NaN option", () => kdLoss(student, teacher, { temperature: Number.NaN }), OptionError, "got NaN"],
  ])("refuses %s", (_, run, kind, text) => {
    expect(run).toThrow(kind);
    expect(run).toThrow(text);
  });
});

describe("softCrossEntropy", () => {
  it("is crossEntropy against the teacher's probabilities", () => {
    expectClose(softCrossEntropy(student, teacher), crossEntropy(student, teacher.softmax()));
  });

  it("differs between its means by the number of classes", () => {
    const batch = softCrossEntropy(student, teacher, { temperature: 2 });
    expectClose(softCrossEntropy(student, teacher, { temperature: 2, reduction: "mean" }), batch.div(6));
    expectClose(softCrossEntropy(student, teacher, { temperature: 2, reduction: "sum" }), batch.mul(4));
    expect(softCrossEntropy(student, teacher, { reduction: "none" }).shape).toEqual([4]);
    expect(() => softCrossEntropy(student, teacher, { reduction: "avg" as "mean" })).toThrow('"avg"');
  });

  it("has the gradient of kdLoss but for T²", () => {
    const [a, b] = [tensor(student, { requiresGrad: true }), tensor(student, { requiresGrad: true })];
    softCrossEntropy(a, teacher, { temperature: 4 }).mul(16).backward();
    kdLoss(b, teacher, { temperature: 4 }).backward();
    expectClose(a.grad!, b.grad!, { atol: 1e-6 });
  });
});

describe("hiddenMse", () => {
  it("is the mean over all elements, the student projected", () => {
    const project = new Linear(6, 8);
    const wide = randn([4, 8], { rng });
    expectClose(hiddenMse(student, wide, { project }), mseLoss(project.forward(student), wide));
    expectClose(hiddenMse(student, teacher, { project: (x) => x.mul(2) }), mseLoss(student.mul(2), teacher));
  });

  it("leaves padding out where there is a mask", () => {
    const mask = tensor([true, false, true, false]);
    const kept = (t: typeof student) => t.indexSelect([0, 2]);
    expectClose(hiddenMse(student, teacher, { mask }), mseLoss(kept(student), kept(teacher)));
    const list = [true, false, true, false];
    expect(hiddenMse(student, teacher, { mask: list }).item()).toBe(
      hiddenMse(student, teacher, { mask }).item(),
    );
    expect(() => hiddenMse(student, teacher, { mask: [true] })).toThrow(
      "hiddenMse: the mask must have the shape of the positions, got (1)",
    );
    expect(hiddenMse(student, teacher, { mask: mask.logicalAnd(false) }).item()).toBe(0);
    expect(() => hiddenMse(student, teacher, { mask: tensor([true]) })).toThrow(ShapeError);
  });

  it("lets no gradient into the teacher and refuses other sizes", () => {
    const t = tensor(teacher, { requiresGrad: true });
    hiddenMse(tensor(student, { requiresGrad: true }), t).backward();
    expect(t.grad).toBe(null);
    expect(() => hiddenMse(student, teacher.transpose())).toThrow("project the student");
  });
});
