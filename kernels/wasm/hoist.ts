/**
 * Takes vector constants out of the loops of a compiled kernel. V8 keeps the value of a local in a register, or on the
 * stack; a constant it makes anew at every use, by three instructions (in Node 24; not in Node 20), so that loops with
 * polynomials took up to three times as long. What a local holds must not be known to be a constant: it is or-ed with
 * zeros that come from the size of the memory.
 */

import binaryen from "assemblyscript/binaryen";

/** A list of WebAssembly's text format, or a word. */
type Node = string | List;
type List = Node[];

const isList = (node: Node, head?: string): node is List =>
  typeof node !== "string" && (head === undefined || node[0] === head);

function parse(text: string): List {
  const open: List[] = [[]];
  for (const [word] of text.replace(/;;.*$/gm, "").matchAll(/"(?:[^"\\]|\\.)*"|[()]|[^\s()"]+/g))
    if (word === "(") open.push([]);
    else {
      const node = word === ")" ? open.pop()! : word;
      open[open.length - 1].push(node);
    }
  return open[0];
}

const print = (node: Node): string => (isList(node) ? `(${node.map(print).join(" ")})` : node);

// One instruction makes these.
const cheap = new Set(
  ["0x00000000", "0xffffffff"].map((word) => `(v128.const i32x4${` ${word}`.repeat(4)})`),
);

const isDear = (node: Node): node is List => isList(node, "v128.const") && !cheap.has(print(node));

/** Puts locals in place of the constants in a loop, and adds to `names` those of each. */
function replaceIn(list: List, names: Map<string, string>): void {
  for (const [i, node] of list.entries()) {
    if (!isList(node)) continue;
    // A byte shuffle by a constant is shorter than one by a variable.
    if (isDear(node) && list[0] !== "i8x16.swizzle") {
      const text = print(node);
      if (!names.has(text)) names.set(text, `$constant${names.size}`);
      list[i] = ["local.get", names.get(text)!];
    } else replaceIn(node, names);
  }
}

const zeros = "(i32x4.splat (i32.shr_u (memory.size) (i32.const 17)))";

/** Sets the locals before each of the outermost loops below `list`, and gives their number. */
function hoistBelow(list: List): number {
  let most = 0;
  for (let i = list.length - 1; i > 0; i--) {
    const node = list[i];
    if (!isList(node)) continue;
    // A loop with a result is an operand, before which nothing can stand.
    if (node[0] !== "loop" || node.some((child) => isList(child, "result"))) {
      most = Math.max(most, hoistBelow(node));
      continue;
    }
    const names = new Map<string, string>();
    replaceIn(node, names);
    if (names.size === 0) continue;
    most = Math.max(most, names.size);
    const sets = [...names].map(([text, name]) => `(local.set ${name} (v128.or (local.get $zeros) ${text}))`);
    list.splice(i, 0, ...parse([`(local.set $zeros ${zeros})`, ...sets].join("")));
  }
  return most;
}

const declarations = new Set(["type", "param", "result", "local"]);

function hoistIn(func: List): void {
  const count = hoistBelow(func);
  if (count === 0) return;
  const names = ["$zeros", ...Array.from({ length: count }, (_, i) => `$constant${i}`)];
  const body = func.findIndex((node) => isList(node) && !declarations.has(node[0] as string));
  func.splice(body, 0, ...names.map((name) => ["local", name, "v128"]));
}

/** The same module with the constants of its loops in locals. */
export function hoistConstants(bytes: Uint8Array): Uint8Array {
  const compiled = binaryen.readBinaryWithFeatures(bytes, binaryen.Features.All);
  const [module] = parse(compiled.emitText());
  compiled.dispose();
  for (const node of module) if (isList(node, "func")) hoistIn(node);
  const hoisted = binaryen.parseText(print(module));
  hoisted.setFeatures(binaryen.Features.All);
  const result = hoisted.emitBinary();
  hoisted.dispose();
  return result;
}
