/** Sums of products over named axes, turned into permutes, matrix products and sums: by letters, or by pairs of axes. */

import { checkInteger, OptionError, readOptions, ShapeError, show } from "../errors.ts";
import { normalizeAxis, type Shape, sizeOf } from "../shape.ts";
import { asTensor, type Tensor, type TensorLike } from "../tensor.ts";

interface Labelled {
  readonly tensor: Tensor;
  readonly labels: readonly string[];
}

/**
 * `einsum("bij,bjk->bik", a, b)`. Letters name axes; a letter missing from the result is summed over; "..." stands for the
 * remaining axes; a letter twice in one operand takes the diagonal. Axes of size 1 are repeated as those of the same name in
 * other operands need, as in NumPy and PyTorch. Without "->" the result holds the letters that occur once, in alphabetical
 * order. Throws OptionError for a malformed equation, ShapeError for sizes that differ.
 *
 * @example
 * ```ts
 * import { einsum, tensor } from "bitgrad";
 *
 * console.log(einsum("ij,j->i", tensor([[1, 2], [3, 4]]), tensor([1, 10])).toArray()); // [21, 43]
 * ```
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { inputs, output, size } = parse(equation, operands);
  let result = inputs.map(diagonals)[0];
  const rest = inputs.slice(1).map(diagonals);
  rest.forEach((next, i) => {
    const later = new Set([...output, ...rest.slice(i + 1).flatMap((t) => t.labels)]);
    result = product(result, next, later);
  });
  result = sumOut(result, new Set(output));
  const ordered = result.tensor.permute(output.map((label) => result.labels.indexOf(label)));
  const shape = output.map((label) => size.get(label)!);
  return ordered.reshape(shape);
}

function parse(equation: unknown, operands: readonly unknown[]) {
  if (typeof equation !== "string")
    throw new OptionError(`einsum: the equation must be a string, got ${show(equation)}`);
  const [left, right, ...more] = equation.replaceAll(" ", "").split("->");
  const terms = left.split(",");
  if (more.length > 0 || terms.length !== operands.length) {
    throw new OptionError(
      `einsum: needs one tensor a term, got ${show(equation)} with ${operands.length} operands`,
    );
  }
  const tensors = operands.map((operand) => asTensor("einsum", operand));
  const size = new Map<string, number>();
  // Axes that "..." stands for are labelled by their distance from its end, so that they line up as broadcasting does.
  const expand = (term: string, hidden: number): string[] => {
    if (!/^[a-zA-Z]*(\.\.\.)?[a-zA-Z]*$/.test(term))
      throw new OptionError(`einsum: malformed term, got ${show(term)} in ${show(equation)}`);
    const at = term.indexOf("...");
    if (at < 0) return [...term];
    return [
      ...term.slice(0, at),
      ...Array.from({ length: hidden }, (_, i) => `.${hidden - i}`),
      ...term.slice(at + 3),
    ];
  };
  let widest = 0;
  const inputs = terms.map((term, i): Labelled => {
    const letters = term.replace("...", "").length;
    const { shape, rank } = tensors[i];
    const hidden = term.includes("...") ? rank - letters : 0;
    if (hidden < 0 || letters + hidden !== rank) {
      throw new ShapeError(`einsum: term ${show(term)} does not name every axis, got ${show(shape)}`);
    }
    widest = Math.max(widest, hidden);
    const labels = expand(term, hidden);
    labels.forEach((label, k) => {
      const known = size.get(label) ?? 1;
      const twice = labels.indexOf(label);
      if (shape[twice] !== shape[k] || (known !== 1 && shape[k] !== 1 && known !== shape[k])) {
        throw new ShapeError(
          `einsum: axis ${show(label)} has two sizes, got ${shape[twice] === shape[k] ? known : shape[twice]} and ${shape[k]} in ${show(equation)}`,
        );
      }
      size.set(label, known === 1 ? shape[k] : known);
    });
    return { tensor: tensors[i], labels };
  });
  const output = right === undefined ? implied(inputs) : expand(right, widest);
  if (new Set(output).size !== output.length || output.some((label) => !size.has(label))) {
    throw new OptionError(`einsum: the result must name known axes once each, got ${show(equation)}`);
  }
  return { inputs: inputs.map((input) => unrepeated(input, size)), output, size };
}

/** Without the axes of size 1 that other operands repeat: a product does that by itself. */
function unrepeated({ tensor, labels }: Labelled, size: ReadonlyMap<string, number>): Labelled {
  const kept = labels.map((label, k) => tensor.shape[k] === size.get(label));
  if (!kept.includes(false)) return { tensor, labels };
  return {
    tensor: tensor.reshape(tensor.shape.filter((_, k) => kept[k])),
    labels: labels.filter((_, k) => kept[k]),
  };
}

function implied(inputs: readonly Labelled[]): string[] {
  const all = inputs.flatMap((t) => t.labels);
  const dots = [...new Set(all.filter((label) => label.startsWith(".")))].sort(
    (a, b) => Number(b.slice(1)) - Number(a.slice(1)),
  );
  return [
    ...dots,
    ...all.filter((label) => !label.startsWith(".") && all.filter((l) => l === label).length === 1).sort(),
  ];
}

/** Repeated letters within one operand become its diagonal. */
function diagonals({ tensor, labels }: Labelled): Labelled {
  const twice = labels.findIndex((label, i) => labels.indexOf(label) !== i);
  if (twice < 0) return { tensor, labels };
  const first = labels.indexOf(labels[twice]);
  const rest = labels.map((_, i) => i).filter((i) => i !== first && i !== twice);
  const diagonal = tensor.permute([...rest, first, twice]).diagonal();
  return diagonals({ tensor: diagonal, labels: [...rest.map((i) => labels[i]), labels[twice]] });
}

function sumOut({ tensor, labels }: Labelled, keep: ReadonlySet<string>): Labelled {
  const axes = labels.flatMap((label, i) => (keep.has(label) ? [] : [i]));
  return axes.length === 0
    ? { tensor, labels }
    : { tensor: tensor.sum({ axis: axes }), labels: labels.filter((label) => keep.has(label)) };
}

/** One batched matrix product: shared and kept letters are the batch, shared and dropped ones are summed over. */
function product(a: Labelled, b: Labelled, later: ReadonlySet<string>): Labelled {
  const left = sumOut(a, new Set([...later, ...b.labels]));
  const right = sumOut(b, new Set([...later, ...a.labels]));
  const shared = left.labels.filter((label) => right.labels.includes(label));
  const batch = shared.filter((label) => later.has(label));
  const inner = shared.filter((label) => !later.has(label));
  const m = left.labels.filter((label) => !shared.includes(label));
  const n = right.labels.filter((label) => !shared.includes(label));
  const arrange = ({ tensor, labels }: Labelled, groups: readonly (readonly string[])[]) => {
    const sizes = groups.map((group) => group.map((label) => tensor.shape[labels.indexOf(label)]));
    const order = groups.flat().map((label) => labels.indexOf(label));
    return { matrix: tensor.permute(order).reshape(sizes.map((axes) => sizeOf(axes))), sizes };
  };
  const l = arrange(left, [batch, m, inner]);
  const r = arrange(right, [batch, inner, n]);
  const y = l.matrix.matmul(r.matrix).reshape([...l.sizes[0], ...l.sizes[1], ...r.sizes[2]]);
  return { tensor: y, labels: [...batch, ...m, ...n] };
}

/** How many axes, the last of a and the first of b, or which of a with which of b. */
export type ContractedAxes = number | readonly [ofA: readonly number[], ofB: readonly number[]];

/**
 * The products of a and b summed over pairs of axes: the last `axes` (default 2) of a with the first of b, or those that two
 * lists name pair by pair. What is left of a comes first, then what is left of b. Throws ShapeError for sizes that differ.
 *
 * @example
 * ```ts
 * import { ones, tensordot } from "bitgrad";
 *
 * console.log(tensordot(ones([2, 3, 4]), ones([4, 3, 5]), { axes: [[1, 2], [1, 0]] }).shape); // [2, 5]
 * ```
 */
export function tensordot(a: TensorLike, b: TensorLike, options?: { axes?: ContractedAxes }): Tensor {
  const op = "tensordot";
  const { axes = 2 } = readOptions<{ axes?: unknown }>(op, options, { axes: undefined });
  const left = asTensor(op, a);
  const right = asTensor(op, b, left.dtype);
  const lists = Array.isArray(axes) ? axes : inOrder(axes as number, left.shape, right.shape);
  if (lists.length !== 2 || !lists.every(Array.isArray))
    throw new OptionError(`${op}: axes must be a number or two lists, got ${show(axes)}`);
  const [ofA, ofB] = [left, right].map(({ rank }, i) => {
    const found = lists[i].map((axis: number) => normalizeAxis(op, axis, rank)) as number[];
    if (new Set(found).size < found.length)
      throw new ShapeError(`${op}: an axis is named twice, got ${show(lists[i])}`);
    return found;
  });
  if (ofA.length !== ofB.length || ofB.some((axis, i) => right.shape[axis] !== left.shape[ofA[i]])) {
    throw new ShapeError(
      `${op}: paired axes differ in size, got ${show(left.shape)} and ${show(right.shape)} over ${show([ofA, ofB])}`,
    );
  }
  const ofLeft = left.shape.map((_, k) => letters[k]);
  const ofRight = right.shape.map((_, k) => {
    const pair = ofB.indexOf(k);
    return letters[pair < 0 ? left.rank + k : ofA[pair]];
  });
  const rest = [...ofLeft, ...ofRight].filter(
    (letter, _, all) => all.indexOf(letter) === all.lastIndexOf(letter),
  );
  return einsum(`${ofLeft.join("")},${ofRight.join("")}->${rest.join("")}`, left, right);
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** The last axes of one shape and the first of another. */
function inOrder(count: number, a: Shape, b: Shape): readonly number[][] {
  checkInteger("tensordot", "axes", count, 0);
  if (count > Math.min(a.length, b.length)) {
    throw new ShapeError(`tensordot: there are fewer axes, got ${count} for ${show(a)} and ${show(b)}`);
  }
  const first = Array.from({ length: count }, (_, i) => i);
  return [first.map((i) => a.length - count + i), first];
}
