/** The curve of losses: lines in an SVG that stretches, and labels beside it in HTML, so that they stay readable. */

import { count, element, part } from "./dom.ts";

const space = "http://www.w3.org/2000/svg";
/** Points of a line at most; losses between them are averaged. */
const mostPoints = 160;
const width = 1000;
const height = 400;

type Kind = "float" | "tuned" | "baseline";

interface Line {
  readonly name: string;
  readonly kind: Kind;
  readonly from: number;
  losses: number[];
}

/** Means of stretches of equal length: [step, loss]. */
export function averaged(losses: readonly number[], from: number, most = mostPoints): [number, number][] {
  const stretch = Math.max(1, Math.ceil(losses.length / most));
  const points: [number, number][] = [];
  for (let i = 0; i < losses.length; i += stretch) {
    const some = losses.slice(i, i + stretch);
    points.push([from + i + some.length, some.reduce((a, b) => a + b, 0) / some.length]);
  }
  return points;
}

export class Chart {
  private readonly root: HTMLElement;
  private readonly svg: SVGSVGElement;
  private lines: Line[] = [];
  private baseline: { readonly loss: number; readonly name: string } | null = null;
  private steps = 0;
  private waiting = false;

  constructor(root: HTMLElement) {
    this.root = root;
    this.svg = document.createElementNS(space, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    part(root, "plot").append(this.svg);
    this.draw();
  }

  clear(): void {
    this.lines = [];
    this.steps = 0;
    this.later();
  }

  /** A level to compare with: what a model reaches that knows nothing of order. */
  setBaseline(loss: number, name: string): void {
    this.baseline = { loss, name };
    this.later();
  }

  /** Removes the lines of this kind. */
  drop(kind: Kind): void {
    this.lines = this.lines.filter((line) => line.kind !== kind);
    this.later();
  }

  /** Adds losses to the end of a line, which is begun where there is none; the axis reaches to step `end`. */
  add(name: string, kind: Kind, from: number, losses: readonly number[], end: number): void {
    let line = this.lines.find((known) => known.name === name && known.from + known.losses.length === from);
    if (!line) {
      line = { name, kind, from, losses: [] };
      this.lines.push(line);
    }
    line.losses.push(...losses);
    this.steps = Math.max(this.steps, end);
    this.later();
  }

  private later(): void {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.draw();
    });
  }

  private draw(): void {
    const drawn = this.lines.map((line) => ({ line, points: averaged(line.losses, line.from) }));
    const values = drawn.flatMap(({ points }) => points.map(([, loss]) => loss));
    if (this.baseline) values.push(this.baseline.loss);
    const top = values.length > 0 ? Math.max(...values) : 1;
    const bottom = values.length > 0 ? Math.min(0.9 * top, ...values) : 0;
    const margin = (top - bottom) / 20;
    const x = (step: number) => ((step / Math.max(1, this.steps)) * width).toFixed(1);
    const y = (loss: number) => (((top + margin - loss) / (top - bottom + 2 * margin)) * height).toFixed(1);
    const paths = drawn.map(({ line, points }) =>
      path(line.kind, `M${points.map(([step, loss]) => `${x(step)},${y(loss)}`).join("L")}`),
    );
    if (this.baseline) paths.unshift(path("baseline", `M0,${y(this.baseline.loss)}H${width}`));
    this.svg.replaceChildren(...paths);
    part(this.root, "top").textContent = top.toFixed(1);
    part(this.root, "bottom").textContent = bottom.toFixed(1);
    part(this.root, "end").textContent = count(this.steps);
    this.legend();
  }

  private legend(): void {
    const entries = new Map<string, Kind>(this.lines.map(({ name, kind }) => [name, kind]));
    if (this.baseline) entries.set(this.baseline.name, "baseline");
    part(this.root, "legend").replaceChildren(
      ...[...entries].map(([name, kind]) => element("li", { className: kind }, name)),
    );
    const told = this.lines.map(({ name, losses }) => {
      const ends = averaged(losses, 0, 20);
      return `${name}: from ${ends[0][1].toFixed(2)} to ${ends.at(-1)![1].toFixed(2)}`;
    });
    this.svg.setAttribute("aria-label", `The loss, step by step. ${told.join(". ") || "Nothing yet."}`);
  }
}

function path(kind: Kind, d: string): SVGPathElement {
  const made = document.createElementNS(space, "path");
  made.setAttribute("class", kind);
  made.setAttribute("d", d);
  made.setAttribute("vector-effect", "non-scaling-stroke");
  return made;
}
