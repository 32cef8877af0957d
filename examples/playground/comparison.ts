/** All models that were looked at, and the table of them. */

import { cells } from "./card.ts";
import { element, part } from "./dom.ts";
import type { Look } from "./messages.ts";
import { nameOf, type Variant, type Width } from "./widths.ts";

const order: readonly Width[] = ["32", "8", "4", "1.58", "1"];

export class Comparison {
  private readonly root: HTMLElement;
  private looks = new Map<string, Look>();

  constructor(root: HTMLElement, worth: string, unit: string) {
    this.root = root;
    part(root, "worth").textContent = worth;
    part(root, "unit").textContent = unit;
  }

  clear(): void {
    this.looks.clear();
    this.draw();
  }

  set(look: Look): void {
    this.looks.set(nameOf(look.variant), look);
    this.draw();
  }

  get(variant: Variant): Look | null {
    return this.looks.get(nameOf(variant)) ?? null;
  }

  /** The model of a width that was trained through the rounding, else the one that was only rounded. */
  best(width: Width): Look | null {
    return this.get({ width, tuned: true }) ?? this.get({ width, tuned: false });
  }

  /** How good a model is, as the table says it. */
  worth(look: Look): string {
    return cells(look)[1];
  }

  private draw(): void {
    const looks = order.flatMap((width) =>
      [false, true].flatMap((tuned) => this.get({ width, tuned }) ?? []),
    );
    // While a training goes on only what the reader looks at is kept up to date.
    this.root.hidden = looks.length < order.length;
    part(this.root, "rows").replaceChildren(
      ...looks.map((look) => {
        const name = element("th", { scope: "row", textContent: nameOf(look.variant) });
        return element("tr", {}, name, ...cells(look).map((text) => element("td", { textContent: text })));
      }),
    );
  }
}
