/** JSON of files that nobody vouches for: UTF-8, an object, and no key twice. */

import { FormatError, isPlainObject, show } from "../errors.ts";
import { decodeUtf8 } from "./utf8.ts";

/** Levels of lists and objects, the outermost among them. */
export const DEPTH_LIMIT = 64;
/** Four of them describe a tensor. No published model has as many tensors. */
export const KEY_LIMIT = 2 ** 19;

/**
 * The object in UTF-8 JSON. Throws FormatError for anything else, a repeated key, the key "__proto__", and more keys or levels
 * than are read in good time, which is found before anything is made of them.
 */
export function readJsonObject(op: string, bytes: Uint8Array): Record<string, unknown> {
  const text = decodeUtf8(op, bytes);
  let value: unknown;
  try {
    checkStructure(op, text);
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(`${op}: not valid JSON, got ${show(text)}`, { cause: error });
  }
  if (!isPlainObject(value)) throw new FormatError(`${op}: the JSON must be an object, got ${show(value)}`);
  return value;
}

const [quote, comma, backslash] = [0x22, 0x2c, 0x5c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** JSON.parse keeps the last of equal keys and says nothing. Where `text` is no JSON, that is for JSON.parse to say. */
function checkStructure(op: string, text: string): void {
  // A set a level, for whichever object is open there.
  const sets: Set<string>[] = [];
  const inObject: boolean[] = [];
  let expectsKey = false;
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const letter = text.charCodeAt(at);
    if (letter === openObject || letter === openList) {
      const depth = inObject.length;
      if (depth === DEPTH_LIMIT) {
        throw new FormatError(`${op}: the JSON is nested too deeply, got more than ${DEPTH_LIMIT} levels`);
      }
      expectsKey = letter === openObject;
      inObject.push(expectsKey);
      if (sets.length === depth) sets.push(new Set());
      sets[depth].clear();
    } else if (letter === closeObject || letter === closeList) {
      inObject.pop();
    } else if (letter === comma) {
      expectsKey = inObject[inObject.length - 1];
    } else if (letter === quote) {
      const start = at++;
      let escaped = false;
      for (; at < text.length && text.charCodeAt(at) !== quote; at++) {
        if (text.charCodeAt(at) !== backslash) continue;
        escaped = true;
        at++;
      }
      if (!expectsKey) continue;
      expectsKey = false;
      const key = escaped ? (JSON.parse(text.slice(start, at + 1)) as string) : text.slice(start + 1, at);
      const keys = sets[inObject.length - 1];
      if (keys.has(key)) throw new FormatError(`${op}: a key stands twice in the JSON, got ${show(key)}`);
      if (key === "__proto__") throw new FormatError(`${op}: a reserved key in the JSON, got ${show(key)}`);
      if (++count > KEY_LIMIT) {
        throw new FormatError(
          `${op}: the JSON has too many keys, got more than ${KEY_LIMIT}; use several files`,
        );
      }
      keys.add(key);
    }
  }
}
