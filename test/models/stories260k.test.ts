import type { Tensor } from "bitgrad";
import { parameterCount } from "bitgrad/nn";
import { expectClose } from "bitgrad/testing";
import { beforeAll, describe, expect, it } from "vitest";
import { readStories, type Stories, textLoss } from "../../bench/stories.ts";

const data = process.env.BITGRAD_DATA;

describe.skipIf(!data)("the trained stories260k (needs BITGRAD_DATA)", () => {
  let stories: Stories;
  beforeAll(() => {
    stories = readStories(data!);
  });

  const lastRow = (logits: Tensor) => logits.select(0).select(logits.shape[1] - 1);

  it("has the parameters of its file", () => {
    expect(parameterCount(stories.model)).toBe((1_056_540 - 28) / 4 - 512 * 8);
  });

  it("gives the expected logits at the first step", () => {
    const { model, expected } = stories;
    expectClose(lastRow(model.forward([[1]])), expected.first_step_logits, { rtol: 1e-4, atol: 2e-4 });
  });

  it("gives the expected logits for the last token of a forced text", () => {
    const { tokens_after_bos: text, last_logits: want } = stories.expected.teacher_forced;
    const logits = stories.model.forward([[1, ...text.slice(0, -1)]]);
    expectClose(lastRow(logits), want, { rtol: 1e-4, atol: 5e-4 });
  });

  it("tells the expected story, greedily and with its cache", () => {
    const { model, tokenizer, expected } = stories;
    const { start, steps, tokens, text } = expected.greedy;
    const made = model.generate([start], { maxTokens: steps, temperature: 0 });
    expect(made).toEqual(tokens);
    expect(tokenizer.decode([start, ...made])).toBe(text);
  });

  it("has the expected perplexity, 4.523, on 40 stories", () => {
    const { model, texts, expected } = stories;
    const tokens = texts.reduce((sum, text) => sum + text.length - 1, 0);
    expect(tokens).toBe(expected.perplexity.tokens);
    const mean = texts.reduce((sum, text) => sum + textLoss(model, text), 0) / tokens;
    expect(mean).toBeCloseTo(expected.perplexity.mean_nll, 4);
    expect(Math.exp(mean)).toBeCloseTo(4.523, 3);
  });
});
