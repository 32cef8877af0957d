import { FormatError } from "../errors.ts";

const strictUtf8 = /* @__PURE__ */ new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8 bytes as text. Throws FormatError for bytes that are not UTF-8. */
export function decodeUtf8(op: string, bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (error) {
    throw new FormatError(`${op}: the bytes are not UTF-8, got ${bytes.length} bytes`, { cause: error });
  }
}
