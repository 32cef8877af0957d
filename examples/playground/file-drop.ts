/** A packed file that the reader drops in or chooses, and what the model in it does. */

import { showCard } from "./card.ts";
import { part } from "./dom.ts";
import type { Gallery, Shown } from "./messages.ts";

export class FileDrop {
  private readonly root: HTMLElement;
  private readonly open: (bytes: Uint8Array) => void;
  private name = "";

  constructor(root: HTMLElement, open: (bytes: Uint8Array) => void) {
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

  show(shown: Shown, gallery: Gallery | null): void {
    const card = part(this.root, "opened");
    card.hidden = false;
    part(card, "name").textContent = this.name;
    showCard(card, shown, gallery, null);
    this.name = "";
  }

  /** Says why the file that is being read could not be opened. False where none is: then it is not the file that failed. */
  fail(message: string): boolean {
    if (this.name === "") return false;
    part(this.root, "opened").hidden = true;
    part(this.root, "problem").textContent = `${this.name} could not be opened. ${message}`;
    this.name = "";
    return true;
  }

  private async read(file: File): Promise<void> {
    this.name = file.name;
    part(this.root, "problem").textContent = "";
    this.open(new Uint8Array(await file.arrayBuffer()));
  }
}
