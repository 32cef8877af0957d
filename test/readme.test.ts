import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { readmePage, renderSizes, type Sizes, sizesFile } from "../bench/sizes.ts";

it("the README's table of sizes is the stored one", async () => {
  const page = await readFile(readmePage, "utf8");
  expect(renderSizes(page, JSON.parse(await readFile(sizesFile, "utf8")) as Sizes)).toBe(page);
});
