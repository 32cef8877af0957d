/** Progress for people: a bar on a terminal, elsewhere about ten lines a phase. Loggers, as `fit` takes them. */

import type { Logger, LogRecord } from "bitgrad/train";
import { Presets, SingleBar } from "cli-progress";

/** Whether somebody looks on. */
export const isTerminal = Boolean(process.stderr.isTTY) && !process.env.CI && !process.env.NO_COLOR;

/** What makes a logger for a phase. A bar ends with the signal, so that the terminal is as before. */
export const progressOf =
  (signal: AbortSignal) =>
  (phase: string): Logger =>
    isTerminal ? bar(phase, signal) : lines(phase, (line) => process.stderr.write(`${line}\n`));

const told = (values: LogRecord["values"]): string =>
  Object.entries(values)
    .filter(([name]) => name !== "lr")
    .map(([name, value]) => `, ${name} ${value.toFixed(3)}`)
    .join("");

/** A line after each tenth of the steps, or every 100 where their number is not known, and for each validation. */
export function lines(phase: string, write: (line: string) => unknown): Logger {
  return {
    log({ step, of, values }) {
      const due = step === of || step % (of === null ? 100 : Math.ceil(of / 10)) === 0;
      const isValidation = Object.keys(values).some((name) => name.startsWith("validation."));
      if (due || isValidation) write(`${phase}: ${step}${of === null ? "" : ` of ${of}`}${told(values)}`);
    },
  };
}

function bar(phase: string, signal: AbortSignal): Logger {
  const drawn = new SingleBar(
    {
      format: "{phase} [{bar}] {value}/{total}{told} | {speed} steps/s | {eta_formatted} left",
      hideCursor: true,
      gracefulExit: false,
      etaBuffer: 200,
    },
    Presets.shades_classic,
  );
  const stop = () => drawn.stop();
  let began: { at: number; step: number } | null = null;
  let values: LogRecord["values"] = {};
  return {
    log({ step, of, values: more }) {
      if (signal.aborted) return;
      values = { ...values, ...more };
      const payload = { phase: phase.padEnd(15), told: told(values), speed: "–" };
      if (began === null) {
        began = { at: performance.now(), step };
        drawn.start(of ?? step, step, payload);
        signal.addEventListener("abort", stop, { once: true });
        return;
      }
      const speed = ((step - began.step) * 1000) / (performance.now() - began.at);
      if (of === null) drawn.setTotal(step);
      drawn.update(step, { ...payload, speed: speed.toPrecision(3) });
    },
    close() {
      stop();
      signal.removeEventListener("abort", stop);
      began = null;
    },
  };
}
