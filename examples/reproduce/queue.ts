/** Gives tasks out one by one, none before that whose files it reads. */

import { keyOf, type Task } from "./store.ts";

export class Queue {
  private readonly _waiting: Task[];
  /** Those that wait or are being measured. */
  private readonly _open: Set<string>;
  private readonly _idle: (() => void)[] = [];

  constructor(tasks: readonly Task[]) {
    this._waiting = [...tasks];
    this._open = new Set(tasks.map(keyOf));
  }

  /** The first task that can be measured, once there is one; undefined where no task is left. */
  async next(): Promise<Task | undefined> {
    while (this._waiting.length > 0) {
      const first = this._waiting.findIndex(({ reads }) => !reads || !this._open.has(keyOf(reads)));
      if (first >= 0) return this._waiting.splice(first, 1)[0];
      await new Promise<void>((resolve) => this._idle.push(resolve));
    }
  }

  /** A task has ended, well or not. */
  ended(task: Task): void {
    this._open.delete(keyOf(task));
    for (const resolve of this._idle.splice(0)) resolve();
  }
}
