/** Makes every op of `methods.ts` a method of Tensor. Importing it installs them. */

import { backward } from "../tape.ts";
import { Tensor } from "../tensor.ts";
import type { TensorMethods } from "../tensor-methods.ts";
import * as listed from "./methods.ts";
import { sumTo } from "./reduce.ts";

/** The functions are declared for any dtype alone. */
type AnyDType<R> = R extends Tensor ? Tensor : R;
type Method<K extends keyof TensorMethods> = (
  self: Tensor,
  ...args: Parameters<TensorMethods[K]>
) => AnyDType<ReturnType<TensorMethods[K]>>;

/** Fails to compile when a declared method has no function in the list, or a function of the list is not declared. */
const methods: { readonly [K in keyof TensorMethods]: Method<K> } & Record<
  Exclude<keyof typeof listed, keyof TensorMethods>,
  never
> = {
  ...listed,
  backward: backward as Method<"backward">,
  sumTo: (x, shape) => sumTo(x, { shape }),
};

for (const [name, run] of Object.entries(methods)) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: unknown[]) {
      return (run as (self: Tensor, ...args: unknown[]) => unknown)(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}
