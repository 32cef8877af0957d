/** Where the work is done, so that the page stays alive: takes orders and tells news. */

import { loadPacked } from "bitgrad/packed";
import { digitsSubject } from "./digits.ts";
import type { Begin, News, Order } from "./messages.ts";
import type { Subject } from "./subject.ts";
import { textSubject, writer } from "./text.ts";
import { speeds } from "./timing.ts";
import { steady, Trainer } from "./trainer.ts";

let trainer: Trainer | null = null;
let subject: Subject | null = null;
let prompt = "";
let drawing: Float32Array | null = null;

const tell = (news: News): void => postMessage(news);

function begun(): Trainer {
  if (trainer === null) throw new Error("There is no model yet: train one first.");
  return trainer;
}

function begin(given: Begin): void {
  const { setup, width } = given;
  ({ prompt, pixels: drawing } = given);
  subject =
    setup.task === "text"
      ? textSubject(setup.text, setup.size, () => prompt)
      : digitsSubject(setup.seed, () => drawing);
  trainer = new Trainer(subject, setup.seed, width, tell);
}

/** A file of either kind, whatever this worker trains. */
function open(bytes: Uint8Array, name: string): void {
  const packed = loadPacked(bytes);
  try {
    const digits = packed.root.kind === "language" ? null : digitsSubject("", () => drawing);
    const trained = subject?.gallery === null ? subject : null;
    const judge = digits ?? trained ?? writer(() => prompt);
    const worth = judge.show(packed, bytes.length);
    const [perSecond] = speeds([() => judge.run(packed)], steady);
    tell({ type: "opened", name, shown: { ...worth, perSecond }, gallery: digits?.gallery ?? null });
  } finally {
    packed.dispose();
  }
}

async function take(order: Order): Promise<void> {
  switch (order.type) {
    case "train":
      if (order.begin) begin(order.begin);
      return begun().train(order.steps, order.drawings);
    case "tune":
      return begun().tune(order.steps);
    case "stop":
      return begun().stop();
    case "choose":
      return begun().choose(order.width);
    case "prompt":
      prompt = order.prompt;
      return trainer?.look();
    case "see":
      drawing = order.pixels;
      return trainer?.look();
    case "file":
      return tell({ type: "file", to: order.to, ...begun().file(order.width) });
    case "open":
      prompt = order.prompt;
      drawing = order.pixels;
      return open(order.bytes, order.name);
  }
}

addEventListener("message", ({ data }: MessageEvent<Order>) => {
  const file = data.type === "open" ? data.name : null;
  take(data).catch((error: unknown) => tell({ type: "failed", file, message: (error as Error).message }));
});
