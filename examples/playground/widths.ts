/** How many bits a weight has: as trained, and as the slider rounds it. */

export const roundedWidths = ["8", "4", "1.58", "1"] as const;
export type RoundedWidth = (typeof roundedWidths)[number];
export type Width = "32" | RoundedWidth;

/** A model that can be looked at: of a width, by rounding alone or trained through the rounding. */
export interface Variant {
  readonly width: Width;
  readonly tuned: boolean;
}

export const bitsOf = (width: Width): string => (width === "1" ? "1 bit" : `${width} bits`);

export const nameOf = ({ width, tuned }: Variant): string => `${bitsOf(width)}${tuned ? ", trained" : ""}`;
