import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { page } from "./page.ts";

it("docs/ops.md is what the cases and the sources say", () => {
  const file = new URL("../../docs/ops.md", import.meta.url);
  const written = page();
  if (process.env.BITGRAD_WRITE_DOCS) writeFileSync(file, written);
  expect(readFileSync(file, "utf8"), "run this test with BITGRAD_WRITE_DOCS=1 to write the page").toBe(
    written,
  );
});
