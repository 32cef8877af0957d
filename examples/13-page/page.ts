/** The page: fetches the model and pictures, hands both to the worker, and shows its answer. */

import type { Answer, Question } from "./worker.ts";

/** What the page tells the server, so that the example can see what a reader would see. */
export interface Report extends Answer {
  readonly shown: string;
  /** Violations of the policy and errors; none is expected. */
  readonly trouble: string[];
}

const trouble: string[] = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  trouble.push(`${violatedDirective}: ${blockedURI}`);
});
addEventListener("error", ({ message }) => trouble.push(message));

const read = async (path: string): Promise<ArrayBuffer> => {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.arrayBuffer();
};
const [file, pictures] = await Promise.all([read("/digits.safetensors"), read("/pictures")]);
const pixels = new Float32Array(pictures);

const worker = new Worker("/worker.js", { type: "module" });
const answer = await new Promise<Answer>((resolve, reject) => {
  worker.onmessage = ({ data }: MessageEvent<Answer>) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(`the worker: ${message}`));
  // Both arrays are handed over, not copied.
  worker.postMessage({ file, pixels } satisfies Question, [file, pixels.buffer]);
});
const { classes, milliseconds } = answer;
const text = `${classes.length} digits in ${milliseconds.toFixed(1)} ms: ${classes.slice(0, 20).join(" ")} …`;
const place = document.querySelector("#answer")!;
place.textContent = text;
const report: Report = { ...answer, shown: place.textContent, trouble };
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
