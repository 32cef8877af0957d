/** What a product lays on the heap goes once, whatever fails in between. */

import { expect, it } from "vitest";
import { Laid } from "../../src/packed/products/laid.ts";

it("does not give out, or free again, what made room for a layer that could not be made", () => {
  const laid = new Laid();
  const freed: string[] = [];
  const layer = (name: string) => () => ({ name, free: () => void freed.push(name) });
  const fail = () => {
    throw new Error("no room");
  };
  laid.get("columns", layer("first"), "1");
  expect(() => laid.get("columns", fail, "2")).toThrow("no room");
  expect(laid.get("columns", layer("second"), "1")).toMatchObject({ name: "second" });
  laid.free();
  expect(freed).toEqual(["first", "second"]);
});
