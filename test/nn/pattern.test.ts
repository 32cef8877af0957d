import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { OptionError } from "../../src/errors.ts";
import { matchPath } from "../../src/nn/pattern.ts";

describe("matchPath", () => {
  it.each<[string | RegExp, string[], string[]]>([
    ["head.weight", ["head.weight"], ["head.weights", "a.head.weight", "headXweight"]],
    ["blocks.*.weight", ["blocks.0.weight"], ["blocks.weight", "blocks.0.mlp.weight"]],
    ["conv*.bias", ["conv.bias", "conv12.bias"], ["conv1.x.bias", "preconv.bias"]],
    ["**.weight", ["weight", "a.weight", "a.b.c.weight"], ["a.weights", "aweight"]],
    ["a.**.b", ["a.b", "a.x.b", "a.x.y.b"], ["a.xb", "ab", "a.b.c"]],
    ["a.**", ["a", "a.b", "a.b.c"], ["ab", "b.a"]],
    ["**", ["", "a", "a.b"], []],
    ["*.{query,key}.weight", ["x.query.weight", "x.key.weight"], ["x.value.weight", "x.querykey.weight"]],
    ["{a.**,b}.c", ["a.c", "a.x.c", "b.c"], ["b.x.c"]],
    ["{x,{y,z}1}.w", ["x.w", "y1.w", "z1.w"], ["y.w"]],
    ["a+b.(c)[d]$^|\\", ["a+b.(c)[d]$^|\\"], ["aab.cd"]],
    ["a,b", ["a,b"], ["a", "b"]],
    ["", [""], ["a"]],
    [/bias$/, ["a.bias", "bias"], ["bias.a"]],
    [/norm/g, ["a.norm.b", "norm"], ["nor.m"]],
  ])("%s takes %j and not %j", (pattern, hits, misses) => {
    for (const path of hits) expect(matchPath(pattern, path), path).toBe(true);
    for (const path of misses) expect(matchPath(pattern, path), path).toBe(false);
  });

  it("gives a global RegExp the same answer every time", () => {
    const pattern = /weight/g;
    expect([1, 2, 3].map(() => matchPath(pattern, "a.weight"))).toEqual([true, true, true]);
  });

  it("takes every path without special characters literally", () => {
    const path = fc
      .array(fc.stringMatching(/^[a-zA-Z0-9_$]+$/), { minLength: 1, maxLength: 4 })
      .map((p) => p.join("."));
    fc.assert(
      fc.property(path, path, (a, b) => {
        expect(matchPath(a, a)).toBe(true);
        expect(matchPath(a, b)).toBe(a === b);
        expect(matchPath("**", b)).toBe(true);
      }),
    );
  });

  it.each(["{a", "a}", "}{", "{a,{b}", 3, null])("refuses the pattern %j", (pattern) => {
    expect(() => matchPath(pattern as string, "a")).toThrow(OptionError);
    expect(() => matchPath(pattern as string, "a")).toThrow(/^matchPath: /);
  });
});
