/** Leads from every page of the site to the playground, which is built beside them. */

import { JSX } from "typedoc";

export function load({ renderer }) {
  renderer.hooks.on("sidebar.begin", (context) =>
    JSX.createElement(
      "p",
      {},
      JSX.createElement("a", { href: context.relativeURL("playground/index.html") }, "Playground"),
    ),
  );
}
