import { Rng, rand } from "bitgrad";
import { summary } from "bitgrad/cost";
import { Gpt, mlp, ResNet } from "bitgrad/models";
import { evaluate, Linear, setTrainable, withoutData } from "bitgrad/nn";
import { freeze, int8Dynamic, plan, prepare } from "bitgrad/quant";
import { describe, expect, it } from "vitest";

const gpt = () => new Gpt({ vocabulary: 11, context: 8, dim: 16, layers: 1, heads: 2, rng: new Rng(0) });

describe("summary", () => {
  it("has a row for every parameter and adds them up", () => {
    const { rows, totals } = summary(mlp([5, 4, 3]));
    expect(
      rows.map(({ path, kind, shape, parameters, bits, bytes }) => [
        path,
        kind,
        shape,
        parameters,
        bits,
        bytes,
      ]),
    ).toEqual([
      ["0.weight", "Linear", [4, 5], 20, 32, 80],
      ["0.bias", "Linear", [4], 4, 32, 16],
      ["2.weight", "Linear", [3, 4], 12, 32, 48],
      ["2.bias", "Linear", [3], 3, 32, 12],
    ]);
    expect(totals).toEqual({ parameters: 39, trainable: 39, bits: 32, bytes: 156 });
  });

  it("counts a tied parameter once, under its first name", () => {
    const { rows, totals } = summary(gpt());
    expect(rows.filter(({ parameters }) => parameters === 11 * 16).map(({ path }) => path)).toEqual([
      "token.weight",
    ]);
    expect(totals.parameters).toBe(11 * 16 + 8 * 16 + (12 * 256 + 13 * 16) + 32);
  });

  it("takes the bits of the last transform that quantizes, and rounds bytes up", () => {
    const layer = new Linear(5, 3);
    const apply = layer.weight.value.mul.bind(layer.weight.value, 1);
    layer.weight.transforms.push({ apply, bits: 8 }, { apply, bits: 3 }, { apply });
    const { rows, totals } = summary(layer);
    expect(rows[0]).toMatchObject({ bits: 3, bytes: 6 });
    expect(totals.bits).toBe((3 * 15 + 32 * 3) / 18);
    expect(totals.bytes).toBe(6 + 12);
  });

  it("tells what is trainable, and the width of float64", () => {
    const layer = new Linear(2, 3, { dtype: "float64" });
    setTrainable(layer, "bias", false);
    expect(summary(layer).totals).toEqual({ parameters: 9, trainable: 6, bits: 64, bytes: 72 });
  });

  it("lists models without numbers", () => {
    const { totals } = summary(withoutData(() => new Gpt(Gpt.configs.gpt2)));
    expect(totals).toMatchObject({ parameters: 124_439_808, bytes: 4 * 124_439_808 });
  });

  it("with an input tells output shapes, and leaves the model as it was", () => {
    const net = new ResNet({ blocks: 1, rng: new Rng(1) });
    const mean = net.bn1.runningMean.toArray();
    const { rows } = summary(net, { input: rand([2, 3, 8, 8], { rng: new Rng(2) }) });
    const output = (path: string) => rows.find((row) => row.path === path)?.output;
    expect(output("conv1.weight")).toEqual([2, 16, 8, 8]);
    expect(output("layer3.0.conv2.weight")).toEqual([2, 64, 2, 2]);
    expect(output("linear.bias")).toEqual([2, 10]);
    expect(net.bn1.runningMean.toArray()).toEqual(mean);
    expect(net.bn1.training).toBe(true);
    expect(Object.hasOwn(net.conv1, "forward")).toBe(false);
    expect(summary(evaluate(gpt()), { input: [[1, 2, 3]] }).rows[0].output).toEqual([1, 3, 16]);
    expect(summary(net).rows[0].output).toBeNull();
    expect(() => summary({ net }, { input: [1] })).toThrow("needs a model with forward");
  });

  it("with an input runs a model of any size by shapes alone", () => {
    const { rows } = summary(
      withoutData(() => new Gpt(Gpt.configs.gpt2Xl)),
      { input: [[1, 2, 3]] },
    );
    expect(rows.find(({ path }) => path === "blocks.47.mlp.up.weight")?.output).toEqual([1, 3, 6400]);
  });

  it.each(["prepared", "frozen"])("with an input tells the shapes of a %s model", (step) => {
    const model = prepare(gpt(), plan({ default: int8Dynamic() }));
    if (step === "frozen") freeze(model);
    const { rows } = summary(model, { input: [[1, 2, 3]] });
    expect(rows.find(({ path }) => path === "blocks.0.mlp.up.weight")).toMatchObject({
      bits: 8,
      output: [1, 3, 64],
    });
  });

  it("prints a table", () => {
    expect(String(summary(mlp([1000, 4])))).toBe(
      [
        "path      kind    shape      parameters  bits   bytes",
        "-----------------------------------------------------",
        "0.weight  Linear  (4, 1000)       4,000    32  16,000",
        "0.bias    Linear  (4)                 4    32      16",
        "-----------------------------------------------------",
        "total                             4,004    32  16,016",
      ].join("\n"),
    );
    expect(String(summary(mlp([3, 2]), { input: rand([1, 3]) }))).toContain("(2, 3)  (1, 2)  ");
  });
});
