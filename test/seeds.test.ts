import { OptionError, Rng } from "bitgrad";
import fc from "fast-check";
import seedrandom from "seedrandom/seedrandom.js";
import { describe, expect, it } from "vitest";

const keyOf = (seed: string | number): string => new Rng(seed).state.key.join(" ");

describe("seeds", () => {
  it("of ASCII keep the streams of seedrandom", () => {
    expect(["", "a", "+", "train", "order", "bitgrad", "seed 7", "abcab"].map(keyOf)).toEqual(
      [
        "994027583 3545621062",
        "1866138448 88411019",
        "1384330235 3781056365",
        "3650950727 1610062902",
        "1733662658 972249971",
      ].concat(
        ["bitgrad", "seed 7", "abcab"].map((seed) => {
          const source = seedrandom(seed);
          return `${source.int32() >>> 0} ${source.int32() >>> 0}`;
        }),
      ),
    );
    expect([0, 1.5, 1e300, 2 ** 53].map(keyOf)).toEqual([
      "163575421 4041460903",
      "2843514719 2739430918",
      "1179110456 905680694",
      "2159791368 1909016212",
    ]);
  });

  it("of other texts keep these streams in every version", () => {
    expect(["š", "猫", "aa", "1\0", "a".repeat(300)].map(keyOf)).toMatchInlineSnapshot(`
      [
        "4039855043 4188361844",
        "511893691 4211117559",
        "3021569578 1571298756",
        "3421205156 1011382988",
        "4060977200 224651431",
      ]
    `);
  });

  it.each([
    [
      "beyond ASCII",
      ["a", "š", "+", "猫", "", "Ā", "\0", "é", "e\u0301", "🦙", "\ud83e", "\udd99", "\u0100\u0100"],
    ],
    [
      "that repeat another",
      ["a", "aa", "aaa", "20", "2020", "202020", "ab", "abab", "a".repeat(255), "a".repeat(256)],
    ],
    [
      "longer than 256 characters",
      ["a", "b"].map((first) => first + "x".repeat(255) + (first === "a" ? "t" : "a")),
    ],
    ["that look like numbers", [1, "1", "1\0", "1\0\0", -1, "-1", "-1\0"]],
  ])("%s differ", (_, seeds) => {
    expect(new Set(seeds.map(keyOf)).size).toBe(seeds.length);
  });

  it("that differ anywhere give different streams", () => {
    const seed = fc.string({ unit: fc.constantFrom("a", "b", "\0", "á", "š", "𝒜", "\ud800"), maxLength: 9 });
    fc.assert(
      fc.property(seed, seed, (a, b) => {
        expect(keyOf(a) === keyOf(b)).toBe(a === b);
      }),
      { numRuns: 2000 },
    );
  });

  it("are equal where the numbers are", () => {
    expect(keyOf(-0)).toBe(keyOf(0));
    expect(() => new Rng(10n as never)).toThrow(OptionError);
  });

  it("take time that grows as their length", () => {
    const long = "ab".repeat(1_000_000);
    expect(keyOf(long)).not.toBe(keyOf(`${long}c`));
  });
});
