import * as quant from "bitgrad/quant";
import { expect, it } from "vitest";

it("every block format is exported under its own name", () => {
  const { formats, ...exported } = quant;
  for (const [name, format] of Object.entries(formats)) {
    expect(exported[name as keyof typeof exported]).toBe(format);
    expect(format.name).toBe(name);
  }
  expect(Object.keys(formats)).toHaveLength(18);
});
