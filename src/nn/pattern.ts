/** Patterns over parameter and layer paths, such as `blocks.*.attention.{query,key}.weight`. */

import { isBuiltIn, OptionError, show } from "../errors.ts";

export type PathPattern = string | RegExp;

/**
 * Whether `path` fits `pattern`. In a string `*` stands for any text without a dot (so `blocks.*.weight` takes one segment
 * there), `**` for any number of whole segments, none included, and `{a,b}` for a choice; the whole path must fit. A RegExp
 * may fit anywhere in it. The path of the model itself is empty. Throws OptionError for unbalanced braces.
 *
 * @example
 * ```ts
 * import { matchPath } from "bitgrad/nn";
 *
 * console.log(matchPath("blocks.*.norm", "blocks.3.norm"), matchPath(/weight$/, "head.bias")); // true false
 * ```
 */
export const matchPath = (pattern: PathPattern, path: string): boolean => pathMatcher(pattern)(path);

/** `matchPath` with the pattern read once. */
export function pathMatcher(pattern: PathPattern): (path: string) => boolean {
  // search, unlike test, is blind to the lastIndex of a global RegExp.
  const expression = isBuiltIn("RegExp", pattern) ? pattern : compile(pattern);
  return (path) => {
    if (typeof path !== "string") throw new OptionError(`matchPath: a path must be text, got ${show(path)}`);
    return path.search(expression) !== -1;
  };
}

function compile(pattern: unknown): RegExp {
  if (typeof pattern !== "string") {
    throw new OptionError(`matchPath: a pattern must be a string or a RegExp, got ${show(pattern)}`);
  }
  let depth = 0;
  const source = pattern.replace(/\*\*\.|\.\*\*(?=$|[,}])|\*\*|[\s\S]/g, (token) => {
    if (token === "**.") return "(?:[^.]+\\.)*";
    if (token === ".**") return "(?:\\.[^.]+)*";
    if (token === "**") return ".*";
    if (token === "*") return "[^.]*";
    if (token === "{") {
      depth++;
      return "(?:";
    }
    if (token === "}") {
      if (--depth < 0) throw unbalanced(pattern);
      return ")";
    }
    if (token === "," && depth > 0) return "|";
    return token.replace(/[\\^$.*+?()[\]|]/, "\\$&");
  });
  if (depth > 0) throw unbalanced(pattern);
  return new RegExp(`^(?:${source})$`);
}

const unbalanced = (pattern: string): OptionError =>
  new OptionError(`matchPath: braces do not balance, got ${show(pattern)}`);
