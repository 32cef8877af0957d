/** The picture of what observers choose. */

import { concat, Rng, randn } from "bitgrad";
import { spec } from "bitgrad/quant";
import { expect, it } from "vitest";
import { choices, histograms } from "../../examples/histograms.ts";

/** Half normal, half a thousandth of that, and two outliers. */
const x = concat([
  randn([2000], { rng: new Rng("wide") }),
  randn([2000], { rng: new Rng("narrow") }).mul(0.001),
  [30, -30],
]);

it("says of each observer which codes it leaves and what they lose", () => {
  const found = choices(x, spec({ bits: 4, scheme: "affine" }));
  const [whole] = found;
  expect(whole.name).toBe("minMax");
  expect([whole.levels.length, whole.levels[0], whole.levels[15]]).toEqual([16, -32, 28]);
  // Steps of 4: 0, its neighbours, and the outliers.
  expect(whole.used).toBe(5);
  const best = found.toSorted((a, b) => b.sqnr - a.sqnr)[0];
  expect(best.name).toBe("mse");
  for (const { used, levels } of found) expect(used).toBeLessThanOrEqual(levels.length);
});

it("is drawn with all of that", async () => {
  const svg = await histograms({ "some numbers": x });
  expect(svg).toContain("some numbers");
  for (const { name, used } of choices(x, spec({ bits: 4, scheme: "affine" })))
    expect(svg).toMatch(new RegExp(`>${name}: [0-9.]+ dB, ${used} of 16 codes<`));
});
