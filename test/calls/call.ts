/**
 * Wrong calls, made from right ones. A table gives a right call of everything that an entry exports: its arguments and
 * options, each with the wrong values that mean something in its place. Every other wrong value must be met by an error of
 * the library that begins with the name of what was called and shows the value.
 */

import { BitgradError, isTensor, ones, type Tensor, tensor, zeros } from "bitgrad";
import { Linear, Parameter, type Step } from "bitgrad/nn";
import { isPlainObject, show } from "../../src/errors.ts";

/** The wrong values, given the right one. */
const wrongs = {
  undefined: () => undefined,
  null: () => null,
  text: () => "a string",
  flag: () => true,
  nan: () => Number.NaN,
  negative: () => -1,
  fraction: () => 0.5,
  huge: () => 2 ** 53,
  object: () => ({}),
  list: () => [],
  function: () => function wrong() {},
  class: () => class Wrong {},
  shape: () => ones([7, 5, 3]),
  dtype: (right: unknown) =>
    isTensor(right) ? zeros(right.shape, { dtype: "bool" }) : tensor([true, false]),
};
type Wrong = keyof typeof wrongs;

/** One place of a call: the right value, made anew for every call, and the wrong ones that are taken there. */
export interface Place {
  right(): unknown;
  readonly takes: ReadonlySet<Wrong>;
  /** Those that are right and would run for too long. */
  readonly skips?: ReadonlySet<Wrong>;
  /** What may stand for the items of a list. */
  readonly items: ReadonlySet<Wrong> | null;
  /** A tensor is expected: a message may give its dtype or shape instead of the value. */
  readonly tensor: boolean;
}

const named = (names: string): Set<Wrong> => {
  const list = names.split(" ").filter((name) => name !== "") as Wrong[];
  for (const name of list) if (!Object.hasOwn(wrongs, name)) throw new Error(`no wrong value ${name}`);
  return new Set(list);
};

/** What `make` makes, or one of the wrong values named. */
export const given = (make: () => unknown, takes = "", items: string | null = null): Place => ({
  right: make,
  takes: named(takes),
  items: items === null ? null : named(items),
  tensor: isTensor(make()),
});

const numbers = "nan negative fraction huge flag";

/** A tensor whose shape is fixed by the others': numbers and other dtypes have a meaning. */
export const like = (make: () => unknown, also = ""): Place => ({
  ...given(make, `${numbers} dtype ${also}`),
  tensor: true,
});
/** A tensor of any shape. */
export const any = (make: () => unknown, also = ""): Place => like(make, `list shape ${also}`);
/** A tensor of which only shape and dtype asked for will do. */
export const exact = (make: () => unknown, also = ""): Place => ({ ...given(make, also), tensor: true });
export const count = (value: number, also = ""): Place => given(() => value, also);
/** How often something is done. */
export const times = (value: number): Place => ({ ...count(value), skips: new Set(["huge"]) });
/** Any integer. */
export const integer = (value: number, also = ""): Place => count(value, `negative ${also}`);
/** A number above 0. */
export const positive = (value: number, also = ""): Place => count(value, `fraction huge ${also}`);
export const real = (value: number, also = ""): Place => positive(value, `negative ${also}`);
/** From 0 to 1. */
export const share = (value: number, also = ""): Place => count(value, `fraction ${also}`);
export const flag = (value: boolean): Place => given(() => value, "flag");
export const text = (value: string, also = ""): Place => given(() => value, `text ${also}`);
export const choice = (value: string, also = ""): Place => given(() => value, also);
/** Called by the library, what it returns is checked in rows of their own. */
export const fn = (f: (...args: never[]) => unknown, also = ""): Place => given(() => f, `function ${also}`);
export const list = (make: () => readonly unknown[], takes = "", items = ""): Place =>
  given(make, takes, items);
export const model = (make: () => object = small, also = ""): Place =>
  given(make, `object list shape dtype ${also}`);
/** May be left out, as every option may. */
export const optional = (place: Place, also = ""): Place => ({
  ...place,
  takes: new Set([...place.takes, ...named(`undefined ${also}`)]),
});
export const maybe = (place: Place): Place => optional(place, "null");

export const small = (): Linear => new Linear(3, 2);
export const parameter = (): Parameter => new Parameter(matrix());
export const step = (): Step => new Linear(3, 2);
export const matrix = (): Tensor =>
  tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
export const vector = (): Tensor => tensor([1, 2, 3]);
export const index = (values: number[] | number[][]): Tensor => tensor(values, { dtype: "int32" });

type Options = Readonly<Record<string, Place>>;

export interface Call {
  readonly args: readonly Place[];
  readonly options: Options | null;
  /** The options that must be given, as the others may be left out. */
  readonly needs: readonly string[];
  /** How it is called, where not by its name. */
  readonly run: ((...args: never[]) => unknown) | null;
  /** The names that messages may begin with besides its own. */
  readonly says: readonly string[];
}

/** A row of a table: a right call, or why there is none. */
export type Row = Call | string;
export type Table = Readonly<Record<string, Row>>;

export const call = (
  args: readonly Place[],
  options: Options | null = null,
  more: { needs?: string; run?: (...args: never[]) => unknown; says?: string } = {},
): Call => ({
  args,
  options,
  needs: more.needs?.split(" ") ?? [],
  run: more.run ?? null,
  says: more.says?.split(" ") ?? [],
});

/** The same row for many names. */
export const each = (names: string, row: Row): Table =>
  Object.fromEntries(names.split(" ").map((name) => [name, row]));

type Callable = ((...args: unknown[]) => unknown) & (new (...args: unknown[]) => unknown);

const isClass = (f: unknown): f is Callable =>
  typeof f === "function" && /^class\b/.test(Function.prototype.toString.call(f));

const callOf = (name: string, row: Call, target: unknown): ((...args: unknown[]) => unknown) => {
  if (row.run) return row.run as (...args: unknown[]) => unknown;
  if (typeof target !== "function") throw new Error(`${name} needs a way to be called`);
  const f = target as Callable;
  return isClass(f)
    ? (...args) => new f(...args)
    : (...args) => (f as (...all: unknown[]) => unknown)(...args);
};

/** Whether a message shows a value. */
function shows(message: string, bad: unknown, place: Place): boolean {
  if (message.includes(show(bad))) return true;
  const missing = bad === undefined || bad === null || isEmpty(bad);
  if (isEmpty(bad) && message.includes("()")) return true;
  if (missing) return /\b(none|nothing|needs|null|undefined|missing)\b|got \d/.test(message);
  if (isTensor(bad)) return message.includes(bad.dtype) || message.includes("tensor");
  // What stands where options do is missed as a tensor.
  return place.tensor && /got \d/.test(message);
}

const isEmpty = (value: unknown): boolean => isPlainObject(value) && Object.keys(value).length === 0;

const isTensorLike = (value: unknown): boolean =>
  isTensor(value) || ["number", "boolean"].includes(typeof value) || Array.isArray(value);

/** What is wrong with how a call meets wrong values, a line each. */
export async function problemsOf(name: string, row: Call, target: unknown): Promise<string[]> {
  const run = callOf(name, row, target);
  const problems: string[] = [];
  const heads = [name, name.split(".").at(-1)!, ...row.says].map((head) => head.replace(/\(.*/, ""));
  const rightArgs = () => row.args.map((place) => place.right());
  const rightOptions = () =>
    Object.fromEntries(Object.entries(row.options ?? {}).map(([key, place]) => [key, place.right()]));

  const attempt = async (where: string, args: unknown[], bad: unknown, place: Place, taken: boolean) => {
    try {
      await run(...args);
      if (!taken) problems.push(`${where} is taken`);
    } catch (error) {
      const { message } = error as Error;
      if (!(error instanceof BitgradError)) {
        problems.push(`${where}: raw ${(error as Error).stack?.split("\n").slice(0, 4).join(" ")}`);
        return;
      }
      // That a tensor does not fit may be told by the op within that it does not fit.
      if (place.tensor && isTensorLike(bad)) return;
      // A layer inside of the one that is called is named by its path.
      const own = message.replace(/^[\w.]+: (?=\w+: )/, "");
      if (!heads.some((head) => message.startsWith(`${head}:`) || own.startsWith(`${head}:`)))
        problems.push(`${where} is told by another: ${message}`);
      else if (!taken && !shows(message, bad, place)) problems.push(`${where} is not shown: ${message}`);
    }
  };
  const withOptions = (options: unknown) => (row.options ? [...rightArgs(), options] : rightArgs());
  const variants = async (
    where: string,
    place: Place,
    place_: (bad: unknown) => unknown[],
    items = place.items,
  ) => {
    for (const [kind, make] of Object.entries(wrongs) as [Wrong, (right: unknown) => unknown][]) {
      if (place.skips?.has(kind)) continue;
      const bad = make(place.right());
      await attempt(`${where} = ${kind}`, place_(bad), bad, place, place.takes.has(kind));
    }
    if (items === null) return;
    const length = (place.right() as unknown[]).length;
    for (let i = 0; i < length; i++) {
      const right = () => (place.right() as unknown[])[i];
      const item: Place = { right, takes: items, items: null, tensor: isTensor(right()) };
      await variants(
        `${where}[${i}]`,
        item,
        (bad) => place_((place.right() as unknown[]).with(i, bad)),
        null,
      );
    }
  };

  try {
    await run(...withOptions(rightOptions()));
    if (row.options) {
      const needed = Object.entries(rightOptions()).filter(([key]) => row.needs.includes(key));
      await run(...withOptions(Object.fromEntries(needed)));
    }
  } catch (error) {
    return [`the right call: ${(error as Error).stack}`];
  }
  for (const [i, place] of row.args.entries()) {
    await variants(`argument ${i}`, place, (bad) => withOptions(rightOptions()).with(i, bad));
  }
  if (row.options === null) return problems;
  for (const [key, place] of Object.entries(row.options)) {
    const spared = row.needs.includes(key) ? place : optional(place);
    await variants(`option ${key}`, spared, (bad) => withOptions({ ...rightOptions(), [key]: bad }));
  }
  const whole = given(rightOptions, row.needs.length > 0 ? "" : "undefined object");
  await variants("options", whole, withOptions);
  const odd = { ...rightOptions(), nonsense: 1 };
  await attempt("an unknown option", withOptions(odd), "nonsense", whole, false);
  return problems;
}

/** The exports without a row, and the rows without an export. */
export function gaps(entry: Readonly<Record<string, unknown>>, table: Table): string[] {
  const methods = Object.entries(entry).flatMap(([name, value]) =>
    isClass(value) && !(value.prototype instanceof Error)
      ? methodsOf(value).map((key) => `${name}.${key}`)
      : [],
  );
  const wanted = [...Object.keys(entry), ...methods];
  return [
    ...wanted.filter((name) => !Object.hasOwn(table, name)).map((name) => `${name} has no row`),
    ...Object.keys(table)
      .filter((name) => !Object.hasOwn(entry, name.split(/[.(]/)[0]))
      .map((name) => `${name} is no export`),
  ];
}

/** The methods that take something, and what can be assigned; `toPacked` is between layers and `pack`. */
function methodsOf(value: Callable): string[] {
  const found = new Set<string>();
  for (
    let proto = value.prototype;
    proto && proto !== Object.prototype;
    proto = Object.getPrototypeOf(proto)
  ) {
    for (const [key, { value: method, set }] of Object.entries(Object.getOwnPropertyDescriptors(proto))) {
      if (key === "constructor" || key === "toPacked") continue;
      if (set || (typeof method === "function" && method.length > 0)) found.add(key);
    }
  }
  return [...found];
}
