/** What a page or worker does: runs the test files that its address names, and posts what became of each. */

import { type File, startTests, type Task, type VitestRunner } from "@vitest/runner";
import { backendInfo } from "bitgrad";
import { memoryIsShared } from "../../../kernels/wasm/heap.ts";

/** Of a test file. */
export interface FileReport {
  readonly file: string;
  readonly passed: number;
  readonly skipped: readonly string[];
  /** By name: what was thrown. */
  readonly failed: Readonly<Record<string, string>>;
  readonly milliseconds: number;
}

export interface SuiteReport {
  readonly isolated: boolean;
  readonly worker: boolean;
  readonly memory: "shared" | "unshared" | "none";
  readonly backend: string;
  readonly files: readonly FileReport[];
}

/** What loads a test file. */
export type Files = Readonly<Record<string, () => Promise<unknown>>>;

const runnerOf = (files: Files): VitestRunner => ({
  importFile: (path) => files[path](),
  config: {
    ...{ root: "", setupFiles: [], name: "browser", passWithNoTests: false, testNamePattern: undefined },
    ...{
      allowOnly: false,
      chaiConfig: undefined,
      maxConcurrency: 1,
      testTimeout: 60_000,
      hookTimeout: 60_000,
    },
    ...{ retry: 0, includeTaskLocation: false, tags: [], tagsFilter: undefined, strictTags: false },
    sequence: { seed: 1, hooks: "stack", setupFiles: "list" },
  },
});

function reportOf(file: File): FileReport {
  let passed = 0;
  const skipped: string[] = [];
  const failed: Record<string, string> = {};
  const visit = (task: Task, path: string): void => {
    const errors = task.result?.errors ?? [];
    if (errors.length > 0) failed[path] = errors.map(({ stack, message }) => stack ?? message).join("\n");
    if (task.type === "suite") for (const inner of task.tasks) visit(inner, `${path} > ${inner.name}`);
    else if (task.mode === "skip" || task.mode === "todo") skipped.push(path);
    else if (task.result?.state === "pass") passed++;
    else failed[path] ??= "it did not run";
  };
  visit(file, file.filepath);
  return { file: file.filepath, passed, skipped, failed, milliseconds: file.result?.duration ?? 0 };
}

// What tests read as the environment: in a page that is not isolated, memory is not shared.
Object.assign(globalThis, { environment: { BITGRAD_MEMORY: crossOriginIsolated ? "" : "unshared" } });

/** Runs those of `files` that the address names. */
export async function runSuite(files: Files): Promise<void> {
  const runner = runnerOf(files);
  const reports: FileReport[] = [];
  for (const path of new URL(location.href).searchParams.get("files")!.split(","))
    reports.push(...(await startTests([path], runner)).map(reportOf));
  const worker = !("document" in globalThis);
  const { name: backend } = backendInfo();
  const memory = backend !== "simd" ? "none" : memoryIsShared() ? "shared" : "unshared";
  const report: SuiteReport = { isolated: crossOriginIsolated, worker, memory, backend, files: reports };
  await fetch("/report", { method: "POST", body: JSON.stringify(report) });
}
