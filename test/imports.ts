/** What source files import and export, read from their syntax. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

export interface Import {
  readonly line: number;
  readonly from: string;
  readonly typeOnly: boolean;
}

/** Every import of a file: static, type-only, re-exported, dynamic, `import("…").T`. */
export function importsOf(text: string): Import[] {
  const file = ts.createSourceFile("file.ts", text, ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const add = (node: ts.Node | undefined, typeOnly: boolean) => {
    if (!node) return;
    const from = ts.isStringLiteralLike(node) ? node.text : `an expression, ${node.getText()}`;
    found.push({ from, typeOnly, line: file.getLineAndCharacterOfPosition(node.getStart()).line + 1 });
  };
  const allTypes = (list: ts.NodeArray<ts.ImportSpecifier | ts.ExportSpecifier>) =>
    list.length > 0 && list.every((item) => item.isTypeOnly);
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      const { importClause: clause } = node;
      const names = clause?.namedBindings;
      const named = names && ts.isNamedImports(names) && !clause.name ? allTypes(names.elements) : false;
      add(node.moduleSpecifier, clause?.phaseModifier === ts.SyntaxKind.TypeKeyword || named);
    } else if (ts.isExportDeclaration(node)) {
      const named =
        node.exportClause && ts.isNamedExports(node.exportClause) && allTypes(node.exportClause.elements);
      add(node.moduleSpecifier, node.isTypeOnly || named === true);
    } else if (ts.isCallExpression(node)) {
      const callee = node.expression;
      const required = ts.isIdentifier(callee) && callee.text === "require";
      if (callee.kind === ts.SyntaxKind.ImportKeyword || required) add(node.arguments[0], false);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, true);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** The names a module exports at run time. */
export function exportsOf(text: string): string[] {
  const file = ts.createSourceFile("file.ts", text, ts.ScriptTarget.Latest, true);
  return file.statements
    .flatMap((statement) => {
      const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined;
      if (!modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) return [];
      if (ts.isVariableStatement(statement)) {
        return statement.declarationList.declarations.map(({ name }) => name.getText());
      }
      const named = ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement);
      return named && statement.name ? [statement.name.text] : [];
    })
    .sort();
}

/** The files that run when `entry` is loaded: what it imports at run time, and what that imports. */
export function reachableFrom(entry: string, found = new Set<string>()): Set<string> {
  found.add(entry);
  for (const { from, typeOnly } of importsOf(readFileSync(entry, "utf8"))) {
    const path = join(entry, "..", from).replaceAll("\\", "/");
    if (!typeOnly && from.startsWith(".") && !found.has(path)) reachableFrom(path, found);
  }
  return found;
}

/** Groups of files that all reach one another by the imports of `graph`: circles, each sorted. */
export function circlesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];
  const visit = (file: string): void => {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    open.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!order.has(next)) visit(next);
      if (open.includes(next)) lowest.set(file, Math.min(lowest.get(file)!, lowest.get(next)!));
    }
    if (lowest.get(file) !== order.get(file)) return;
    const circle = open.splice(open.indexOf(file));
    if (circle.length > 1) circles.push(circle.sort());
  };
  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return circles;
}
