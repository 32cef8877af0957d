/** Nested arrays of numbers: their shape and elements. */

import { dtypeOfArray, type TypedArray } from "./dtype.ts";
import { DTypeError, ShapeError, show } from "./errors.ts";

export type NestedArray = readonly (number | boolean | TypedArray | NestedArray)[];

/** More than any data has; a list that holds itself has no end. */
const mostAxes = 1000;

/** The shape of nested arrays and their elements in order. Ragged nesting is a ShapeError. */
export function readNested(
  op: string,
  data: NestedArray,
): { shape: number[]; values: (number | boolean)[]; array: TypedArray | null } {
  const shape: number[] = [];
  let probe: unknown = data;
  let array: TypedArray | null = null;
  while (Array.isArray(probe) || ArrayBuffer.isView(probe)) {
    shape.push((probe as ArrayLike<unknown>).length);
    if (shape.length > mostAxes) {
      throw new ShapeError(
        `${op}: lists within lists must end in numbers, got more than ${mostAxes} of them`,
      );
    }
    if (ArrayBuffer.isView(probe)) {
      array = probe as TypedArray;
      if (dtypeOfArray(array) === null)
        throw new DTypeError(`${op}: no dtype for this typed array, got ${array.constructor.name}`);
      break;
    }
    probe = probe[0];
  }
  const values: (number | boolean)[] = [];
  const visit = (item: unknown, axis: number): void => {
    if (axis === shape.length) {
      if (typeof item !== "number" && typeof item !== "boolean") {
        throw new ShapeError(
          `${op}: ragged or non-numeric data, got ${show(item)} where a number of a ${show(shape)} array belongs`,
        );
      }
      values.push(item);
      return;
    }
    if (
      (!Array.isArray(item) && !ArrayBuffer.isView(item)) ||
      (item as unknown as ArrayLike<unknown>).length !== shape[axis]
    ) {
      const got =
        Array.isArray(item) || ArrayBuffer.isView(item)
          ? `length ${(item as unknown as ArrayLike<unknown>).length}`
          : show(item);
      throw new ShapeError(
        `${op}: ragged data, got ${got} on axis ${axis} where the first entry has length ${shape[axis]}`,
      );
    }
    const list = item as ArrayLike<unknown>;
    for (let i = 0; i < list.length; i++) visit(list[i], axis + 1);
  };
  visit(data, 0);
  return { shape, values, array };
}
