/** Layers chosen by patterns of their paths. */

import { OptionError } from "../../errors.ts";
import { noMatch } from "../../nn/modes.ts";
import { type PathPattern, pathMatcher } from "../../nn/pattern.ts";

/**
 * Whether a path is among those that patterns choose; null chooses all. Throws OptionError for a pattern that fits none of
 * `names`, each of which is `what`.
 */
export function chooser(
  op: string,
  what: string,
  names: readonly string[],
  layers: PathPattern | readonly PathPattern[] | null,
): (name: string) => boolean {
  if (layers === null) return () => true;
  const patterns = (Array.isArray(layers) ? layers : [layers]) as readonly PathPattern[];
  if (patterns.length === 0) throw new OptionError(`${op}: needs a pattern of layers, got ()`);
  const matchers = patterns.map(pathMatcher);
  const idle = matchers.findIndex((matches) => !names.some(matches));
  if (idle >= 0) throw noMatch(op, what, patterns[idle], names);
  return (name) => matchers.some((matches) => matches(name));
}
