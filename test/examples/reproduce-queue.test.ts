/** The order in which tasks of an experiment are given out. */

import { describe, expect, it } from "vitest";
import { Queue } from "../../examples/reproduce/queue.ts";
import type { Task } from "../../examples/reproduce/store.ts";

const taskOf = (cell: string, seed: number, reads?: Task): Task => ({ cell, seed, version: 1, reads });
const trained = [1, 2, 3].map((seed) => taskOf("trains", seed));
const readers = trained.map((task) => taskOf("reads", task.seed, { ...task }));

describe("a queue of tasks", () => {
  it("gives out what reads nothing that is yet to be measured, in order", async () => {
    const queue = new Queue([...trained, ...readers]);
    expect([await queue.next(), await queue.next()]).toEqual(trained.slice(0, 2));
    queue.ended(trained[1]);
    expect(await queue.next()).toBe(trained[2]);
    expect(await queue.next()).toBe(readers[1]);
    const waits = queue.next();
    queue.ended(readers[1]);
    queue.ended(trained[2]);
    expect(await waits).toBe(readers[2]);
    queue.ended(trained[0]);
    expect(await queue.next()).toBe(readers[0]);
    expect(await queue.next()).toBeUndefined();
  });

  it("gives out at once what reads what is measured", async () => {
    expect(await new Queue(readers).next()).toBe(readers[0]);
  });

  it("leaves none waiting where another took the last task", async () => {
    const queue = new Queue([trained[0], readers[0]]);
    await queue.next();
    const both = Promise.all([queue.next(), queue.next()]);
    queue.ended(trained[0]);
    expect(await both).toEqual([readers[0], undefined]);
  });
});
