/** Checks every trained model of the BITGRAD_DATA folder on all its test images: `npm run verify:weights`. */

import { SingleBar } from "cli-progress";
import { classify, trainedModels } from "./weights.ts";

const data = process.env.BITGRAD_DATA;
if (!data) {
  console.error(
    "verify:weights: BITGRAD_DATA must name the folder that holds weights/, mnist/ and cifar10-subset/",
  );
  process.exit(2);
}

const batch = 50;
const rows: Record<string, string | number>[] = [];
let failed = false;

for (const trained of trainedModels(data)) {
  const [model, images] = await Promise.all([trained.model(), trained.images()]);
  const wanted = trained.first8();
  const count = trained.accuracy.images;
  const bar = new SingleBar({
    format: `${trained.name.padEnd(20)} {bar} {value}/{total} images, {accuracy} % right, {eta_formatted} left`,
    clearOnComplete: true,
    hideCursor: true,
  });
  bar.start(count, 0, { accuracy: "-" });
  let right = 0;
  let worst = 0;
  for (let from = 0; from < count; from += batch) {
    const result = classify(trained, model, images, from, Math.min(from + batch, count));
    right += result.right;
    if (from === 0) {
      const difference = trained.outputs(result.logits.slice([[0, wanted.length]])).sub(wanted);
      worst = difference.abs().max().item();
    }
    const seen = Math.min(from + batch, count);
    bar.update(seen, { accuracy: ((100 * right) / seen).toFixed(2) });
  }
  bar.stop();
  const accuracy = right / count;
  // A picture on the border may fall to either side in single precision.
  const ok = worst < 2e-3 && Math.abs(accuracy - trained.accuracy.value) <= 1.5 / count;
  failed ||= !ok;
  rows.push({
    model: trained.name,
    images: count,
    "accuracy %": Number((100 * accuracy).toFixed(2)),
    "wanted %": Number((100 * trained.accuracy.value).toFixed(2)),
    "largest logit error": Number(worst.toExponential(1)),
    result: ok ? "ok" : "DIFFERS",
  });
}

console.table(rows);
process.exitCode = failed ? 1 : 0;
