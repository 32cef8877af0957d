// Prints, for every entry named on the command line, what it exports by import and by require.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

const describe = (namespace) =>
  Object.keys(namespace)
    .filter((key) => key !== "__esModule")
    .sort()
    .map((key) => {
      const value = namespace[key];
      const isClass = typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
      return isClass ? `class ${value.name} as ${key}` : `${typeof value} ${key}`;
    });

const found = {};
for (const name of process.argv.slice(2)) {
  found[name] = { esm: describe(await import(name)), cjs: describe(require(name)) };
}
console.log(JSON.stringify(found));
