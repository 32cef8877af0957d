import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeText, encodeText } from "../../kernels/wasm/text.ts";

describe("the text of compiled kernels", () => {
  it("gives back every byte, in whatever order", () => {
    const every = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(decodeText(encodeText(every))).toEqual(every);
    expect(decodeText("")).toEqual(new Uint8Array());
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(decodeText(encodeText(bytes))).toEqual(bytes);
      }),
    );
  });

  it("holds nothing that a string, a template or a page would have to escape", () => {
    const every = Uint8Array.from({ length: 65536 }, (_, i) => (i % 2 === 0 ? i >> 8 : i));
    expect(encodeText(every)).toMatch(/^[ -~]*$/);
    expect(encodeText(every)).not.toMatch(/["'`$<\\]/);
  });

  it("is what stands in the sources", () => {
    const text = readFileSync(new URL("../../kernels/softmax/simd.wasm.ts", import.meta.url), "utf8");
    const [, plain] = /plain: "([^"]*)"/.exec(text)!;
    expect(Array.from(decodeText(plain).subarray(0, 4))).toEqual([0, 97, 115, 109]);
    expect(encodeText(decodeText(plain))).toBe(plain);
  });
});
