/** Text of kernels in WGSL. Sizes of layers are literals; bindings are results, inputs, and sizes, in this order. */

export interface Kernel {
  /** `name: type`, of one element. */
  readonly outs: readonly string[];
  readonly inputs: readonly string[];
  /** What the integers are called that are not compiled into it, at most 12. */
  readonly sizes?: readonly string[];
  /** Lines before and outside of the function, such as others. */
  readonly outside?: string;
  /** In it `group` is the number of the workgroup, and `t` that of the thread within. */
  readonly body: string;
  readonly threads?: number;
  readonly subgroups?: boolean;
}

/** Integers that are not compiled into a kernel. */
export const mostSizes = 12;
/** Where number i of them is, for functions that `main` calls. */
export const sizeAt = (i: number): string => `sizes[${i >> 2}][${i & 3}]`;

/** Threads of a workgroup, which every device has so many of. */
export const threads = 256;

const binding = (at: number, access: string, named: string): string => {
  const [name, type] = named.split(": ");
  return `@group(0) @binding(${at}) var<storage, ${access}> ${name}: array<${type}>;`;
};

export function kernel({
  outs,
  inputs,
  sizes = [],
  outside = "",
  body,
  threads: count = threads,
  subgroups = false,
}: Kernel): string {
  const at = outs.length + inputs.length;
  const lines = [
    ...(subgroups ? ["enable subgroups;"] : []),
    ...outs.map((named, i) => binding(i, "read_write", named)),
    ...inputs.map((named, i) => binding(outs.length + i, "read", named)),
    ...(sizes.length > 0
      ? [`@group(0) @binding(${at}) var<uniform> sizes: array<vec4<u32>, ${mostSizes / 4}>;`]
      : []),
    outside,
    `@compute @workgroup_size(${count})`,
    "fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,",
    "  @builtin(local_invocation_index) t: u32) {",
    "let group = id.x + id.y * workgroups.x;",
    ...sizes.map((name, i) => `let ${name} = ${sizeAt(i)};`),
    body,
    "}",
  ];
  return lines.filter((line) => line !== "").join("\n");
}

/** One number a thread: `body` is that of a function of its place `at` that returns it. */
export const each = (
  inputs: readonly string[],
  body: string,
  { type = "f32", sizes = [] as readonly string[], outside = "" } = {},
): string =>
  kernel({
    outs: [`out: ${type}`],
    inputs,
    sizes,
    outside: `${outside}
fn number(at: u32${sizes.map((name) => `, ${name}: u32`).join("")}) -> ${type} {
${body}
}`,
    body: `let at = group * ${threads}u + t;
if (at >= arrayLength(&out)) { return; }
out[at] = number(at${sizes.map((name) => `, ${name}`).join("")});`,
  });

/** Workgroups of kernels that make one number a thread. */
export const groupsOf = (length: number): number => Math.ceil(length / threads);

/** A number as a literal of a float32. */
export const float = (x: number): string => {
  const text = `${Math.fround(x)}`;
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
};

/**
 * Positions along axes of `shape`, the last first, of index `i`: lines that declare `name0`, `name1`, …; the first axis is
 * name0.
 */
export function unravel(i: string, shape: readonly number[], name: string): string {
  let text = "";
  let rest = i;
  for (let axis = shape.length - 1; axis > 0; axis--) {
    text += `let ${name}${axis} = ${rest} % ${shape[axis]}u;\nlet ${name}r${axis} = ${rest} / ${shape[axis]}u;\n`;
    rest = `${name}r${axis}`;
  }
  return `${text}let ${name}0 = ${rest};\n`;
}

/** Functions `total` and `largest` of a number of every thread of a workgroup, which all threads must call. */
export const reductions = (count: number): string => {
  const reduction = (name: string, joined: string): string => `fn ${name}(t: u32, v: f32) -> f32 {
parts[t] = v;
workgroupBarrier();
for (var gap = ${count / 2}u; gap > 0u; gap /= 2u) {
if (t < gap) { let a = parts[t]; let b = parts[t + gap]; parts[t] = ${joined}; }
workgroupBarrier();
}
let all = parts[0];
workgroupBarrier();
return all;
}`;
  return `var<workgroup> parts: array<f32, ${count}>;
${reduction("total", "a + b")}
${reduction("largest", "max(a, b)")}`;
};
