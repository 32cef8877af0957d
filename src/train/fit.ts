/** The training loop. */

import { undoable } from "../changes.ts";
import { platform } from "../data/platform.node.ts";
import { OptionError, show } from "../errors.ts";
import { evaluating, trainAgain } from "../nn/modes.ts";
import { namedParameters } from "../nn/tree.ts";
import { schedule as startSchedule } from "../optim/scheduler.ts";
import { breather } from "./breathe.ts";
import { loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { checked, type FitHistory, type FitOptions, type Measures } from "./options.ts";
import { heldDraws } from "./parts.ts";
import { judge, newProgress, readProgress, restoreBest, savedProgress } from "./progress.ts";
import { goOn, leave, placeOf, read } from "./read.ts";
import { addGradients, averageGradients, checkStepped, dropGradients } from "./step.ts";
import { measure } from "./validate.ts";

/**
 * Trains a model on batches. Each is computed in a scope of its own. Before every step the model is put into training mode,
 * whatever a callback did, except for parts that were put into evaluation by themselves (`evaluate(model.backbone)`) and for
 * what was so when fit began.
 *
 * Aborting is no error: the promise resolves with what was done. Where it ends within a step, by an abort or an error, the
 * parameters, running statistics and generators of the library and the loader's `state` are as after the last whole step, so
 * that a run resumed from them and from the states of optimizer and schedule equals one that was not interrupted, bit for
 * bit. `checkpoint` saves all of that and resumes by itself. The best weights of `earlyStopping` are put back at the end of
 * a run that was not aborted, behind its last checkpoint.
 *
 * Rejects with OptionError for data that gives no batch in an epoch, for learning rates that an earlier schedule left at 0,
 * and where a trainable parameter has a gradient and no group of the optimizer; with GradError for a loss or a gradient that
 * is not finite; with FormatError for a checkpoint that does not fit.
 *
 * @example
 * ```ts
 * import { relu, Rng } from "bitgrad";
 * import { glyphs, loader } from "bitgrad/data";
 * import { crossEntropy, Linear, Sequential } from "bitgrad/nn";
 * import { adamw, optimizer } from "bitgrad/optim";
 * import { accuracy, fit } from "bitgrad/train";
 *
 * const model = new Sequential(new Linear(144, 32), relu, new Linear(32, 10));
 * const train = glyphs({ count: 500, rng: new Rng("train") });
 * const test = glyphs({ count: 100, rng: new Rng("test") });
 * const { losses, validations } = await fit(model, {
 *   data: loader(train, { batch: 50, shuffle: true, rng: new Rng("order") }),
 *   loss: (m, { x, y }) => crossEntropy(m.forward(x), y),
 *   optimizer: optimizer(model, adamw()),
 *   epochs: 2,
 *   validation: { data: loader(test, { batch: 100 }) },
 *   metrics: { accuracy: (m, { x, y }) => accuracy(m.forward(x), y) },
 *   earlyStopping: { metric: "accuracy", mode: "max" },
 *   checkpoint: { path: "digits.safetensors", every: 10, resume: true },
 * });
 * console.log(losses.length, validations.length); // 20 2
 * ```
 */
export async function fit<M extends object, B>(model: M, options: FitOptions<M, B>): Promise<FitHistory> {
  const settings = checked(options);
  const { data, loss, optimizer, epochs, steps, accumulate, signal, validation, metrics } = settings;
  const { earlyStopping, checkpoint, loggers, onGradients, onStep, onEpoch } = settings;
  const scheduler =
    typeof settings.schedule === "function" ? startSchedule(optimizer, settings.schedule) : settings.schedule;
  trainAgain(model);
  const still = evaluating(model);

  const run = checkpoint && {
    model,
    optimizer,
    scheduler: [...(scheduler ? [scheduler] : []), ...checkpoint.schedulers],
    loader: placeOf(data) ? (data as never) : undefined,
    rng: checkpoint.rng,
  };
  const begun = checkpoint?.resume ? await platform.readFile(checkpoint.path) : null;
  const progress = begun
    ? readProgress(checkpoint!.path, (await loadCheckpoint(begun, run!)).extra.fit)
    : newProgress();
  const { losses } = progress;
  const save = async () => {
    if (run)
      await saveCheckpoint(checkpoint.path, {
        ...run,
        step: losses.length,
        extra: { fit: savedProgress(progress) },
      });
  };
  goOn(data);
  const breathe = breather();
  const done = () =>
    signal?.aborted || progress.stopped || progress.epoch >= epochs || losses.length >= steps;

  // The step that is being taken: its batches, what they count, what undoes them, where the data was before, and what takes
  // generators back that were drawn from to read it.
  let pending = 0;
  let sum = 0;
  let count = 0;
  let undo: (() => void)[] = [];
  let place: ReturnType<typeof placeOf> = null;
  let unread: (() => void) | null = null;
  const begin = () => {
    pending = 0;
    sum = 0;
    count = 0;
    undo = [];
    place = null;
    unread = null;
  };

  const take = (batch: B) => {
    if (pending === 0) {
      trainAgain(model);
      for (const part of still) part.training = false;
      dropGradients(model, optimizer);
    }
    const [[value, counts], back] = undoable(() =>
      addGradients("fit", model, () => loss(model, batch), accumulate > 1),
    );
    undo.push(back);
    pending++;
    sum += accumulate > 1 ? value * counts : value;
    count += accumulate > 1 ? counts : 1;
  };

  const { length } = data as { length?: unknown };
  const of =
    steps < Infinity ? steps : typeof length === "number" ? epochs * Math.ceil(length / accumulate) : null;
  const tell = async (values: Measures, epoch = progress.epoch) => {
    for (const logger of loggers) await logger.log({ step: losses.length, of, epoch, values });
  };

  const hearing = [
    ...(onGradients ? [onGradients] : []),
    ...loggers.flatMap((each) => each.gradients?.bind(each) ?? []),
  ];
  const tellGradients = async () => {
    if (hearing.length === 0) return;
    const report = { step: losses.length + 1, epoch: progress.epoch, parameters: namedParameters(model) };
    for (const hear of hearing) await hear(report);
  };

  /** Whether validations are of so many steps, and not of epochs. */
  const ofSteps = typeof validation?.every === "number";
  const validate = async () => {
    const back = heldDraws(checkpoint?.rng);
    const values = await measure(model, validation!.data, loss, metrics, signal).finally(back);
    // That of a step belongs to the step's epoch, though an abort may have put it off until that had ended.
    const epoch = progress.epoch - (ofSteps && progress.ended ? 1 : 0);
    const found = judge(progress, model, epoch, values, earlyStopping);
    await tell(
      Object.fromEntries(Object.entries(values).map(([name, value]) => [`validation.${name}`, value])),
      epoch,
    );
    return found;
  };

  /** Does what is due after a step or an epoch; what an abort comes before stays due. */
  const settle = async () => {
    const found = progress.unjudged && !signal?.aborted ? await validate() : null;
    if (found) progress.unjudged = false;
    if (!progress.ended || signal?.aborted) return;
    const done = losses.length;
    const loss = losses.slice(progress.began).reduce((a, b) => a + b, 0) / (done - progress.began);
    progress.ended = false;
    progress.began = done;
    const ofEpoch = ofSteps ? null : found;
    await onEpoch?.({ epoch: progress.epoch - 1, step: done, loss, lr: optimizer.lr, validation: ofEpoch });
  };

  const finishStep = async (batches: number) => {
    checkStepped("fit", model, optimizer);
    averageGradients(model, count);
    await tellGradients();
    const { lr } = optimizer;
    optimizer.step();
    const report = { step: losses.length + 1, epoch: progress.epoch, loss: sum / (count || 1), lr };
    begin();
    losses.push(report.loss);
    progress.batches = batches;
    scheduler?.step();
    await tell({ loss: report.loss, lr });
    await onStep?.(report);
    if (validation?.every && report.step % validation.every === 0) {
      progress.unjudged = true;
      await settle();
    }
    if (report.step % (checkpoint?.every ?? Infinity) === 0) await save();
    await breathe();
  };

  const asking = () => {
    if (pending > 0) return () => {};
    unread = heldDraws(checkpoint?.rng);
    return () => {
      place = placeOf(data);
    };
  };

  /** Whether the batches that were read are all of the epoch's. */
  const isOver = (batches: number): boolean =>
    placeOf(data)?.position === 0 || (data as { length?: unknown }).length === batches;

  const endEpoch = async () => {
    progress.epoch++;
    progress.batches = 0;
    progress.ended = true;
    progress.unjudged ||= validation?.every === null;
    await settle();
  };

  let closed: PromiseSettledResult<unknown>[] = [];
  try {
    await settle();
    if (begun && progress.batches > 0 && isOver(progress.batches)) await endEpoch();
    while (!done()) {
      // A list that was interrupted goes on where it was.
      let batches = Array.isArray(data) ? progress.batches : 0;
      let over = true;
      const rest = batches > 0 ? (data as B[]).slice(batches) : data;
      for await (const batch of read(rest, signal, asking)) {
        signal?.throwIfAborted();
        take(batch);
        batches++;
        if (pending === accumulate) await finishStep(batches);
        if (!done()) continue;
        over = isOver(batches);
        break;
      }
      if (batches === 0) {
        throw new OptionError(
          `fit: data gave no batch in epoch ${progress.epoch}, got ${show(data)}; it must be iterable once an epoch`,
        );
      }
      if (pending > 0 && !done()) await finishStep(batches);
      if (pending > 0) break;
      begin();
      if (over) await endEpoch();
    }
  } catch (error) {
    // A loader given the same signal throws its reason.
    if (!signal?.aborted || error !== signal.reason) throw error;
  } finally {
    // Of a step that was not finished nothing stays.
    for (const back of undo.reverse()) back();
    (unread as (() => void) | null)?.();
    if (pending > 0) dropGradients(model, optimizer);
    leave(data, place);
    // An error of the run comes before theirs.
    closed = await Promise.allSettled(loggers.map(async (logger) => logger.close?.()));
  }
  // What still reads may have drawn meanwhile.
  (unread as (() => void) | null)?.();
  await save();
  for (const each of closed) if (each.status === "rejected") throw each.reason;
  const aborted = signal?.aborted ?? false;
  if (!aborted) restoreBest(model, progress);
  const { epoch, validations, best, stopped } = progress;
  return { losses, epochs: epoch, aborted, validations, best, stopped };
}
