/** A right call of everything that reads and writes: data and io. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ones, Rng, tensor } from "bitgrad";
import * as data from "bitgrad/data";
import * as io from "bitgrad/io";
import { MnistCnn } from "bitgrad/models";
import {
  type Call,
  call,
  choice,
  count,
  each,
  exact,
  flag,
  fn,
  given,
  integer,
  list,
  matrix,
  model,
  positive,
  share,
  type Table,
  text,
  vector,
} from "./call.ts";

const rng = given(() => new Rng(1));
const images = (takes: string) => exact(() => ones([2, 1, 4, 4]), takes);
const aborts = given(() => new AbortController().signal);
const tokenizer = (make: () => data.Tokenizer, name: string): Table => ({
  [`${name}().encode`]: call([text("a")], null, { run: (t: string) => make().encode(t), says: name }),
  [`${name}().decode`]: call([list(() => [0], "list", "")], null, {
    run: (ids: number[]) => make().decode(ids),
    says: name,
  }),
});
const letters = () => data.charTokenizer("a string");
const trained = () => data.trainBpe("a string a string", { vocabSize: 260 });
const pieces = () => ({
  pieces: Array.from({ length: 260 }, (_, i) => (i < 259 ? `<${i}>` : "a")),
  scores: Array.from({ length: 260 }, () => 0),
});
const words = () => data.wordPiece({ vocab: ["[UNK]", "a", "string"] });

const tokenizers: Table = {
  encodeBatch: call([given(data.byteTokenizer), list(() => ["a", "bc"], "list", "text")], {
    padId: count(0),
    bosId: count(1, "null"),
    eosId: count(2, "null"),
    maxLength: count(4, "null huge"),
    padding: choice("longest"),
    paddingSide: choice("left"),
    truncationSide: choice("left"),
  }),
  lengthBatches: call(
    [list(() => [2, 3], "list", "huge")],
    {
      batch: count(2, "null huge"),
      tokens: given(() => null, "null huge"),
      rng: given(() => new Rng(1), "null"),
    },
    { needs: "batch" },
  ),
  byteTokenizer: "takes nothing",
  ...tokenizer(data.byteTokenizer, "byteTokenizer"),
  charTokenizer: call([text("abc")]),
  ...tokenizer(letters, "charTokenizer"),
  bpe: call(
    [],
    {
      vocab: given(() => trained().vocab, "object"),
      merges: list(() => trained().merges, "list"),
      special: list(() => [], "list"),
    },
    { needs: "vocab merges" },
  ),
  ...tokenizer(trained, "bpe"),
  trainBpe: call([text("a string a string")], {
    vocabSize: count(300),
    special: list(() => ["<end>"], "list", "text"),
  }),
  wordPiece: call(
    [],
    { vocab: list(() => ["[UNK]", "a"], "list text", "text"), lowerCase: flag(true) },
    { needs: "vocab" },
  ),
  ...tokenizer(words, "wordPiece"),
  sentencePieceBpe: call(
    [],
    { pieces: given(() => pieces().pieces), scores: given(() => pieces().scores) },
    { needs: "pieces scores" },
  ),
  ...tokenizer(() => data.sentencePieceBpe(pieces()), "sentencePieceBpe"),
  llama2cTokenizer: "tested with its files",
};

export const dataTable: Table = {
  ...tokenizers,
  csv: call([text("a,b\n1,2", "")], {
    header: flag(true),
    columns: list(() => ["a"], "list"),
    types: given(() => ({ a: "int32" }), "object"),
    delimiter: choice(","),
    quote: choice('"'),
  }),
  parseCsv: call([text("a,b\n1,2")], { delimiter: choice(","), quote: choice('"') }, { says: "csv" }),
  text: call([given(() => new Uint8Array(2))], { encoding: choice("latin1") }),
  glyphs: call([], { count: count(3), noise: given(() => 0.1, "fraction huge"), rng }, { needs: "count" }),
  "glyphs(seed)": call([text("s", "negative fraction huge undefined")], null, {
    run: (seed: never) => data.glyphs({ count: 1, seed }),
    says: "glyphs Rng",
  }),
  idx: call([given(() => Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 5))], { maxBytes: positive(1000) }),
  loader: call(
    [given(() => ({ x: vector() }), "list")],
    {
      batch: count(1, "huge"),
      shuffle: flag(true),
      rng,
      dropLast: flag(false),
      signal: aborts,
      transform: fn(() => 1),
    },
    { needs: "batch" },
  ),
  "loader(batches)": call([list(() => [[0, 2], [1]], "list function", "")], null, {
    run: (batches: never) => data.loader({ x: vector() }, { batches, rng: new Rng(1) }),
    says: "loader",
  }),
  randomFlip: call([images("dtype")], { p: share(0.5), rng }, { needs: "rng" }),
  randomCrop: call([images("dtype")], { padding: count(1), size: count(2), rng }, { needs: "rng" }),
  normalizeImages: call(
    [images("")],
    { mean: given(() => 0.5, "negative fraction huge"), std: given(() => 0.25, "fraction huge") },
    { needs: "mean std" },
  ),
  "loader().state": call([given(() => data.loader({ x: vector() }, { batch: 1 }).state)], null, {
    run: (state: never) => {
      data.loader({ x: vector() }, { batch: 1 }).state = state;
    },
    says: "loader Rng",
  }),
  ...each("cifar10Classes fashionMnistClasses agNewsClasses trecClasses", "names"),
  ...each(
    "cifar10Subset digits8x8 fashionMnist mnist agNews names rtPolarity sst2 subj tinyShakespeare tinyStories trec wikitext2",
    "waits for the outside world; its options are read by one function",
  ),
};

const folder = mkdtempSync(join(tmpdir(), "bitgrad-calls-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const tensors = () => ({ w: matrix() });
const file = () => io.writeSafetensors(tensors());
const whole = await io.save(null, new MnistCnn());
const columns = () => new Map([["0", { rows: 2, sumOfSquares: tensor([1, 4], { dtype: "float64" }) }]]);
const written = { metadata: given(() => ({ a: "b" }), "object"), dtype: choice("float16") };
const read = { widen: flag(true), int64: choice("float64") };
const renamed = fn((name: string) => name, "object");
const saved: Call = call([given(() => null, "null text"), model()], written, {
  says: "model",
  // Text is a path, and would be written to.
  run: (sink: null, ...rest: never[]) =>
    io.save(
      typeof sink === "string" ? (`${sink}\0` as never) : sink,
      ...(rest as unknown as [object, object]),
    ),
});

export const ioTable: Table = {
  save: saved,
  load: call(
    [given(file)],
    { ...read, strict: flag(true), rename: renamed, shard: fn(() => file(), "class") },
    { says: "rename model open" },
  ),
  "load(models)": call(
    [given(() => whole)],
    { models: list(() => [MnistCnn], "list") },
    { run: io.load as never, says: "load open" },
  ),
  readSafetensors: call([given(file)], read),
  writeSafetensors: call([given(tensors, "object")], written),
  saveSharded: call(
    [given(() => join(folder, "model.safetensors.index.json")), model()],
    { ...written, shardBytes: positive(1e9) },
    { says: "model" },
  ),
  readImatrix: call([given(() => io.writeImatrix(columns()))]),
  writeImatrix: call([given(columns, "object")], {
    format: choice("gguf"),
    datasets: list(() => ["c"], "list", "text"),
    chunkCount: integer(1),
    chunkSize: integer(2),
  }),
  mergeImportance: call([list(() => [columns()], "list")]),
  nameTable: call([given(() => ({ a: "b" }), "object")], null, { says: "rename" }),
  composeNames: call([renamed, renamed], null, { says: "rename" }),
  gpt2Names: call([text("h.0.ln_1.weight")]),
};
