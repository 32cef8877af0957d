/** Configs and plans as text, for people. */

import { bytesPerElement } from "../dtype.ts";
import type { Parameter } from "../nn/parameter.ts";
import { grouped, tableOf } from "../printing.ts";
import { presetCall, type QuantConfig } from "./presets.ts";

const written = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** The path of a layer as tables write it: that of a model that is one layer is empty. */
export const nameOf = (layer: string): string => layer || "model";

/** A preset with its options, a quantizer by its name, "float32" where there is neither. */
export function labelOf(config: QuantConfig | null): string {
  if (config === null) return "float32";
  const call = presetCall(config);
  if (call) {
    const given = Object.entries(call.options ?? {}).filter(([, value]) => value !== undefined);
    const options = given.map(([name, value]) => `${name}: ${written(value)}`);
    return options.length > 0 ? `${call.preset}(${options.join(", ")})` : call.preset;
  }
  const { weight, input } = config;
  const name = typeof weight === "function" ? "a function" : weight.name;
  return input ? `${name}, quantized input` : name;
}

interface Row {
  readonly path: string;
  readonly parameter: Parameter;
  readonly config: QuantConfig | null;
}

/** Bits an element; nothing where only the function of a config knows them. */
function bitsOf({ parameter: { store, value }, config }: Row): string {
  if (config === null) return String(store?.bits ?? 8 * bytesPerElement(value.dtype));
  return typeof config.weight === "function" ? "" : String(config.weight.spec.bits);
}

/** What becomes of each parameter, one row per parameter. */
export function planTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.path,
    `(${row.parameter.shape.join(", ")})`,
    labelOf(row.config),
    grouped(row.parameter.size),
    bitsOf(row),
  ]);
  return tableOf(["path", "shape", "config", "parameters", "bits"], cells, null, 3);
}
