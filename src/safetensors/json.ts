/** JSON of files that nobody vouches for: UTF-8, an object, and no key twice. */

import { FormatError, isPlainObject, show } from "../errors.ts";
import { decodeUtf8 } from "../utf8.ts";

/** The object in UTF-8 JSON. Throws FormatError for anything else, a repeated key and the key "__proto__". */
export function readJsonObject(op: string, bytes: Uint8Array): Record<string, unknown> {
  const text = decodeUtf8(op, bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${op}: not valid JSON, got ${show(text)}`, { cause: error });
  }
  checkStructure(op, text);
  if (!isPlainObject(value)) throw new FormatError(`${op}: the JSON must be an object, got ${show(value)}`);
  return value;
}

const DEPTH_LIMIT = 64;

/** JSON.parse keeps the last of equal keys and says nothing. `text` is valid JSON, so strings and brackets suffice. */
function checkStructure(op: string, text: string): void {
  const open: (Set<string> | null)[] = [];
  let expectsKey = false;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (letter === "{" || letter === "[") {
      if (open.length === DEPTH_LIMIT) {
        throw new FormatError(`${op}: the JSON is nested too deeply, got more than ${DEPTH_LIMIT} levels`);
      }
      open.push(letter === "{" ? new Set() : null);
      expectsKey = letter === "{";
    } else if (letter === "}" || letter === "]") open.pop();
    else if (letter === ",") expectsKey = open[open.length - 1] !== null;
    else if (letter === '"') {
      const start = at++;
      while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
      const keys = open[open.length - 1];
      if (!expectsKey || !keys) continue;
      const key = JSON.parse(text.slice(start, at + 1)) as string;
      if (keys.has(key)) throw new FormatError(`${op}: a key stands twice in the JSON, got ${show(key)}`);
      if (key === "__proto__") throw new FormatError(`${op}: a reserved key in the JSON, got ${show(key)}`);
      keys.add(key);
      expectsKey = false;
    }
  }
}
