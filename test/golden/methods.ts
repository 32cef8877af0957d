/** The methods of tensors as docs/ops.md lists them: signature and meaning from the sources, the rest by trial. */

import { readdirSync, readFileSync } from "node:fs";
import { BitgradError, type DType, isTensor, ones, type Tensor } from "bitgrad";
import ts from "typescript";
import * as methods from "../../src/ops/methods.ts";
import { type OpName, table } from "../ops-table.ts";
import { type CompositeSample, composites, samples } from "../samples.ts";

const ops = new URL("../../src/ops/", import.meta.url);
const dtypes = ["float32", "float64", "int8", "uint8", "int32", "uint32", "bool"] as const;
const floats: readonly DType[] = ["float32", "float64"];

const parse = (url: URL): ts.SourceFile =>
  ts.createSourceFile("file.ts", readFileSync(url, "utf8"), ts.ScriptTarget.Latest, true);

/** The first sentence of each doc comment of the ops, by the name that it describes. */
function meanings(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(ops).sort()) {
    for (const statement of parse(new URL(name, ops)).statements) {
      const names = ts.isVariableStatement(statement)
        ? statement.declarationList.declarations.map((declared) => declared.name.getText())
        : ts.isFunctionDeclaration(statement) && statement.name
          ? [statement.name.text]
          : [];
      const comment = ts.getJSDocCommentsAndTags(statement).find(ts.isJSDoc)?.comment;
      const text = ts.getTextOfJSDocComment(comment)?.replace(/\s+/g, " ");
      if (text) for (const each of names) found[each] ??= /^.*?[.](?= |$)/.exec(text)![0];
    }
  }
  return found;
}

/** The parameters of each method, by its name. */
function signatures(): Record<string, string> {
  const file = parse(new URL("../tensor-methods.ts", ops));
  const found: Record<string, string> = {};
  for (const statement of file.statements) {
    if (!ts.isInterfaceDeclaration(statement) || statement.name.text !== "TensorMethods") continue;
    for (const member of statement.members) {
      const parameters = ts.isMethodSignature(member)
        ? member.parameters.map((p) => p.name.getText() + (p.questionToken ? "?" : ""))
        : ["other"];
      found[member.name!.getText()] = `(${parameters.join(", ")})`;
    }
  }
  return found;
}

type Call = (...inputs: Tensor[]) => unknown;

interface Trial {
  readonly inputs: readonly Tensor[];
  readonly call: Call;
}

/** Calls of the op on numbers, with their inputs. Absent tensors and options stay as the sample has them. */
function trials(name: string): readonly Trial[] {
  const composite = (composites as Readonly<Record<string, readonly CompositeSample[] | undefined>>)[name];
  if (composite) return composite.map(({ inputs, run }) => ({ inputs, call: run }));
  const { rules } = (methods as unknown as Record<string, { rules?: unknown }>)[name];
  const [own, op] = Object.entries(table).find(([, candidate]) => candidate.rules === rules)!;
  return samples[own as OpName].map(({ inputs, options }) => ({
    inputs: inputs.filter((t) => t !== null),
    call(...there) {
      let next = 0;
      const all = inputs.map((t) => (t === null ? null : there[next++]));
      return (op as (...args: unknown[]) => unknown)(...all, ...(options ? [options] : []));
    },
  }));
}

function first(result: unknown): Tensor {
  if (isTensor(result)) return result;
  return first(Array.isArray(result) ? result[0] : Object.values(result as object)[0]);
}

/**
 * The dtype of the result for each dtype that the op takes in any of its samples: in place of its float32 tensors, or of all
 * where a sample has none.
 */
function results(tried: readonly Trial[]): Map<DType, DType> {
  const given = new Map<DType, DType>();
  for (const dtype of dtypes) {
    for (const { inputs, call } of tried) {
      const cast = inputs.filter((t) => t.dtype === "float32");
      const as = inputs.map((t) => {
        if (cast.length > 0 && !cast.includes(t)) return t;
        return floats.includes(dtype) ? t.to(dtype) : ones(t.shape, { dtype });
      });
      try {
        given.set(dtype, first(call(...as)).dtype);
        break;
      } catch (error) {
        if (!(error instanceof BitgradError)) throw error;
      }
    }
  }
  return given;
}

function takes(given: ReadonlyMap<DType, DType>): string {
  const names = [...given.keys()];
  const refused = dtypes.filter((dtype) => !given.has(dtype));
  if (refused.length === 0) return "all";
  if (names.every((dtype) => floats.includes(dtype)) && names.length === 2) return "floats";
  return refused.length < names.length ? `all but ${refused.join(", ")}` : names.join(", ");
}

function gives(given: ReadonlyMap<DType, DType>): string {
  const changed = [...given].filter(([from, to]) => from !== to);
  const others = [...new Set(changed.map(([, to]) => to))];
  const kept = [...given.keys()].filter((dtype) => given.get(dtype) === dtype);
  const isOne = new Set(given.values()).size === 1;
  if (isOne) return others[0] ?? kept[0];
  if (changed.length === 0) return "the same";
  if (others.length === 1) {
    if (kept.every((dtype) => floats.includes(dtype))) return `floats as they are, else ${others[0]}`;
    return `${others[0]} of ${changed.map(([from]) => from).join(", ")}, else the same`;
  }
  return [...given].map(([from, to]) => `${to} of ${from}`).join(", ");
}

const differentiable = (tried: readonly Trial[]): boolean =>
  tried.some(({ inputs, call }) => {
    const leaves = inputs.map((t) => (floats.includes(t.dtype) ? t.mul(1) : t));
    for (const leaf of leaves) if (floats.includes(leaf.dtype)) leaf.requiresGrad = true;
    return first(call(...leaves)).requiresGrad;
  });

/** The lines of the table, one a method, in the order of the source. */
export function methodLines(): string[] {
  const told = meanings();
  return Object.entries(signatures())
    .filter(([name]) => name in methods)
    .map(([name, parameters]) => {
      const tried = trials(name);
      const given = results(tried);
      const cells = [
        takes(given),
        name === "to" ? "dtype" : gives(given),
        differentiable(tried) ? "yes" : "",
        told[name] ?? "",
      ];
      return `| \`${name}${parameters}\` | ${cells.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
    });
}
