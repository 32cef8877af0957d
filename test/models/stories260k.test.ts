import { readFileSync } from "node:fs";
import { noGrad, type Tensor } from "bitgrad";
import { llama2cTokenizer } from "bitgrad/data";
import { type Llama, readLlama2c } from "bitgrad/models";
import { parameterCount } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { beforeAll, describe, expect, it } from "vitest";

const data = process.env.BITGRAD_DATA;
const read = (name: string) => new Uint8Array(readFileSync(`${data}/weights/stories260k/${name}`));

describe.skipIf(!data)("the trained stories260k (needs BITGRAD_DATA)", () => {
  let model: Llama;
  let tokenizer: ReturnType<typeof llama2cTokenizer>;
  let expected: {
    greedy: { start: number; steps: number; tokens: number[]; text: string };
    first_step_logits: number[];
    teacher_forced: { tokens_after_bos: number[]; last_logits: number[] };
    perplexity: { lines: number; tokens: number; mean_nll: number };
  };

  beforeAll(() => {
    model = readLlama2c(read("stories260K.bin"));
    tokenizer = llama2cTokenizer(read("tok512.bin"));
    expected = JSON.parse(readFileSync(`${data}/weights/stories260k/expected.json`, "utf8"));
  });

  const lastRow = (logits: Tensor) => logits.select(0).select(logits.shape[1] - 1);

  it("has the parameters of its file", () => {
    expect(parameterCount(model)).toBe((1_056_540 - 28) / 4 - 512 * 8);
  });

  it("gives the expected logits at the first step", () => {
    const logits = lastRow(model.forward([[1]]));
    expectClose(logits, expected.first_step_logits, { rtol: 1e-4, atol: 2e-4 });
  });

  it("gives the expected logits for the last token of a forced text", () => {
    const { tokens_after_bos: text, last_logits: want } = expected.teacher_forced;
    expectClose(lastRow(model.forward([[1, ...text.slice(0, -1)]])), want, { rtol: 1e-4, atol: 5e-4 });
  });

  it("tells the expected story, greedily and with its cache", () => {
    const { start, steps, tokens, text } = expected.greedy;
    const made = model.generate([start], { maxTokens: steps, temperature: 0 });
    expect(made).toEqual(tokens);
    expect(tokenizer.decode([start, ...made])).toBe(text);
  });

  it("has the expected perplexity, 4.523, on 40 stories", () => {
    const lines = readFileSync(`${data}/tinystories/sample.txt`, "utf8")
      .split("\n")
      .filter((line) => line.length > 120)
      .slice(0, expected.perplexity.lines);
    let sum = 0;
    let count = 0;
    for (const line of lines) {
      const ids = [1, ...tokenizer.encode(line).slice(0, 200)];
      const logits = noGrad(() => model.forward([ids.slice(0, -1)]));
      const next = logits
        .logSoftmax()
        .select(0)
        .gather(
          ids.slice(1).map((id) => [id]),
          { axis: 1 },
        );
      sum -= next.sum().item();
      count += ids.length - 1;
    }
    expect(count).toBe(expected.perplexity.tokens);
    expect(sum / count).toBeCloseTo(expected.perplexity.mean_nll, 4);
    expect(Math.exp(sum / count)).toBeCloseTo(4.523, 3);
  });
});
