/** Loggers: where the numbers of a run go. */

import { platform } from "../data/platform.node.ts";
import { isFunction, OptionError, readOptions, show } from "../errors.ts";
import type { Parameter } from "../nn/parameter.ts";
import { isTensor } from "../tensor.ts";

/** Numbers of a moment of a run. */
export interface LogRecord {
  /** Optimizer steps done. */
  readonly step: number;
  /** How many there will be; null where that is not known. */
  readonly of: number | null;
  readonly epoch: number;
  /** `loss` and `lr` of a step; `validation.loss`, `validation.<metric>` of a validation. */
  readonly values: Readonly<Record<string, number>>;
}

/** The gradients of a step that is about to be taken. */
export interface GradientReport {
  /** The number of the step, counted from 1. */
  readonly step: number;
  readonly epoch: number;
  /** Those of the model by name, each once. Gradients are means over the batches of the step, null where there is none. */
  readonly parameters: readonly (readonly [name: string, parameter: Parameter])[];
}

/** What `fit` hands its numbers to; a program may write its own. Everything is awaited. */
export interface Logger {
  /** Called after every step and every validation. */
  log(record: LogRecord): unknown;
  /** Called before every step. */
  gradients?(report: GradientReport): unknown;
  /** Called when `fit` ends, however it does; a later record may follow in a later call. */
  close?(): unknown;
}

/** Tensors have a `log` too. */
export const isLogger = (value: unknown): value is Logger =>
  isFunction((value as Logger | null | undefined)?.log) && !isTensor(value);

/** A text that grows at the end of a file, which is written about once a second and at the end. */
export function appending(op: string, path: string) {
  if (typeof path !== "string" || path === "")
    throw new OptionError(`${op}: needs the path of a file, got ${show(path)}`);
  let chunks: Uint8Array[] = [];
  let written = -Infinity;
  let last: Promise<void> = Promise.resolve();
  const flush = (): Promise<void> => {
    const taken = chunks;
    chunks = [];
    written = performance.now();
    if (taken.length > 0) last = last.then(() => platform.appendFile(path, taken));
    return last;
  };
  return {
    add(chunk: string | Uint8Array): Promise<void> | undefined {
      chunks.push(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk);
      return performance.now() - written >= 1000 ? flush() : undefined;
    },
    flush,
  };
}

const shortNumber = (value: number): string => String(Number(value.toPrecision(4)));

const lineOf = ({ step, of, epoch, values }: LogRecord): string => {
  const numbers = Object.entries(values).map(([name, value]) => `${name} ${shortNumber(value)}`);
  return `step ${step}${of === null ? "" : ` of ${of}`}, epoch ${epoch}: ${numbers.join(", ")}`;
};

const isOfStep = ({ values }: LogRecord): boolean => Object.hasOwn(values, "lr");

export interface ConsoleLoggerOptions {
  /** Steps between two lines where there is no terminal; 100 unless told otherwise. */
  every: number;
  /** Takes the lines, in place of terminal and console. */
  write: ((line: string) => void) | null;
}

/**
 * Progress for people: on a terminal one line that is drawn over, elsewhere a line every so many steps; each validation has
 * a line that stays. Nothing is drawn over where CI or NO_COLOR is set.
 *
 * @example
 * ```ts
 * import { consoleLogger } from "bitgrad/train";
 *
 * const logger = consoleLogger({ every: 10, write: (line) => console.log(line) });
 * logger.log({ step: 10, of: 40, epoch: 0, values: { loss: 0.5, lr: 0.001 } });
 * ```
 */
export function consoleLogger(options?: Partial<ConsoleLoggerOptions>): Logger {
  const { every, write } = readOptions<ConsoleLoggerOptions>("consoleLogger", options, {
    every: 100,
    write: null,
  });
  if (!Number.isInteger(every) || every < 1)
    throw new OptionError(`consoleLogger: every must be a positive integer, got ${show(every)}`);
  if (write !== null && !isFunction(write))
    throw new OptionError(`consoleLogger: write must be a function, got ${show(write)}`);
  const draw = write ? null : platform.terminal();
  const print = write ?? ((line: string) => console.log(line));
  let drawn = -Infinity;
  return {
    log(record) {
      const stays = !isOfStep(record);
      if (!draw) {
        if (stays || record.step % every === 0) print(lineOf(record));
      } else if (stays) draw(`${lineOf(record)}\n`);
      else if (performance.now() - drawn >= 100 || record.step === record.of) {
        drawn = performance.now();
        draw(lineOf(record));
      }
    },
    close: () => draw?.("\n"),
  };
}

/**
 * A line of JSON for each record, `{"step":1,"epoch":0,"loss":2.3,"lr":0.001}`, behind what the file holds. Numbers that are
 * not finite are null. Throws FormatError where the file cannot be written.
 *
 * @example
 * ```ts
 * import { jsonLines } from "bitgrad/train";
 *
 * const logger = jsonLines("log.jsonl");
 * await logger.log({ step: 1, of: null, epoch: 0, values: { loss: 2.3, lr: 0.001 } });
 * await logger.close?.();
 * ```
 */
export function jsonLines(path: string): Logger {
  const file = appending("jsonLines", path);
  return {
    log: ({ step, epoch, values }) => file.add(`${JSON.stringify({ step, epoch, ...values })}\n`),
    close: file.flush,
  };
}

/**
 * A row `step,epoch,name,value` for each number, behind what the file holds; a new file begins with these names. The long
 * form has a place for what is measured now and then. Throws FormatError where the file cannot be written.
 *
 * @example
 * ```ts
 * import { csvLogger } from "bitgrad/train";
 *
 * const logger = csvLogger("log.csv");
 * await logger.log({ step: 1, of: null, epoch: 0, values: { loss: 2.3, lr: 0.001 } });
 * await logger.close?.();
 * ```
 */
export function csvLogger(path: string): Logger {
  const file = appending("csvLogger", path);
  let begun: Promise<unknown> | undefined;
  // A name is quoted where it holds what separates.
  const cell = (text: string) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return {
    async log({ step, epoch, values }) {
      const rows = Object.entries(values).map(([name, value]) => `${step},${epoch},${cell(name)},${value}\n`);
      begun ??= platform.readFile(path).then(async (held) => {
        if (!held?.length) await file.add("step,epoch,name,value\n");
      });
      await begun;
      await file.add(rows.join(""));
    },
    async close() {
      await begun;
      await file.flush();
    },
  };
}
