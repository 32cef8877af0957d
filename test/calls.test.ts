import * as core from "bitgrad";
import * as cost from "bitgrad/cost";
import * as data from "bitgrad/data";
import * as discovery from "bitgrad/discovery";
import * as distill from "bitgrad/distill";
import * as gpu from "bitgrad/gpu";
import * as io from "bitgrad/io";
import * as models from "bitgrad/models";
import * as nn from "bitgrad/nn";
import * as optim from "bitgrad/optim";
import * as packed from "bitgrad/packed";
import * as quant from "bitgrad/quant";
import * as testing from "bitgrad/testing";
import * as train from "bitgrad/train";
import { describe, expect, it } from "vitest";
import { type Call, gaps, problemsOf, type Table } from "./calls/call.ts";
import { core as coreTable } from "./calls/core.ts";
import { discovery as discoveryTable } from "./calls/discovery.ts";
import { dataTable, ioTable } from "./calls/files.ts";
import { table as gpuTable } from "./calls/gpu.ts";
import { table as modelsTable } from "./calls/models.ts";
import { table as nnTable } from "./calls/nn.ts";
import { table as optimTable } from "./calls/optim.ts";
import { table as packedTable } from "./calls/packed.ts";
import { table as quantTable } from "./calls/quant.ts";
import { check, cost as costTable, distill as distillTable, train as trainTable } from "./calls/rest.ts";

const entries: Record<string, [entry: Readonly<Record<string, unknown>>, table: Table]> = {
  bitgrad: [core, coreTable],
  "bitgrad/nn": [nn, nnTable],
  "bitgrad/optim": [optim, optimTable],
  "bitgrad/quant": [quant, quantTable],
  "bitgrad/packed": [packed, packedTable],
  "bitgrad/gpu": [gpu, gpuTable],
  "bitgrad/discovery": [discovery, discoveryTable],
  "bitgrad/distill": [distill, distillTable],
  "bitgrad/models": [models, modelsTable],
  "bitgrad/data": [data, dataTable],
  "bitgrad/io": [io, ioTable],
  "bitgrad/train": [train, trainTable],
  "bitgrad/cost": [cost, costTable],
  "bitgrad/testing": [testing, check],
};

describe.each(Object.entries(entries))("%s", (_, [entry, table]) => {
  it("has a right call, or a word why not, for all it exports", () => {
    expect(gaps(entry, table)).toEqual([]);
  });

  const calls = Object.entries(table).filter((row): row is [string, Call] => typeof row[1] !== "string");
  it.each(calls)("%s meets wrong values by an error that names it and them", async (name, row) => {
    expect(await problemsOf(name, row, entry[name])).toEqual([]);
  });
});
