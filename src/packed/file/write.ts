/** What a file of version 4 says of its layers. */

import { toFloat16 } from "../../../kernels/formats/half.ts";
import { zeroKind } from "../../../kernels/zeros.ts";
import { isFloat32Array } from "../../dtype.ts";
import { isPlainObject, OptionError, show } from "../../errors.ts";
import { DEPTH_LIMIT } from "../../safetensors/json.ts";
import { defaults, isOurs } from "../layers/kinds.ts";
import { endless, type Fields, type PackedLayer } from "./layer.ts";
import { checkWeight, type Format, weightDefaults } from "./numbers.ts";
import { telling } from "./read.ts";
import { PackedWeight, scalesPerRow } from "./weight.ts";

/** Throws OptionError for what the JSON of a file would lose. */
function checkJson(value: unknown, path: string): unknown {
  if (value === null || Number.isFinite(value) || typeof value === "boolean" || typeof value === "string") {
    if (Object.is(value, -0)) {
      throw new OptionError(`toBytes: JSON has no −0, got −0 at ${path}; write 0, or float32 numbers`);
    }
    return value;
  }
  throw new OptionError(
    `toBytes: a field must be a number, text, list, layer, weight or float32 numbers, got ${show(value)} at ${path}`,
  );
}

/** The fields that are not what a reader takes them for where they are missing. */
const without = (usual: Fields, fields: Fields): Fields =>
  Object.fromEntries(
    Object.entries(fields).filter(
      ([name, field]) => JSON.stringify(field) !== JSON.stringify(usual[name] ?? null),
    ),
  );

/** What a file says of a weight. Throws FormatError for one that no reader takes. */
const said = (told: Fields): Fields =>
  without(weightDefaults, checkWeight({ ...weightDefaults, ...told }, "toBytes"));

/** A layer and all below it as a file describes them, and their numbers by dtype, in the order in which it names them. */
export function described(root: PackedLayer): {
  readonly model: unknown;
  readonly numbers: Readonly<Record<Format, readonly Uint8Array[]>>;
} {
  const numbers: Record<Format, Uint8Array[]> = { F32: [], F16: [], U8: [] };
  /** Weights and numbers by their places. */
  const known = new Map<object, number>();
  /** The objects that hold what is described. */
  const above: object[] = [];

  function describe(value: unknown, path: string): unknown {
    const isWeight = value instanceof PackedWeight;
    if (isWeight || isFloat32Array(value)) {
      const same = known.get(value);
      if (same !== undefined) return { same };
      known.set(value, known.size);
      return isWeight ? weight(value) : { floats: floats(value) };
    }
    if (typeof value !== "object" || value === null) return checkJson(value, path);
    // The description lies in an object of its own, and a weight may hold a list of levels.
    const wrong = endless(value, above, DEPTH_LIMIT - 3);
    if (wrong) throw new OptionError(`toBytes: ${wrong}, got ${show(path)}`);
    above.push(value);
    const below = fields(value, path);
    above.pop();
    return below;
  }

  function fields(value: object, path: string): unknown {
    // A list with holes has undefined in them.
    if (Array.isArray(value)) return Array.from(value, (item, i) => describe(item, `${path}.${i}`));
    const { kind } = value as Partial<PackedLayer>;
    if (!isPlainObject(value) && typeof kind !== "string") return checkJson(value, path);
    if (Object.hasOwn(value, "__proto__")) {
      throw new OptionError(
        `toBytes: a field must not have a reserved name, got "__proto__" at ${path || "the root"}`,
      );
    }
    const isLayer = kind !== undefined || Object.hasOwn(value, "kind");
    // That of a class may be its prototype's.
    const stored = Object.entries(isLayer ? { kind, ...value } : value).filter(
      ([name]) => !name.startsWith("_"),
    );
    const below = Object.fromEntries(
      stored.map(([name, field]) => [
        isLayer ? name : name.replace(telling, "_$1"),
        describe(field, path === "" ? name : `${path}.${name}`),
      ]),
    );
    return isLayer && isOurs(kind) ? without(defaults, below) : below;
  }

  function floats(data: Float32Array): number {
    // A copy: the heap's memory may be shared, which not every sink takes.
    numbers.F32.push(new Uint8Array(data.slice().buffer));
    return data.length;
  }

  function weight({ rows, columns, floats: matrix, coded }: PackedWeight): Fields {
    if (coded === null) {
      floats(matrix!);
      return said({ rows, columns });
    }
    const { bits, signed, codes, scale, group, scaleType, codebook, zeroPoint } = coded;
    numbers.U8.push(codes);
    if (scaleType === "float16") numbers.F16.push(new Uint8Array(toFloat16(scale).buffer));
    else floats(scale);
    const zero = zeroPoint ? zeroKind(zeroPoint, bits) : null;
    if (zero === "float") floats(zeroPoint!);
    else if (zeroPoint) numbers.U8.push(Uint8Array.from(zeroPoint));
    const scales = scalesPerRow(coded) === 0 ? "one" : null;
    return said({ rows, columns, bits, signed, group, codebook, zero, scales, scaleType });
  }

  return { model: describe(root, ""), numbers };
}
