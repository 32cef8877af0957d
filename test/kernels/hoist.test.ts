import binaryen from "assemblyscript/binaryen";
import { describe, expect, it } from "vitest";
import { hoistConstants } from "../../kernels/wasm/hoist.ts";

const seven = "(v128.const i32x4 7 8 9 10)";
const zero = "(v128.const i32x4 0 0 0 0)";

/** Adds up n times what `step` makes of a vector, and gives the second lane; `before` runs first. */
const summing = (step: string, before = "") => `
  (func (export "sum") (param $n i32) (result i32) (local $sum v128)
    ${before}
    (loop $again
      (local.set $sum (i32x4.add (local.get $sum) ${step}))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32x4.extract_lane 1 (local.get $sum)))`;

/** A module of such functions, as bytes, after `change`. */
function built(functions: string, change = (bytes: Uint8Array) => bytes) {
  const module = binaryen.parseText(`(module (import "env" "memory" (memory 1)) ${functions})`);
  module.setFeatures(binaryen.Features.All);
  const bytes = change(module.emitBinary());
  const env = { memory: new WebAssembly.Memory({ initial: 1 }) };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)), { env });
  const text = binaryen.readBinaryWithFeatures(bytes, binaryen.Features.All).emitText();
  const { sum, twice } = exports as { sum: (n: number) => number; twice: (n: number) => number };
  return { text, sum, twice };
}

const constantsOf = (text: string): number => text.split("v128.const").length - 1;

describe("hoistConstants", () => {
  it("sets locals before a loop in place of its constants, one for each", () => {
    const step = `(i32x4.add ${seven} (i32x4.mul ${seven} (i32x4.splat (local.get $n))))`;
    const plain = built(summing(step));
    const hoisted = built(summing(step), hoistConstants);
    expect(constantsOf(plain.text)).toBe(2);
    expect(constantsOf(hoisted.text)).toBe(1);
    expect(hoisted.text.indexOf("v128.const")).toBeLessThan(hoisted.text.indexOf("(loop"));
    expect([1, 5].map(hoisted.sum)).toEqual([16, 160]);
    expect([1, 5].map(plain.sum)).toEqual([16, 160]);
  });

  it("sets them before the outermost of loops in loops", () => {
    const source = `(func (export "sum") (param $n i32) (result i32) (local $sum v128) (local $left i32)
      (loop $outer
        (local.set $left (i32.const 2))
        (loop $inner
          (local.set $sum (i32x4.add (local.get $sum) ${seven}))
          (br_if $inner (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (i32x4.extract_lane 1 (local.get $sum)))`;
    const { text, sum } = built(source, hoistConstants);
    expect(text.indexOf("v128.const")).toBeLessThan(text.indexOf("(loop"));
    expect(sum(3)).toBe(48);
  });

  it("leaves constants outside of loops, zeros, and the order of a byte shuffle", () => {
    const before = `(local.set $sum (i32x4.sub ${seven} ${seven}))`;
    const order = "(v128.const i32x4 0x03020100 0x07060504 0x03020100 0x03020100)";
    const step = `(i32x4.add ${zero} (i8x16.swizzle (i32x4.splat (local.get $n)) ${order}))`;
    const { text, sum } = built(summing(step, before), hoistConstants);
    expect(text).not.toContain("memory.size");
    expect(constantsOf(text)).toBe(4);
    expect(sum(4)).toBe(10);
  });

  it("serves several loops and functions of a module", () => {
    const before = `(local.set $sum (i32x4.splat (local.get $n)))
      (loop $first (local.set $sum (i32x4.add (local.get $sum) (v128.const i32x4 1 2 3 4)))
        (br_if $first (i32.lt_s (i32x4.extract_lane 0 (local.get $sum)) (i32.const 4))))`;
    const twice = summing(seven, before).replace('"sum"', '"twice"');
    const module = built(summing(seven) + twice, hoistConstants);
    expect([module.sum(2), module.twice(2)]).toEqual([16, 22]);
  });
});
