/**
 * Random programs of allocations, ops, scopes, parameters and backward passes, every kernel call of them held to its
 * reference. Here a few with a fixed seed; `npm run soak` runs them for 30 s, or as `--seconds` and `--seed` say.
 */

import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { backendName } from "./soak/against.ts";
import { calls, unwatched } from "./soak/audit.ts";
import { programs } from "./soak/commands.ts";
import { differentiable } from "./soak/ops.ts";
import { Program } from "./soak/program.ts";

vi.mock("../src/backend.ts", async (original) => {
  const { audited } = await import("./soak/audit.ts");
  return audited(await original());
});

const seconds = Number(process.env.BITGRAD_SOAK_SECONDS ?? 0);
const seed = Number(process.env.BITGRAD_SOAK_SEED ?? 1);

it("watches every kernel", async () => {
  expect(unwatched(await import("../src/backend.ts"))).toEqual([]);
});

it("reaches every kernel on the heap, forward and backward", () => {
  for (const name of differentiable)
    for (const shape of [9, 10, 12]) {
      const program = new Program();
      try {
        program.open();
        for (const seed of [1, 2, 3, 4, 5]) {
          program.make(shape, 1, seed);
          program.own(seed);
        }
        for (const n of [1, 2, 3, 4, 5]) {
          program.apply(name, n, n + 1, n);
          program.backward(n, n, [name], n % 2 === 0);
          program.step(n);
        }
        program.end();
      } finally {
        program.release();
      }
    }
  const unreached = [...calls].filter(([, n]) => n === 0).map(([name]) => name);
  if (backendName === "simd") expect(unreached).toEqual([]);
});

it(
  "keeps every kernel within its bound, every live tensor as it was and no memory behind, in random programs",
  () => {
    const limit = seconds > 0 ? { interruptAfterTimeLimit: seconds * 1000, numRuns: 1e9 } : { numRuns: 60 };
    let done = 0;
    const property = fc.property(programs(120), (commands) => {
      const program = new Program();
      try {
        fc.modelRun(() => ({ model: {}, real: program }), commands);
        program.end();
      } finally {
        program.release();
      }
      done++;
    });
    fc.assert(property, { seed, ...limit, markInterruptAsFailure: false });
    if (seconds > 0)
      console.log(`soak: ${done} programs, ${[...calls].map(([k, n]) => `${k} ${n}`).join(", ")}`);
  },
  (seconds + 120) * 1000,
);
