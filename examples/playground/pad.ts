/** A square to draw on, by pointer or by keys: arrows move the pen, space puts it down or lifts it, Delete clears. */

import { fitted } from "./fitted.ts";

const side = 168;
const thickness = 18;
/** How far an arrow moves the pen. */
const stride = 14;

type Point = readonly [x: number, y: number];

const moves: Readonly<Record<string, Point>> = {
  ArrowLeft: [-stride, 0],
  ArrowRight: [stride, 0],
  ArrowUp: [0, -stride],
  ArrowDown: [0, stride],
};

export class Pad {
  private readonly root: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly changed: () => void;
  private strokes: Point[][] = [];
  private pen: Point = [side / 2, stride * 2];
  private isDown = false;

  /** Draws on the canvas in `root`, which takes the keys. */
  constructor(root: HTMLElement, changed: () => void) {
    const canvas = root.querySelector("canvas")!;
    this.root = root;
    root.tabIndex = 0;
    this.canvas = canvas;
    this.changed = changed;
    canvas.width = side;
    canvas.height = side;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.isDown = true;
      this.strokes.push([]);
      this.go(this.placeOf(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.go(this.placeOf(event));
    });
    for (const end of ["pointerup", "pointercancel"])
      canvas.addEventListener(end, () => {
        this.isDown = false;
      });
    root.addEventListener("keydown", (event) => this.key(event));
    root.addEventListener("focus", () => this.draw());
    root.addEventListener("blur", () => {
      this.isDown = false;
      this.draw();
    });
    this.draw();
  }

  clear(): void {
    this.strokes = [];
    this.isDown = false;
    this.draw();
    this.changed();
  }

  /** What is drawn, as the network sees it; null for nothing. */
  picture(): Float32Array | null {
    const context = this.context();
    this.ink(context, "white");
    const { data } = context.getImageData(0, 0, side, side);
    this.draw();
    return fitted(
      Float32Array.from({ length: side * side }, (_, i) => data[4 * i + 3] / 255),
      side,
    );
  }

  private context(): CanvasRenderingContext2D {
    const context = this.canvas.getContext("2d", { willReadFrequently: true })!;
    context.clearRect(0, 0, side, side);
    return context;
  }

  private placeOf(event: PointerEvent): Point {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * side, ((event.clientY - top) / height) * side];
  }

  private key(event: KeyboardEvent): void {
    const by = moves[event.key];
    if (by) {
      const inside = (at: number) => Math.max(stride, Math.min(side - stride, at));
      this.go([inside(this.pen[0] + by[0]), inside(this.pen[1] + by[1])]);
    } else if (event.key === " ") {
      this.isDown = !this.isDown;
      if (this.isDown) this.strokes.push([]);
      this.go(this.pen);
    } else if (event.key === "Delete" || event.key === "Backspace") this.clear();
    else return;
    event.preventDefault();
  }

  /** Moves the pen, which draws when it is down. */
  private go(to: Point): void {
    this.pen = to;
    if (this.isDown) this.strokes.at(-1)!.push(to);
    this.draw();
    if (this.isDown) this.changed();
  }

  private ink(context: CanvasRenderingContext2D, colour: string): void {
    context.strokeStyle = colour;
    context.lineWidth = thickness;
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const [first, ...rest] of this.strokes) {
      context.beginPath();
      context.moveTo(...first);
      context.lineTo(...first);
      for (const point of rest) context.lineTo(...point);
      context.stroke();
    }
  }

  private draw(): void {
    const context = this.context();
    context.fillStyle = "black";
    context.fillRect(0, 0, side, side);
    this.ink(context, "white");
    if (document.activeElement !== this.root) return;
    context.strokeStyle = this.isDown ? "orange" : "grey";
    context.lineWidth = 3;
    context.beginPath();
    context.arc(...this.pen, thickness / 2, 0, 2 * Math.PI);
    context.stroke();
  }
}
