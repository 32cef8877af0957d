import { DTypeError, FormatError, OptionError, type Tensor } from "bitgrad";
import { csv } from "bitgrad/data";
import { describe, expect, it } from "vitest";

const sample = "height,age,name\n1.5,,Ada\n ,41,\n";
const types = { height: "float32", age: "int32" } as const;
const numbers = (column: unknown) => Array.from((column as Tensor).data);

describe("empty cells of a csv", () => {
  it("are what `missing` says for their column, and stay text in a column of text", () => {
    const { height, age, name } = csv(sample, { types, missing: { height: Number.NaN, age: -1 } });
    expect(numbers(height)).toEqual([1.5, Number.NaN]);
    expect(numbers(age)).toEqual([-1, 41]);
    expect(name).toEqual(["Ada", ""]);
  });

  it("are an error that names the option where nothing is said", () => {
    expect(() => csv(sample, { types })).toThrow(FormatError);
    expect(() => csv(sample, { types, missing: { age: -1 } })).toThrow(
      'csv: not a number in column "height", got " " in data row 2; missing: { "height": … } fills empty cells',
    );
    expect(() => csv("a\nx\n", { types: { a: "int32" }, missing: { a: 0 } })).toThrow(
      'got "x" in data row 1',
    );
  });

  it("must have a number that their column can hold", () => {
    expect(() => csv(sample, { types, missing: { height: 0, age: 0.5 } })).toThrow(DTypeError);
    expect(() => csv(sample, { types, missing: { height: "0" as never } })).toThrow(
      'csv: missing must give a number for a column with a type, got "0" for "height"',
    );
    expect(() => csv(sample, { types, missing: { name: 0 } })).toThrow('got 0 for "name"');
    expect(() => csv(sample, { types, missing: 0 as never })).toThrow(OptionError);
  });
});
