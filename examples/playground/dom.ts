/** Small helpers: finding parts of the page, making them, and writing numbers for readers. */

/** The part with this `data-part`. The page is ours, so that one that lacks it is a fault. */
export function part<E extends Element = HTMLElement>(within: ParentNode, name: string): E {
  const found = within.querySelector<E>(`[data-part="${name}"]`);
  if (!found) throw new Error(`the page has no part ${name}`);
  return found;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A copy of what the template of this id holds. */
export const fromTemplate = (id: string): DocumentFragment =>
  document.importNode((document.getElementById(id) as HTMLTemplateElement).content, true);

export const count = (n: number): string => Math.floor(n + 0.5).toLocaleString("en");

/** 1234 → "1.2 KB". */
export function size(bytes: number): string {
  const kilobytes = bytes / 1024;
  return kilobytes < 1000
    ? `${kilobytes.toFixed(kilobytes < 10 ? 1 : 0)} KB`
    : `${(kilobytes / 1024).toFixed(1)} MB`;
}

export const percent = (share: number): string =>
  `${(100 * share).toFixed(share > 0.995 && share < 1 ? 1 : 0)} %`;

/** Two digits that count: 5,432 → "5,400". */
export function speed(perSecond: number): string {
  const unit = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(perSecond, 1))) - 1);
  return count(Math.floor(perSecond / unit + 0.5) * unit);
}
