/** What the playground computes, without its page. */

import { describe, expect, it } from "vitest";
import { averaged } from "../../examples/playground/chart.ts";
import { digitsSubject } from "../../examples/playground/digits.ts";
import { fitted, places } from "../../examples/playground/fitted.ts";
import type { Drawing, News } from "../../examples/playground/messages.ts";
import { leastText, textSubject } from "../../examples/playground/text.ts";
import { Trainer } from "../../examples/playground/trainer.ts";

/** A trainer of digits, what it tells, and a hook on every loss. */
function digits(seed: string, onSteps: (trainer: Trainer, done: number) => void = () => {}) {
  const news: News[] = [];
  const trainer = new Trainer(
    digitsSubject(seed, () => null),
    seed,
    "1",
    (told) => {
      news.push(told);
      if (told.type === "steps") onSteps(trainer, told.done);
    },
  );
  return { trainer, news };
}

describe("the trainer of the playground", () => {
  it("gives the same file for the same seed, and another for another", async () => {
    const file = async (seed: string) => {
      const { trainer } = digits(seed);
      await trainer.train(30, []);
      await trainer.tune(10);
      return trainer.file("1").bytes;
    };
    const first = await file("a");
    expect(await file("a")).toEqual(first);
    expect(await file("b")).not.toEqual(first);
  });

  it("goes on where it was stopped, to the same file", async () => {
    const whole = digits("a");
    await whole.trainer.train(400, []);
    let stops = 0;
    const parted = digits("a", (trainer, done) => {
      if (done < 400 && stops++ < 2) trainer.stop();
    });
    await parted.trainer.train(400, []);
    const rests = () => parted.news.filter(({ type }) => type === "rest");
    expect(rests()).toEqual([expect.objectContaining({ finished: false })]);
    while (rests().length < 10 && !rests().some((rest) => rest.type === "rest" && rest.finished))
      await parted.trainer.train(400, []);
    expect(rests().length).toBeGreaterThan(1);
    expect(parted.trainer.file("32").bytes).toEqual(whole.trainer.file("32").bytes);
  });

  it("looks at every width when it rests, and at what was trained through the rounding", async () => {
    const { trainer, news } = digits("a");
    await trainer.train(320, []);
    news.length = 0;
    await trainer.tune(160);
    const looks = news.flatMap((told) => (told.type === "look" ? [told.look] : []));
    const worth = (width: string, tuned: boolean) =>
      looks.findLast(({ variant }) => variant.width === width && variant.tuned === tuned)!.accuracy!;
    expect(worth("32", false)).toBeGreaterThan(0.9);
    expect(worth("8", false)).toBeGreaterThan(0.9);
    expect(worth("1", false)).toBeLessThan(worth("32", false) - 0.1);
    expect(worth("1", true)).toBeGreaterThan(worth("1", false) + 0.1);
  });

  it("learns from the reader's drawings what made digits do not show", async () => {
    // A frame, which is like no digit, and is to be a 4.
    const pixels = Float32Array.from({ length: places ** 2 }, (_, i) => {
      const [row, column] = [Math.floor(i / places), i % places];
      return row === 1 || row === 10 || column === 1 || column === 10 ? 1 : 0;
    });
    const drawing: Drawing = { pixels, digit: 4 };
    const shareOf4 = async (drawings: Drawing[]) => {
      const looks: number[] = [];
      const trainer = new Trainer(
        digitsSubject("a", () => pixels),
        "a",
        "8",
        (told) => {
          if (told.type === "look" && told.look.variant.width === "32") looks.push(told.look.drawing![4]);
        },
      );
      await trainer.train(160, drawings);
      return looks.at(-1)!;
    };
    expect(await shareOf4([])).toBeLessThan(0.5);
    expect(await shareOf4([drawing])).toBeGreaterThan(0.9);
  });

  it("refuses a text that leaves nothing to test with", () => {
    expect(() => textSubject(new Uint8Array(leastText - 1), "small", () => "")).toThrow(/at least/);
    textSubject(new Uint8Array(leastText), "large", () => "");
  });
});

describe("a drawing", () => {
  /** A filled rectangle on a square of `side` points. */
  const rectangle = (side: number, top: number, left: number, height: number, width: number) =>
    Float32Array.from({ length: side * side }, (_, i) => {
      const [row, column] = [Math.floor(i / side) - top, (i % side) - left];
      return row >= 0 && row < height && column >= 0 && column < width ? 1 : 0;
    });

  it("is the same picture wherever and however large it is drawn", () => {
    const small = fitted(rectangle(84, 3, 5, 28, 12), 84);
    expect(fitted(rectangle(84, 40, 60, 28, 12), 84)).toEqual(small);
    expect(fitted(rectangle(84, 3, 5, 56, 24), 84)).toEqual(small);
  });

  it("is as tall as a made digit, and in the middle", () => {
    const picture = fitted(rectangle(84, 3, 5, 28, 12), 84)!;
    const rows = Array.from({ length: places }, (_, row) =>
      Math.max(...picture.subarray(row * places, (row + 1) * places)),
    );
    expect(rows.map((value) => Number(value > 0.5))).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]);
    expect(Math.max(...picture)).toBe(1);
  });

  it("that is wide fits too, and none is null", () => {
    const wide = fitted(rectangle(84, 3, 5, 12, 72), 84)!;
    const columns = Array.from({ length: places }, (_, column) => wide[5 * places + column]);
    expect(columns.filter((value) => value > 0)).toHaveLength(7);
    expect(fitted(new Float32Array(84 * 84), 84)).toBeNull();
  });
});

it("a curve has means of stretches, at the steps where they end", () => {
  expect(averaged([4, 2, 3, 1, 5], 10, 3)).toEqual([
    [12, 3],
    [14, 2],
    [15, 5],
  ]);
  expect(averaged([], 0)).toEqual([]);
});
