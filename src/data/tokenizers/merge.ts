/** Greedy pair merging, the step that every BPE shares, in n log n time for n symbols. */

/** A binary heap: `pop` gives the item that comes before all others. */
export class Heap<T> {
  private readonly items: T[] = [];
  private readonly before: (a: T, b: T) => boolean;

  constructor(before: (a: T, b: T) => boolean) {
    this.before = before;
  }

  push(item: T): void {
    const { items, before } = this;
    let at = items.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(item, items[parent])) break;
      items[at] = items[parent];
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const { items, before } = this;
    const top = items[0];
    const item = items.pop();
    if (items.length === 0 || item === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1], items[child])) child++;
      if (!before(items[child], item)) break;
      items[at] = items[child];
      at = child;
    }
    items[at] = item;
    return top;
  }
}

/** Which neighbours merge: `find` gives the number of the merge or -1; the merge of the lowest rank goes first. */
export interface Merges {
  find(left: number, right: number): number;
  readonly rank: ArrayLike<number>;
  readonly result: ArrayLike<number>;
}

interface Candidate {
  readonly rank: number;
  readonly at: number;
  readonly left: number;
  readonly right: number;
  readonly result: number;
}

const comesBefore = (a: Candidate, b: Candidate): boolean =>
  a.rank < b.rank || (a.rank === b.rank && a.at < b.at);

/** Merges the best pair of neighbours, the leftmost among equals, until none is left to merge. */
export function mergePairs(symbols: ArrayLike<number>, merges: Merges): number[] {
  const n = symbols.length;
  const ids = Int32Array.from(symbols);
  const next = Int32Array.from({ length: n }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: n }, (_, i) => i - 1);
  const heap = new Heap<Candidate>(comesBefore);
  const consider = (at: number): void => {
    if (at < 0 || next[at] >= n) return;
    const left = ids[at];
    const right = ids[next[at]];
    const merge = merges.find(left, right);
    if (merge !== -1) heap.push({ rank: merges.rank[merge], at, left, right, result: merges.result[merge] });
  };
  for (let i = 0; i + 1 < n; i++) consider(i);
  for (let best = heap.pop(); best !== undefined; best = heap.pop()) {
    const { at, left, right, result } = best;
    const gone = next[at];
    // A neighbour has merged since: the pair is no more.
    if (ids[at] !== left || gone >= n || ids[gone] !== right) continue;
    ids[at] = result;
    ids[gone] = -1;
    next[at] = next[gone];
    if (next[gone] < n) previous[next[gone]] = at;
    consider(previous[at]);
    consider(at);
  }
  const out: number[] = [];
  for (let i = 0; i < n; i = next[i]) out.push(ids[i]);
  return out;
}
