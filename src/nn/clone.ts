import { isBuiltIn, OptionError, show } from "../errors.ts";
import { pin, type Storage } from "../storage.ts";
import { isTensor, Tensor } from "../tensor.ts";
import { hasData } from "./blank.ts";
import { holdCopies } from "./modes.ts";

/**
 * A deep copy of a model: parameters, buffers, transforms, settings. What is shared in the model (tied parameters, a layer
 * used twice, a generator) is shared in the copy. Gradients and graphs are not copied. Functions are shared, so a `forward`
 * must find its layers through `this`; objects that are not plain data or class instances (a Date, a Promise) are shared too,
 * and `#private` fields do not survive.
 *
 * @example
 * ```ts
 * import { clone, init, Linear } from "bitgrad/nn";
 *
 * const model = new Linear(4, 2);
 * const copy = clone(model);
 * init.zeros(copy.weight);
 * console.log(copy.weight.value.abs().sum().item(), model.weight.value.abs().sum().item() > 0); // 0 true
 * ```
 */
export function clone<M extends object>(model: M): M {
  if (typeof model !== "object" || model === null) {
    throw new OptionError(`clone: expected a model, got ${show(model)}`);
  }
  const copies = new Map<object, unknown>();

  const remember = <T extends object>(original: object, copy: T): T => {
    copies.set(original, copy);
    return copy;
  };

  const storageOf = (storage: Storage): Storage => {
    const known = copies.get(storage) as Storage | undefined;
    if (known) return known;
    return remember(storage, storage.copy());
  };

  const tensorOf = (tensor: Tensor): Tensor => {
    const storage = hasData(tensor) ? storageOf(tensor.storage) : tensor.storage;
    const copy = remember(tensor, pin(new Tensor(storage, tensor.shape, tensor.dtype)));
    copy.requiresGrad = tensor.requiresGrad && tensor.node === null;
    return copy;
  };

  const copyOf = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (copies.has(value)) return copies.get(value);
    if (isTensor(value)) return tensorOf(value);
    if (isBuiltIn("Map", value)) {
      const map = remember(value, new Map());
      for (const [key, item] of value) map.set(copyOf(key), copyOf(item));
      return map;
    }
    if (isBuiltIn("Set", value)) {
      const set = remember(value, new Set());
      for (const item of value) set.add(copyOf(item));
      return set;
    }
    if (ArrayBuffer.isView(value)) return remember(value, structuredClone(value));
    if (Array.isArray(value)) {
      const list = remember(value, new Array(value.length));
      value.forEach((item, i) => {
        list[i] = copyOf(item);
      });
      return list;
    }
    if (Object.prototype.toString.call(value) !== "[object Object]") return value;
    const copy = remember(value, Object.create(Object.getPrototypeOf(value)));
    for (const key of Reflect.ownKeys(value)) {
      const property = Object.getOwnPropertyDescriptor(value, key)!;
      if (!property.enumerable) continue;
      if ("value" in property) property.value = copyOf(property.value);
      Object.defineProperty(copy, key, property);
    }
    return copy;
  };

  const copy = copyOf(model) as M;
  holdCopies(copies);
  return copy;
}
