/** Finds tensors that outlive the code that made them. */

import {
  BitgradError,
  checkInteger,
  isFunction,
  OptionError,
  readOptions,
  show,
  synchronous,
} from "../errors.ts";
import { memory, scope } from "../storage.ts";

/**
 * Throws if running `fn` again and again leaves more tensors or bytes in the scopes around it: what it makes must be
 * released by scopes of its own, disposed of, or owned by something longer-lived. `warmUp` runs come first, for caches.
 *
 * @example
 * ```ts
 * import { randn, scope } from "bitgrad";
 * import { leakCheck } from "bitgrad/testing";
 *
 * leakCheck(() => scope(() => randn([8, 8]).sum().item()));
 * ```
 */
export function leakCheck(fn: () => unknown, options?: { runs?: number; warmUp?: number }): void {
  const { runs, warmUp } = readOptions("leakCheck", options, { runs: 10, warmUp: 2 });
  checkInteger("leakCheck", "runs", runs, 0);
  checkInteger("leakCheck", "warmUp", warmUp, 0);
  if (!isFunction(fn)) throw new OptionError(`leakCheck: expected a function, got ${show(fn)}`);
  const run = () => synchronous("leakCheck", fn());
  scope(
    () => {
      for (let i = 0; i < warmUp; i++) run();
      const before = memory();
      for (let i = 0; i < runs; i++) run();
      const after = memory();
      if (after.tensors <= before.tensors && after.bytes <= before.bytes) return;
      throw new BitgradError(
        `leakCheck: memory grows, got ${after.tensors - before.tensors} tensors and ${after.bytes - before.bytes} bytes more after ${runs} runs`,
        "LEAK",
      );
    },
    { name: "leakCheck" },
  );
}
