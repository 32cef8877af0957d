/** Codes of a few bits in bytes. */

/**
 * Some bits of all codes of a block: a byte holds those of codes that lie `width` apart, the first lowest, and each `width`
 * bytes follow one another.
 */
export interface Plane {
  /** The first byte. */
  readonly at: number;
  readonly width: number;
  /** Bits of a code: 1, 2 or 4. */
  readonly bits: number;
}

/** Writes codes into zeroed bytes. Planes follow from the low bits of the codes up. */
export function putCodes(block: Uint8Array, planes: readonly Plane[], codes: Uint8Array): void {
  let from = 0;
  for (const { at, width, bits } of planes) {
    const mask = (1 << bits) - 1;
    for (let i = 0, first = at; i < codes.length; first += width)
      for (let shift = 0; shift < 8; shift += bits)
        for (let byte = first; byte < first + width; byte++, i++)
          block[byte] |= ((codes[i] >> from) & mask) << shift;
    from += bits;
  }
}

/** The n codes that `putCodes` wrote. */
export function getCodes(block: Uint8Array, planes: readonly Plane[], n: number): Uint8Array {
  const codes = new Uint8Array(n);
  let from = 0;
  for (const { at, width, bits } of planes) {
    const mask = (1 << bits) - 1;
    for (let i = 0, first = at; i < n; first += width)
      for (let shift = 0; shift < 8; shift += bits)
        for (let byte = first; byte < first + width; byte++, i++)
          codes[i] |= ((block[byte] >> shift) & mask) << from;
    from += bits;
  }
  return codes;
}
