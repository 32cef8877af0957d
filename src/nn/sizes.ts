/** Checks of the sizes that layers are made with. */

import { OptionError, show } from "../errors.ts";

/** Throws OptionError unless every value is a positive integer that an array of layers or numbers can have for its length. */
export function checkSizes(op: string, sizes: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || (value as number) < 1) {
      throw new OptionError(`${op}: ${name} must be a positive integer, got ${show(value)}`);
    }
    if ((value as number) >= 2 ** 31)
      throw new OptionError(`${op}: ${name} must be below 2^31, got ${show(value)}`);
  }
}

/** Throws OptionError unless `groups` divides the named channel counts. */
export function checkGroups(op: string, groups: number, channels: Readonly<Record<string, number>>): void {
  checkSizes(op, { groups });
  for (const [name, count] of Object.entries(channels)) {
    if (count % groups !== 0) {
      throw new OptionError(`${op}: groups must divide ${name}, got ${groups} for ${count}`);
    }
  }
}
