/** Numbers as people read them. */

/** 1234 is 1,234. */
export const grouped = (n: number): string => n.toLocaleString("en");

/** "1 layer", "2 layers". */
export const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;

/** 75 seconds are 1 min 15 s. */
export function duration(seconds: number): string {
  const whole = Math.ceil(seconds);
  const parts = [
    [Math.floor(whole / 3600), "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ] as const;
  return parts.flatMap(([n, unit]) => (n > 0 ? [`${n} ${unit}`] : [])).join(" ");
}
