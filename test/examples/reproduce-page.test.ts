/** The page that is made of an experiment's results. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { markdown } from "../../examples/reproduce/paper.ts";
import type { Results } from "../../examples/reproduce/results.ts";

const loss = { title: "loss", digits: 3 };
const resultsOf = (text: string, says: string): Results => ({
  name: "small",
  about: says,
  text,
  columns: { loss },
  picture: { x: "bits", y: "loss", series: "method" },
  rows: [{ cell: "float", labels: { method: "float32" }, seeds: 3, means: { loss: { mean: 1, error: 0 } } }],
  claims: [{ says, verdict: "shown", difference: { mean: 1, error: 0.1 }, seeds: 3, below: 2, as: loss }],
  seconds: 1,
  machines: ["one"],
});
const pageOf = (text: string, says: string): string => markdown(resultsOf(text, says));

const word = fc.stringMatching(/^[a-z0-9é(]{1,12}[,:]?$/);
const sign = fc.constantFrom("%", "±", "-", "+", "*", "#", ">", "=", "1.", "2)", ">3");
const sentence = fc
  .array(fc.tuple(word, fc.option(sign)), { minLength: 30, maxLength: 60 })
  .map((words) => words.flatMap(([each, sign]) => (sign ? [each, sign] : [each])).join(" "));

describe("a page", () => {
  it("has lines of 125 characters that hold every word, none of them by chance a list, a heading or a quote", () => {
    fc.assert(
      fc.property(sentence, sentence, sentence, (first, second, says) => {
        const page = pageOf(`${first}\n\n${second}`, says);
        const lines = page.split("\n");
        expect(lines.filter((line) => line.length > 125)).toEqual([]);
        const blocks = lines.filter((line) => /^\s*(>|([-+*=]|#+|\d+[.)])(\s|$))/.test(line));
        expect(blocks.map((line) => line.slice(0, 10))).toEqual([
          "# small",
          "## Claims",
          "- **shown*",
          "## Again",
        ]);
        const flat = page.replace(/\s+/g, " ");
        const claim = `- **shown**: ${says} (loss 1.000 ± 0.100, to be below 2.000; 3 seeds).`;
        for (const text of [first, second, claim]) expect(flat).toContain(text);
      }),
    );
  });

  it("keeps labels with bars in their cells", () => {
    const column = { title: "|x|", digits: 1 };
    const page = markdown({
      ...resultsOf("", ""),
      columns: { loss: column },
      rows: [{ cell: "a", labels: { method: "Σ|w − ŵ|\nof all" }, seeds: 1, means: {} }],
    });
    expect(page).toContain(
      "| method | \\|x\\| | seeds |\n| --- | ---: | ---: |\n| Σ\\|w − ŵ\\| of all |  | 1 |\n",
    );
  });

  it("keeps paragraphs apart, and items of a list in theirs", () => {
    const page = pageOf(`${"one ".repeat(40).trim()}\n\nTwo.`, "so ".repeat(50).trim());
    expect(page).toMatch(/one\n\nTwo\.\n/);
    expect(page).toMatch(/^- \*\*shown\*\*: so .* so\n {2}so /m);
  });
});
