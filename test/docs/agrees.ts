/** Whether what a line prints is what its comment says. */

const number = /-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/g;

/** One spelling for each value: quotes, and spaces within brackets. */
export const plain = (text: string): string =>
  text
    .replaceAll("'", '"')
    .replace(/([[{(])\s+/g, "$1")
    .replace(/\s+([\]})])/g, "$1")
    .replace(/\s+/g, " ")
    .trim();

/** A number with decimals says as many as it has, one without is exact; the words around are the same. */
export function agrees(printed: string, said: string): boolean {
  const [got, wanted] = [plain(printed), plain(said)];
  if (got.replace(number, "#") !== wanted.replace(number, "#")) return false;
  const numbers = got.match(number) ?? [];
  return (wanted.match(number) ?? []).every((want, i) => {
    const digits = /\.(\d+)$/.exec(want)?.[1].length ?? 0;
    if (digits === 0 || want.includes("e")) return Number(want) === Number(numbers[i]);
    return Math.abs(Number(want) - Number(numbers[i])) <= 0.5000001 * 10 ** -digits;
  });
}
