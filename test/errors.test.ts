import { describe, expect, it, vi } from "vitest";

const here = await import("../src/errors.ts");
vi.resetModules();
const there = await import("../src/errors.ts");

const kinds = [
  "ShapeError",
  "DTypeError",
  "GradError",
  "BackendError",
  "StageError",
  "FormatError",
  "OptionError",
] as const;

describe("errors of two copies of the library", () => {
  it("are made by different classes", () => {
    expect(there.BitgradError).not.toBe(here.BitgradError);
  });

  it.each(kinds)("%s of one is an instance of its twin in the other and of no other kind", (kind) => {
    const error = new there[kind]("add: wrong, got 1");
    expect(error).toBeInstanceOf(Error);
    expect(error.name).toBe(kind);
    for (const { BitgradError } of [here, there]) expect(error).toBeInstanceOf(BitgradError);
    for (const other of kinds) {
      expect(error instanceof here[other], other).toBe(other === kind);
      expect(error instanceof there[other], other).toBe(other === kind);
    }
  });

  it("a plain BitgradError is of no kind, and other values are no errors of the library", () => {
    const plain = new there.BitgradError("add: wrong, got 1");
    for (const kind of kinds) expect(plain instanceof here[kind], kind).toBe(false);
    for (const value of [new Error("add"), { code: "SHAPE" }, null, undefined, "SHAPE"]) {
      expect(value instanceof here.BitgradError).toBe(false);
      expect(value instanceof here.ShapeError).toBe(false);
    }
  });

  it("a class derived by a user holds its own errors alone", () => {
    class Mine extends here.ShapeError {}
    expect(new Mine("add: wrong, got 1")).toBeInstanceOf(here.ShapeError);
    expect(new Mine("add: wrong, got 1")).toBeInstanceOf(there.ShapeError);
    expect(new Mine("add: wrong, got 1")).toBeInstanceOf(Mine);
    expect(new here.ShapeError("add: wrong, got 1")).not.toBeInstanceOf(Mine);
  });
});

describe("show", () => {
  it('names an object by its class, and by "object" where its own fields pretend to be one', () => {
    expect(here.show(new Map())).toBe("Map");
    expect(here.show(JSON.parse('{"constructor": {"name": {"toString": 1}}}'))).toBe("object");
    expect(here.show(Object.create(null))).toBe("object");
  });

  it("tells −0, which some options refuse, from 0", () => expect(here.show([-0, 0])).toBe("(-0, 0)"));
});
