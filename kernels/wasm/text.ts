/**
 * Bytes of a compiled kernel as text in a script: one printable character for most bytes, two for the rest, so that gzip
 * finds in the text what it finds in the bytes. In base64 a repeated run of bytes is three different texts.
 */

/** None that a string literal, a template or a page would have to escape. */
const alphabet = " !#%&()*+,-./0123456789:;=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_abcdefghijklmnopqrstuvwxyz{|}~";

/** Numbers below it are one character; the two behind them begin a pair. */
const singles = 87;

/** 253, which begins every SIMD instruction, becomes 0. */
const shift = 3;

/** The text of bytes. */
export const encodeText = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => {
    const n = (byte + shift) & 255;
    if (n < singles) return alphabet[n];
    const rest = n - singles;
    return alphabet[singles + Math.floor(rest / alphabet.length)] + alphabet[rest % alphabet.length];
  }).join("");

/** The bytes of a text that `encodeText` made. */
export function decodeText(text: string): Uint8Array<ArrayBuffer> {
  const numbers = new Uint8Array(128);
  for (let i = 0; i < alphabet.length; i++) numbers[alphabet.charCodeAt(i)] = i;
  const bytes = new Uint8Array(text.length);
  let count = 0;
  for (let i = 0; i < text.length; count++) {
    const n = numbers[text.charCodeAt(i++)];
    const pair = n - singles;
    const whole = pair < 0 ? n : singles + pair * alphabet.length + numbers[text.charCodeAt(i++)];
    bytes[count] = whole - shift;
  }
  return bytes.slice(0, count);
}
