/** The named sets of text: corpora for language models, and labelled sentences. */

import { FormatError, readOptions, show } from "../../errors.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { decodeLatin1, decodeText, linesOf } from "../bytes.ts";
import { parseCsv } from "../csv.ts";
import { checkSplit, type DataFile, type FetchOptions, fetchDefaults, fetchFile } from "./fetch-file.ts";

const github = "https://raw.githubusercontent.com";

type SplitOptions<S extends string> = FetchOptions & { split?: S };

/** Reads the options and the bytes of the file that `files` has for the split. */
async function fetchSplit<S extends string>(
  op: string,
  files: Readonly<Record<S, DataFile>>,
  fallback: S,
  options: SplitOptions<S> | undefined,
): Promise<Uint8Array> {
  const { split, ...rest } = readOptions<FetchOptions & { split: S }>(
    op,
    options as FetchOptions & { split: S },
    {
      ...fetchDefaults,
      split: fallback,
    },
  );
  return fetchFile(op, files[checkSplit(op, split, Object.keys(files) as S[])], rest);
}

async function fetchOne(op: string, file: DataFile, options: FetchOptions | undefined): Promise<Uint8Array> {
  return fetchFile(op, file, readOptions<FetchOptions>(op, options, fetchDefaults));
}

/**
 * Forty thousand lines of Shakespeare, 1,115,394 characters of 65 kinds.
 *
 * @example
 * ```ts data
 * import { tinyShakespeare } from "bitgrad/data";
 *
 * console.log((await tinyShakespeare()).slice(0, 14)); // First Citizen:
 * ```
 */
export async function tinyShakespeare(options?: FetchOptions): Promise<string> {
  const file: DataFile = {
    path: "tinyshakespeare/input.txt",
    bytes: 1_115_394,
    sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    urls: [`${github}/karpathy/char-rnn/master/data/tinyshakespeare/input.txt`],
  };
  return decodeText("tinyShakespeare", await fetchOne("tinyShakespeare", file, options));
}

/**
 * 32,033 first names of the letters a to z.
 *
 * @example
 * ```ts data
 * import { names } from "bitgrad/data";
 *
 * console.log((await names()).slice(0, 3)); // ["emma", "olivia", "ava"]
 * ```
 */
export async function names(options?: FetchOptions): Promise<string[]> {
  const file: DataFile = {
    path: "names/names.txt",
    bytes: 228_145,
    sha256: "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
    urls: [`${github}/karpathy/makemore/master/names.txt`],
  };
  return linesOf(decodeText("names", await fetchOne("names", file, options)));
}

const wikitextUrl = `${github}/pytorch/examples/main/word_language_model/data/wikitext-2`;

/**
 * WikiText-2: tokens parted by spaces, <unk> for rare words. The train split is read from the folder that BITGRAD_DATA names
 * (wikitext-2/train.txt) and never downloaded. Merity et al., 2016, arXiv:1609.07843.
 *
 * @example
 * ```ts data
 * import { wikitext2 } from "bitgrad/data";
 *
 * const tokens = (await wikitext2({ split: "valid" })).split(/\s+/);
 * console.log("tokens", tokens.length);
 * ```
 */
export async function wikitext2(options?: SplitOptions<"train" | "valid" | "test">): Promise<string> {
  const files = {
    train: { path: "wikitext-2/train.txt", urls: [] },
    valid: {
      path: "wikitext-2/valid.txt",
      bytes: 1_121_681,
      sha256: "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
      urls: [`${wikitextUrl}/valid.txt`],
    },
    test: {
      path: "wikitext-2/test.txt",
      bytes: 1_256_449,
      sha256: "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
      urls: [`${wikitextUrl}/test.txt`],
    },
  };
  return decodeText("wikitext2", await fetchSplit("wikitext2", files, "train", options));
}

/**
 * Two MiB of short children's stories, parted by <|endoftext|>, the last one cut. Read from the folder that BITGRAD_DATA names.
 * Eldan and Li, 2023, arXiv:2305.07759.
 *
 * @example
 * ```ts data
 * import { tinyStories } from "bitgrad/data";
 *
 * const stories = (await tinyStories()).split("<|endoftext|>");
 * console.log("stories", stories.length);
 * ```
 */
export async function tinyStories(options?: FetchOptions): Promise<string> {
  const file: DataFile = {
    path: "tinystories/sample.txt",
    bytes: 2_097_152,
    sha256: "5352b299dcb1a32898b2d779b145b5a05f3e1265953fd21c264c9f9f9c9ae33d",
    urls: [],
  };
  return decodeText("tinyStories", await fetchOne("tinyStories", file, options));
}

/** Sentences and their classes y (N), a data set as `loader` takes it. */
export interface TextSet {
  readonly text: string[];
  readonly y: Tensor<"int32">;
  readonly [field: string]: string[] | Tensor;
}

function labelled(
  op: string,
  rows: readonly (readonly [label: string, text: string])[],
  classes: number,
): TextSet {
  const y = Int32Array.from(rows, ([label], i) => {
    const value = Number(label);
    if (!Number.isInteger(value) || value < 0 || value >= classes || label === "") {
      throw new FormatError(
        `${op}: a label must be an integer in [0, ${classes}), got ${show(label)} on line ${i + 1}`,
      );
    }
    return value;
  });
  return { text: rows.map(([, text]) => text), y: wrap(y, [y.length], "int32") };
}

/** "label text" a line, ISO 8859-1. */
const labelFirst = (bytes: Uint8Array): [string, string][] =>
  linesOf(decodeLatin1(bytes)).map((line) => [line.slice(0, 1), line.slice(2).trimEnd()]);

const sstUrl = `${github}/clairett/pytorch-sentiment-classification/master/data/SST2`;

/**
 * SST-2, sentences of film reviews: y is 1 where positive. Socher et al., 2013.
 *
 * @example
 * ```ts data
 * import { sst2 } from "bitgrad/data";
 *
 * const { text, y } = await sst2({ split: "dev" });
 * console.log(text.length, y.shape); // 872 [872]
 * ```
 */
export async function sst2(options?: SplitOptions<"train" | "dev" | "test">): Promise<TextSet> {
  const files = {
    train: {
      path: "sst2/train.tsv",
      bytes: 720_259,
      sha256: "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
      urls: [`${sstUrl}/train.tsv`],
    },
    dev: {
      path: "sst2/dev.tsv",
      bytes: 92_057,
      sha256: "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
      urls: [`${sstUrl}/dev.tsv`],
    },
    test: {
      path: "sst2/test.tsv",
      bytes: 188_749,
      sha256: "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
      urls: [`${sstUrl}/test.tsv`],
    },
  };
  const content = decodeText("sst2", await fetchSplit("sst2", files, "train", options));
  const rows = linesOf(content).map((line): [string, string] => {
    const tab = line.lastIndexOf("\t");
    return [line.slice(tab + 1), line.slice(0, tab)];
  });
  return labelled("sst2", rows, 2);
}

const sentConv = `${github}/harvardnlp/sent-conv-torch/master/data`;

/**
 * Film reviews' sentences, 5,331 of each class, in class order: shuffle, then split. y is 1 where positive.
 * Pang and Lee, 2005.
 *
 * @example
 * ```ts data
 * import { rtPolarity } from "bitgrad/data";
 *
 * const { text } = await rtPolarity();
 * console.log(text.length); // 10662
 * ```
 */
export async function rtPolarity(options?: FetchOptions): Promise<TextSet> {
  const file: DataFile = {
    path: "rt-polarity/all.txt",
    bytes: 1_259_719,
    sha256: "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a",
    urls: [`${sentConv}/rt-polarity.all`],
  };
  return labelled("rtPolarity", labelFirst(await fetchOne("rtPolarity", file, options)), 2);
}

/**
 * Subjective and objective sentences, 5,000 of each class, in class order: shuffle, then split. Pang and Lee, 2004.
 *
 * @example
 * ```ts data
 * import { subj } from "bitgrad/data";
 *
 * const { text } = await subj();
 * console.log(text.length); // 10000
 * ```
 */
export async function subj(options?: FetchOptions): Promise<TextSet> {
  const file: DataFile = {
    path: "subj/all.txt",
    bytes: 1_320_246,
    sha256: "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c",
    urls: [`${sentConv}/subj.all`],
  };
  return labelled("subj", labelFirst(await fetchOne("subj", file, options)), 2);
}

/**
 * TREC, questions by what they ask for: 5,452 or 500, y indexes `trecClasses`. Li and Roth, 2002.
 *
 * @example
 * ```ts data
 * import { trec, trecClasses } from "bitgrad/data";
 *
 * const { text, y } = await trec({ split: "test" });
 * console.log(text[0], trecClasses[y.data[0]]); // How far is it from Denver to Aspen ? number
 * ```
 */
export async function trec(options?: SplitOptions<"train" | "test">): Promise<TextSet> {
  const files = {
    train: {
      path: "trec/train.txt",
      bytes: 292_402,
      sha256: "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e",
      urls: [`${sentConv}/TREC.train.all`],
    },
    test: {
      path: "trec/test.txt",
      bytes: 19_479,
      sha256: "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566",
      urls: [`${sentConv}/TREC.test.all`],
    },
  };
  return labelled("trec", labelFirst(await fetchSplit("trec", files, "train", options)), trecClasses.length);
}

/** TREC's class names, in order. */
export const trecClasses = ["description", "entity", "abbreviation", "human", "location", "number"] as const;

/**
 * AG's news: title and text, y indexes `agNewsClasses`. The test split has 7,600 articles; the train split is read from the
 * folder that BITGRAD_DATA names (ag-news/train.csv) and never downloaded. Zhang et al., 2015, arXiv:1509.01626.
 *
 * @example
 * ```ts data
 * import { agNews, agNewsClasses } from "bitgrad/data";
 *
 * const { title, y } = await agNews({ split: "test" });
 * console.log(title.length, agNewsClasses[y.data[0]]); // 7600 Business
 * ```
 */
export async function agNews(
  options?: SplitOptions<"train" | "test">,
): Promise<TextSet & { readonly title: string[] }> {
  const files = {
    train: { path: "ag-news/train.csv", urls: [] },
    test: {
      path: "ag-news/test.csv",
      bytes: 1_857_427,
      sha256: "521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
      urls: [`${github}/mhjabreel/CharCnn_Keras/master/data/ag_news_csv/test.csv`],
    },
  };
  const rows = parseCsv(decodeText("agNews", await fetchSplit("agNews", files, "train", options)));
  const cut = rows.findIndex((row) => row.length !== 3);
  if (cut !== -1) {
    throw new FormatError(
      `agNews: a record must have three fields, got ${rows[cut].length} in record ${cut + 1}`,
    );
  }
  const set = labelled(
    "agNews",
    rows.map(([label, , text]) => [String(Number(label) - 1), text]),
    agNewsClasses.length,
  );
  return { ...set, title: rows.map(([, title]) => title) };
}

/** AG's news' class names, in order. */
export const agNewsClasses = ["World", "Sports", "Business", "Sci/Tech"] as const;
