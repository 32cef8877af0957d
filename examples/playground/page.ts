/** The page: its two tabs, each a bench of its own, made when it is first opened. */

import { Bench, type Tab } from "./bench.ts";
import { digitsTab } from "./digits-tab.ts";
import { part } from "./dom.ts";
import { textTab } from "./text-tab.ts";

const kinds: Record<string, (bench: () => Bench) => Tab> = { text: textTab, digits: digitsTab };
const benches = new Map<string, Bench>();
const tabs = Array.from(document.querySelectorAll<HTMLButtonElement>('[role="tab"]'));

function open(name: string): void {
  for (const tab of tabs) {
    const chosen = tab.dataset.tab === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    part(document, tab.dataset.tab!).hidden = !chosen;
  }
  if (benches.has(name)) return;
  const tab = kinds[name](() => benches.get(name)!);
  benches.set(name, new Bench(part(document, name), tab));
}

/** The arrows move between tabs, as readers of tab lists expect. */
function move(event: KeyboardEvent, from: number): void {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by === undefined) return;
  const next = tabs[(from + by + tabs.length) % tabs.length];
  open(next.dataset.tab!);
  next.focus();
}

tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => open(tab.dataset.tab!));
  tab.addEventListener("keydown", (event) => move(event, i));
});
open("text");
