/** A packed file that the reader drops in or chooses, and what the model in it does. */

import { showCard } from "./card.ts";
import { part } from "./dom.ts";
import type { Gallery, Shown } from "./messages.ts";

export class FileDrop {
  private readonly root: HTMLElement;
  private readonly open: (bytes: Uint8Array, name: string) => void;

  constructor(root: HTMLElement, open: (bytes: Uint8Array, name: string) => void) {
    this.root = root;
    this.open = open;
    const input = part<HTMLInputElement>(root, "file");
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file) void this.read(file);
      // So that the same file can be chosen again.
      input.value = "";
    });
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("over");
    });
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      const file = event.dataTransfer?.files[0];
      if (file) void this.read(file);
    });
  }

  show(name: string, shown: Shown, gallery: Gallery | null): void {
    const card = part(this.root, "opened");
    card.hidden = false;
    part(this.root, "problem").textContent = "";
    part(card, "name").textContent = name;
    showCard(card, shown, gallery, null);
  }

  /** Says why a file could not be opened. */
  fail(name: string, message: string): void {
    part(this.root, "opened").hidden = true;
    part(this.root, "problem").textContent = `${name} could not be opened. ${message}`;
  }

  private async read(file: File): Promise<void> {
    part(this.root, "problem").textContent = "";
    try {
      this.open(new Uint8Array(await file.arrayBuffer()), file.name);
    } catch (error) {
      // A folder, a file that is gone, or one that is too large.
      this.fail(file.name, (error as Error).message);
    }
  }
}
