/** Checks every trained model of the BITGRAD_DATA folder on all its test data: `npm run verify:weights`. */

import { SingleBar } from "cli-progress";
import { readStories, textLoss } from "./stories.ts";
import { classify, type TrainedModel, trainedModels } from "./weights.ts";

const data = process.env.BITGRAD_DATA;
if (!data) {
  console.error(
    "verify:weights: BITGRAD_DATA must name the folder that holds weights/, mnist/ and cifar10-subset/",
  );
  process.exit(2);
}

interface Row {
  readonly model: string;
  readonly measure: string;
  readonly got: number;
  readonly wanted: number;
  /** The largest error among the logits that are known. */
  readonly logits: number;
  readonly result: "ok" | "DIFFERS";
}

const row = (
  model: string,
  measure: string,
  got: number,
  wanted: number,
  logits: number,
  room: number,
): Row => ({
  model,
  measure,
  got: Number(got.toFixed(4)),
  wanted,
  logits: Number(logits.toExponential(1)),
  result: logits < 2e-3 && Math.abs(got - wanted) <= room ? "ok" : "DIFFERS",
});

/** Calls `step` with 0, size, 2·size, … below `count`, under a progress bar that shows the text it returns. */
function eachPart(
  name: string,
  count: number,
  size: number,
  step: (from: number, to: number) => string,
): void {
  const bar = new SingleBar({
    format: `${name.padEnd(20)} {bar} {value}/{total}, {soFar}, {eta_formatted} left`,
    clearOnComplete: true,
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: 10_000,
  });
  bar.start(count, 0, { soFar: "…" });
  for (let from = 0; from < count; from += size) {
    const to = Math.min(from + size, count);
    bar.update(to, { soFar: step(from, to) });
  }
  bar.stop();
}

async function checkImages(trained: TrainedModel): Promise<Row> {
  const [model, images] = await Promise.all([trained.model(), trained.images()]);
  const { images: count, value } = trained.accuracy;
  const wanted = trained.first8();
  let right = 0;
  let worst = 0;
  eachPart(trained.name, count, 50, (from, to) => {
    const result = classify(trained, model, images, from, to);
    right += result.right;
    if (from === 0) {
      const difference = trained.outputs(result.logits.slice([[0, wanted.length]])).sub(wanted);
      worst = difference.abs().max().item();
    }
    return `${((100 * right) / to).toFixed(2)} % right`;
  });
  // A picture on the border may fall to either side in single precision.
  return row(trained.name, `accuracy on ${count}`, right / count, value, worst, 1.5 / count);
}

function checkStories(folder: string): Row {
  const { model, texts, expected } = readStories(folder);
  const difference = model
    .forward([[1]])
    .reshape([512])
    .sub(expected.first_step_logits);
  let loss = 0;
  let tokens = 0;
  eachPart("stories260k", texts.length, 1, (from) => {
    loss += textLoss(model, texts[from]);
    tokens += texts[from].length - 1;
    return `perplexity ${Math.exp(loss / tokens).toFixed(3)}`;
  });
  const { mean_nll: wanted } = expected.perplexity;
  return row(
    "stories260k",
    `nats a token, ${tokens}`,
    loss / tokens,
    wanted,
    difference.abs().max().item(),
    1e-4,
  );
}

const rows = [checkStories(data)];
for (const trained of trainedModels(data)) rows.push(await checkImages(trained));
console.table(rows);
process.exitCode = rows.every(({ result }) => result === "ok") ? 0 : 1;
