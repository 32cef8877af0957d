/** Draws a picture as SVG, with the letters and lines that all pictures share. */

import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";

/** Colours of series, in order. */
export const accents = [
  "#4c8fd6",
  "#e8802f",
  "#3f9d5f",
  "#c14d8f",
  "#8a6fd1",
  "#a08420",
  "#2fa3a8",
  "#c9483c",
  "#77808c",
  "#6d4c33",
  "#1f5a99",
  "#a8bf3a",
  "#e3a3c8",
  "#234d32",
  "#d9b26a",
  "#5b2a86",
  "#111111",
];

/** A picture in a page takes the ink of the page, `currentColor`, so that it is dark where the page is. */
const looks = (ink: string, background: string) => ({
  background,
  config: {
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: {
      labelColor: ink,
      titleColor: ink,
      domainColor: ink,
      tickColor: ink,
      gridColor: ink,
      gridOpacity: 0.15,
      labelFontSize: 12,
      titleFontSize: 12,
      titleFontWeight: "normal",
    },
    legend: { labelColor: ink, labelFontSize: 12, orient: "top", title: null },
    text: { fill: ink, fontSize: 12 },
  },
});

/** Vega numbers clips through all pictures of a process; a picture by itself numbers its own. */
function renumbered(svg: string): string {
  const ids = [...new Set(svg.match(/(?<=<clipPath id=")clip\d+/g))];
  return svg.replaceAll(/\bclip\d+\b/g, (id) => `clip${ids.indexOf(id) + 1}`);
}

/** The SVG of a Vega-Lite spec. `alone` is for a file that no page gives its colours: the same text each time. */
export async function draw(spec: object, { alone = false } = {}): Promise<string> {
  const look = alone ? looks("#1c1e21", "white") : looks("currentColor", "transparent");
  const view = new View(parse(compile({ ...look, ...spec } as TopLevelSpec).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return alone ? renumbered(svg) : svg;
}
