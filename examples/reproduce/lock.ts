/** One run of an experiment at a time: each leaves a file whose name ends with the id of its process, NAME.lock.ID. */

import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Refusal } from "../run.ts";

/** The files of this process. One that it finds of its own id and has not written is a killed one's. */
const own = new Set<string>();

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * Takes the lock of a name in a folder, which is made where it is not, and gives what returns it. Throws a Refusal where a
 * process that runs has it; files of processes that ended are removed. Of two that take it at once both may be refused.
 */
export function lock(folder: string, name: string): () => void {
  mkdirSync(folder, { recursive: true });
  const start = `${name}.lock.`;
  const file = join(folder, `${start}${process.pid}`);
  const refuse = (pid: number): never => {
    throw new Refusal(
      `${name}: process ${pid} runs it already; remove ${join(folder, start)}${pid} if it does not`,
    );
  };
  if (own.has(file)) refuse(process.pid);
  // Before others are looked for, so that one who comes later finds it.
  writeFileSync(file, "");
  const release = () => {
    own.delete(file);
    rmSync(file, { force: true });
  };
  for (const other of readdirSync(folder).filter((each) => each.startsWith(start))) {
    const pid = Number(other.slice(start.length));
    if (pid === process.pid) continue;
    if (isRunning(pid)) {
      release();
      refuse(pid);
    }
    rmSync(join(folder, other), { force: true });
  }
  own.add(file);
  return release;
}
