/** What must hold of every file, however it was damaged; throws an Error that says what did not. */

import { BitgradError, useBackend } from "bitgrad";
import { readSafetensors } from "bitgrad/io";
import { type Ids, loadPacked, type PackedModel, type Values } from "bitgrad/packed";
import { heapUse, setHeapBudget } from "../../kernels/wasm/heap.ts";
import { backendName } from "../soak/against.ts";

/** The numbers that a run may make. */
export const budget = 2 ** 18;
/** What engines and kernels take whatever the file: objects, tables, scratch. */
const slack = 2 ** 20;

/** What `run` gives, or the code of a typed error. */
function outcome<T>(run: () => T): T | string {
  try {
    return run();
  } catch (error) {
    if (error instanceof BitgradError) return error.code;
    throw error;
  }
}

/** The same, held to what it may allocate. */
function bounded<T>(what: string, most: number, run: () => T): T {
  setHeapBudget(heapUse().budget);
  const [heap, arrays] = [heapUse().bytes, process.memoryUsage().arrayBuffers];
  // What the shared memory grows by lies in its peak.
  const grown = heapUse().reserved;
  const result = run();
  const onHeap = heapUse().peak - heap;
  const beside = process.memoryUsage().arrayBuffers - arrays - (heapUse().reserved - grown);
  if (onHeap > most + slack || beside > most + slack) {
    throw new Error(`${what}: took ${onHeap} bytes of the heap and ${beside} beside, at most ${most}`);
  }
  return result;
}

/** Layers whose numbers do not depend on the order of float sums. */
export const isExact = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return true;
  const { kind, input, type, name } = value as Record<string, unknown>;
  if (["linear", "conv1d", "conv2d"].includes(kind as string)) return input !== null;
  if (kind === "norm" && type) return false;
  if (kind === "attention" || kind === "convTranspose2d") return false;
  if (kind === "pool" && type === "average") return false;
  if (kind === "function") return ["identity", "relu", "relu6", "flatten"].includes(name as string);
  return Object.entries(value).every(([key, child]) => key.startsWith("_") || isExact(child));
};

const kindOf = (x: number): string => (Number.isFinite(x) ? "finite" : String(x));

function compare(got: Values, want: Values, exact: boolean): void {
  if (got.shape.join() !== want.shape.join()) throw new Error(`shapes (${got.shape}) and (${want.shape})`);
  const size = want.data.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
  want.data.forEach((w, i) => {
    const g = got.data[i];
    if (Object.is(g, w)) return;
    // A last bit of a float may move a code of what follows by a step.
    const near = !exact && kindOf(g) === kindOf(w) && !(Math.abs(g - w) > 0.05 * size);
    if (!near) throw new Error(`number ${i} is ${g} by SIMD, ${w} on the reference`);
  });
}

function forward(bytes: Uint8Array, { input, told }: Given, backend: "simd" | "reference"): Values | string {
  useBackend(backend);
  try {
    const model = loadPacked(bytes);
    const result = outcome(() => model.forward(input, { ...told, budget }));
    model.dispose();
    return result;
  } finally {
    useBackend(backendName);
  }
}

/** What a model is run on. */
export interface Given {
  readonly input: Values | Ids;
  readonly told?: object;
}

/** Loads and runs a packed file. Returns the error's code, or "runs". */
export function checkPacked(bytes: Uint8Array, given: Given, damaged: boolean): string {
  const model = bounded<PackedModel | string>("load", 4 * bytes.length, () =>
    outcome(() => loadPacked(bytes)),
  );
  if (typeof model === "string") {
    if (model !== "FORMAT") throw new Error(`load: a file that is not right gave ${model}`);
    return "refused";
  }
  if (damaged) throw new Error("load: damage was accepted");
  const most = Math.max(4 * bytes.length, 4 * budget);
  const got = bounded("run", most, () => forward(bytes, given, backendName));
  const want = forward(bytes, given, "reference");
  if (typeof got === "string" || typeof want === "string") {
    if (got === want) return got as string;
    const [a, b] = [got, want].map((side) => (typeof side === "string" ? side : "numbers"));
    throw new Error(`run: ${a} by SIMD, ${b} on the reference`);
  }
  compare(got, want, isExact(model.root));
  return "runs";
}

/** Reads a safetensors file. */
export function checkTensors(bytes: Uint8Array): string {
  const file = bounded("read", 4 * bytes.length, () =>
    outcome(() => readSafetensors(bytes, { widen: true })),
  );
  if (typeof file !== "string") {
    const held = Object.values(file.tensors).reduce((sum, { data }) => sum + data.byteLength, 0);
    if (held > 4 * bytes.length) throw new Error(`read: ${held} bytes of tensors of ${bytes.length}`);
    return "reads";
  }
  if (file !== "FORMAT" && file !== "DTYPE") throw new Error(`read: a file that is not right gave ${file}`);
  return "refused";
}
