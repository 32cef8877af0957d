import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FormatError, Rng, randn, tensor, zeros } from "bitgrad";
import { loader } from "bitgrad/data";
import { Linear, mseLoss, Parameter } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import * as training from "bitgrad/train";
import { consoleLogger, csvLogger, jsonLines, type Logger, tensorBoard } from "bitgrad/train";
import { afterAll, describe, expect, it } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "bitgrad-loggers-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newPath = () => join(folder, `run-${files++}`, "log");

const x = randn([8, 3], { rng: new Rng(1) });
const y = x.matmul(tensor([[1], [-2], [0.5]]));

/** Two epochs of two steps, with a validation after each. */
async function run(logger: Logger | Logger[], more: object = {}) {
  const model = new Linear(3, 1, { rng: new Rng(2) });
  const history = await training.fit(model, {
    data: loader({ x, y }, { batch: 4 }),
    loss: (m, batch) => mseLoss(m.forward(batch.x), batch.y),
    optimizer: optimizer(model, sgd({ lr: 0.125 })),
    epochs: 2,
    validation: { data: [{ x, y }] },
    metrics: { "error, largest": () => 0.5 },
    logger,
    ...more,
  });
  return { model, history };
}

describe("text loggers", () => {
  it("write a line of JSON for each record, behind what is there", async () => {
    const path = newPath();
    const { history } = await run(jsonLines(path));
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    const values = (i: number) => {
      const { loss } = history.validations[i].values;
      return { "validation.loss": loss, "validation.error, largest": 0.5 };
    };
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { step: 1, epoch: 0, loss: history.losses[0], lr: 0.125 },
      { step: 2, epoch: 0, loss: history.losses[1], lr: 0.125 },
      { step: 2, epoch: 1, ...values(0) },
      { step: 3, epoch: 1, loss: history.losses[2], lr: 0.125 },
      { step: 4, epoch: 1, loss: history.losses[3], lr: 0.125 },
      { step: 4, epoch: 2, ...values(1) },
    ]);
    await run(jsonLines(path));
    expect(readFileSync(path, "utf8").trimEnd().split("\n")).toHaveLength(12);
  });

  it("write a row of CSV for each number, below one head", async () => {
    const path = newPath();
    const { history } = await run(csvLogger(path), { steps: 3, epochs: undefined });
    await run(csvLogger(path), { steps: 1, epochs: undefined });
    const rows = readFileSync(path, "utf8").split("\n");
    expect(rows.slice(0, 3)).toEqual([
      "step,epoch,name,value",
      `1,0,loss,${history.losses[0]}`,
      "1,0,lr,0.125",
    ]);
    expect(rows[6]).toBe('2,1,"validation.error, largest",0.5');
    expect(rows.filter((row) => row.startsWith("step"))).toHaveLength(1);
    expect(rows.at(-2)).toBe("1,0,lr,0.125");
  });

  it("write CSV in order, and whole, for a program that waits for close alone", async () => {
    const path = newPath();
    const logger = csvLogger(path);
    for (const step of [1, 2, 3]) logger.log({ step, of: null, epoch: 0, values: { loss: step } });
    await logger.close?.();
    expect(readFileSync(path, "utf8")).toBe("step,epoch,name,value\n1,0,loss,1\n2,0,loss,2\n3,0,loss,3\n");
  });

  it("write plain lines now and then where there is no terminal, and each validation", async () => {
    const lines: string[] = [];
    await run(consoleLogger({ every: 3, write: (line) => lines.push(line) }));
    expect(lines.map((line) => line.replaceAll(/loss [\d.]+/g, "loss #"))).toEqual([
      "step 2 of 4, epoch 1: validation.loss #, validation.error, largest 0.5",
      "step 3 of 4, epoch 1: loss #, lr 0.125",
      "step 4 of 4, epoch 2: validation.loss #, validation.error, largest 0.5",
    ]);
  });

  it("meet a path that cannot be written by a typed error", async () => {
    const path = newPath();
    await run(jsonLines(path));
    await expect(run(jsonLines(join(path, "below")))).rejects.toThrow(FormatError);
  });
});

describe("fit and its loggers", () => {
  it("tells several, awaits them, and closes them however it ends", async () => {
    const told: string[] = [];
    const slow = (name: string): Logger => ({
      async log({ step, values }) {
        await null;
        told.push(`${name} ${step} ${Object.keys(values)[0]}`);
        if (step === 2 && name === "b") throw new Error("full");
      },
      close: () => told.push(`${name} closed`),
    });
    await expect(run([slow("a"), slow("b")])).rejects.toThrow("full");
    expect(told).toEqual(["a 1 loss", "b 1 loss", "a 2 loss", "b 2 loss", "a closed", "b closed"]);
  });

  it("closes every logger where one fails to, and tells of the run's own error first", async () => {
    const closed: string[] = [];
    const logger = (name: string): Logger => ({
      log() {},
      close() {
        closed.push(name);
        throw new Error(`close of ${name}`);
      },
    });
    await expect(run([logger("a"), logger("b")])).rejects.toThrow("close of a");
    const onStep = () => {
      throw new Error("of the run");
    };
    await expect(run([logger("a"), logger("b")], { onStep })).rejects.toThrow("of the run");
    expect(closed).toEqual(["a", "b", "a", "b"]);
  });

  it("shows the mean gradients of a step before it is taken", async () => {
    const seen: number[] = [];
    const { model } = await run([], {
      steps: 1,
      epochs: undefined,
      accumulate: 2,
      onGradients: ({ step, epoch, parameters }: training.GradientReport) => {
        const [[name, parameter]] = parameters;
        expect([step, epoch, name]).toEqual([1, 0, "weight"]);
        seen.push(...parameter.grad!.data, ...parameter.value.data);
      },
    });
    const grads = seen.slice(0, 3);
    const after = seen.slice(3).map((w, i) => Math.fround(w - 0.125 * grads[i]));
    expect([...model.weight.value.data]).toEqual(after);
  });
});

/** CRC-32C bit by bit, by its polynomial. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const feedback = ((crc ^ (byte >> bit)) & 1) === 1;
      crc = feedback ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** The data of the records of a TFRecord file, whose checksums must be right. */
function recordsOf(file: Uint8Array): Uint8Array[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const unmask = (at: number) => {
    const turned = (view.getUint32(at, true) - 0xa282ead8) >>> 0;
    return ((turned >>> 17) | (turned << 15)) >>> 0;
  };
  const found: Uint8Array[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    expect(unmask(at + 8)).toBe(crc32c(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    expect(unmask(at + 12 + length)).toBe(crc32c(data));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

type Fields = Map<number, (number | Uint8Array)[]>;

/** The fields of a protocol buffer, by number. */
function fieldsOf(data: Uint8Array): Fields {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const fields: Fields = new Map();
  let at = 0;
  const varint = () => {
    for (let [value, scale] = [0, 1]; ; scale *= 128) {
      const byte = data[at++];
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = varint();
    const list = fields.get(key >> 3) ?? [];
    fields.set(key >> 3, list);
    const from = at;
    if (key % 8 === 0) list.push(varint());
    else if (key % 8 === 1) {
      at += 8;
      list.push(view.getFloat64(from, true));
    } else if (key % 8 === 5) {
      at += 4;
      list.push(view.getFloat32(from, true));
    } else if (key % 8 === 2) {
      const length = varint();
      list.push(data.subarray(at, at + length));
      at += length;
    } else throw new Error(`wire type ${key % 8}`);
  }
  expect(at).toBe(data.length);
  return fields;
}

const textOf = (bytes: unknown) => new TextDecoder().decode(bytes as Uint8Array);
const doublesOf = (bytes: unknown) => {
  const copy = (bytes as Uint8Array).slice();
  return [...new Float64Array(copy.buffer)];
};

/** Events of all files of a folder: steps and values by tag, histograms as their fields. */
function readEvents(path: string) {
  const [name, ...others] = readdirSync(path);
  expect(others).toEqual([]);
  expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\./);
  const file = new Uint8Array(readFileSync(join(path, name)));
  const [head, ...events] = recordsOf(file).map(fieldsOf);
  expect(textOf(head.get(3)![0])).toBe("brain.Event:2");
  const values = events.flatMap((event) => {
    expect(Math.abs((event.get(1)![0] as number) - Date.now() / 1000)).toBeLessThan(600);
    const step = event.get(2)![0] as number;
    const summary = fieldsOf(event.get(5)![0] as Uint8Array);
    return summary.get(1)!.map((value) => {
      const fields = fieldsOf(value as Uint8Array);
      const histogram = fields.get(5) && fieldsOf(fields.get(5)![0] as Uint8Array);
      return { step, tag: textOf(fields.get(1)![0]), value: fields.get(2)?.[0], histogram };
    });
  });
  return { file, values };
}

describe("TensorBoard's event files", () => {
  it("are checked by the reader of this test, whose checksum is that of RFC 3720", () => {
    expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  });

  it("begin as those of TensorFlow do, and hold scalars by step", async () => {
    const path = join(folder, "scalars");
    const { history } = await run(tensorBoard(path));
    const { file, values } = readEvents(path);
    // A length of 24 with its checksum, then the key of a time: the first bytes of every event file.
    expect([...file.subarray(0, 13)]).toEqual([0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22, 0x09]);
    const scalars = (tag: string) =>
      values.filter((item) => item.tag === tag).map(({ step, value }) => [step, value]);
    expect(scalars("loss")).toEqual(history.losses.map((loss, i) => [i + 1, Math.fround(loss)]));
    expect(scalars("validation/loss")).toEqual(
      history.validations.map((item) => [item.step, Math.fround(item.values.loss)]),
    );
    expect(scalars("validation/error, largest")).toEqual([
      [2, 0.5],
      [4, 0.5],
    ]);
  });

  it("hold histograms of weights and gradients every so many steps", async () => {
    const path = join(folder, "histograms");
    const seen: Record<string, number[]> = {};
    await run(tensorBoard(path, { histograms: 3 }), {
      onGradients: ({ step, parameters }: training.GradientReport) => {
        if (step !== 3) return;
        for (const [name, { value, grad }] of parameters) {
          seen[`weights/${name}`] = [...value.data];
          seen[`gradients/${name}`] = [...grad!.data];
        }
      },
    });
    const found = readEvents(path).values.filter(({ histogram }) => histogram);
    expect(found.map(({ step }) => step)).toEqual([3, 3, 3, 3]);
    expect(found.map(({ tag }) => tag).sort()).toEqual(Object.keys(seen).sort());
    for (const { tag, histogram } of found) {
      const data = seen[tag];
      const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
      const [min, max, num, total, squares] = [1, 2, 3, 4, 5].map((field) => histogram!.get(field)![0]);
      expect([min, max, num]).toEqual([Math.min(...data), Math.max(...data), data.length]);
      expect(total).toBeCloseTo(sum(data), 12);
      expect(squares).toBeCloseTo(sum(data.map((v) => v * v)), 12);
      const limits = doublesOf(histogram!.get(6)![0]);
      const counts = doublesOf(histogram!.get(7)![0]);
      expect(counts).toHaveLength(limits.length);
      expect(limits.at(-1)).toBe(max);
      // As many values up to each limit as there are.
      for (const value of data) {
        const i = limits.findIndex((limit) => value <= limit);
        expect(counts[i] + (counts[i + 1] ?? 0)).toBeGreaterThan(0);
      }
      expect(sum(counts)).toBe(data.length);
    }
  });

  it("take steps beyond 2^32, long names, no values and NaN", async () => {
    const path = join(folder, "odd");
    const logger = tensorBoard(path, { histograms: 1 });
    const name = "é".repeat(300);
    await logger.log({ step: 2 ** 40 + 1, of: null, epoch: 0, values: { [name]: Number.NaN } });
    await logger.gradients!({ step: 1, epoch: 0, parameters: [["none", new Parameter(zeros([0]))]] });
    await logger.close!();
    const { values } = readEvents(path);
    expect(values[0]).toMatchObject({ step: 2 ** 40 + 1, tag: name, value: Number.NaN });
    expect(doublesOf(values[1].histogram!.get(7)![0])).toEqual([0]);
  });

  it("are not made before there is something to hold", () => {
    const path = join(folder, "nothing");
    tensorBoard(path);
    expect(existsSync(path)).toBe(false);
  });
});
