/** The named sets of pictures. Pixels stay the bytes of the files: divide by 255 to have [0, 1]. */

import { FormatError, readOptions } from "../../errors.ts";
import { type Tensor, wrap } from "../../tensor.ts";
import { decodeText } from "../bytes.ts";
import { parseCsv } from "../csv.ts";
import { readIdx } from "../idx.ts";
import { checkSplit, type DataFile, type FetchOptions, fetchDefaults, fetchFile } from "./fetch-file.ts";

type Split = "train" | "test";
export type ImageOptions = FetchOptions & { split?: Split };

/** Pictures x (N, C, H, W) and their classes y (N): a data set as `loader` takes it. */
export interface ImageSet {
  readonly x: Tensor<"uint8">;
  readonly y: Tensor<"int32">;
  readonly [field: string]: Tensor;
}

type Hashes = Readonly<Record<"train-images" | "train-labels" | "t10k-images" | "t10k-labels", string>>;

async function idxSet(
  op: string,
  folder: string,
  hosts: readonly string[],
  hashes: Hashes,
  options: ImageOptions | undefined,
): Promise<ImageSet> {
  const { split, ...rest } = readOptions<ImageOptions & { split: Split }>(op, options, {
    ...fetchDefaults,
    split: "train",
  });
  const part = checkSplit(op, split, ["train", "test"]) === "train" ? "train" : "t10k";
  const count = part === "train" ? 60_000 : 10_000;
  const file = (name: string, sha256: string, bytes: number): DataFile => ({
    path: `${folder}/${name}`,
    bytes,
    sha256,
    urls: hosts.map((host) => `${host}/${name}`),
  });
  const images = file(`${part}-images-idx3-ubyte.gz`, hashes[`${part}-images`], 16 + count * 784);
  const labels = file(`${part}-labels-idx1-ubyte.gz`, hashes[`${part}-labels`], 8 + count);
  const pixels = readIdx(await fetchFile(op, images, rest)) as Tensor<"uint8">;
  const classes = readIdx(await fetchFile(op, labels, rest));
  return {
    x: wrap(pixels.data, [count, 1, 28, 28], "uint8"),
    y: wrap(Int32Array.from(classes.data), [count], "int32"),
  };
}

/**
 * MNIST, handwritten digits: 60,000 or 10,000 pictures x (N, 1, 28, 28) uint8, y (N) int32. LeCun et al., 1998.
 *
 * @example
 * ```ts data
 * import { mnist } from "bitgrad/data";
 *
 * const { x, y } = await mnist({ split: "test" });
 * console.log(x.shape, y.shape); // [10000, 1, 28, 28] [10000]
 * ```
 */
export const mnist = (options?: ImageOptions): Promise<ImageSet> =>
  idxSet(
    "mnist",
    "mnist",
    ["https://storage.googleapis.com/cvdf-datasets/mnist", "https://ossci-datasets.s3.amazonaws.com/mnist"],
    {
      "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
      "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
      "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
      "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    options,
  );

/**
 * Fashion-MNIST, clothing in MNIST's shapes. Xiao et al., 2017, arXiv:1708.07747.
 *
 * @example
 * ```ts data
 * import { fashionMnist, fashionMnistClasses } from "bitgrad/data";
 *
 * const { y } = await fashionMnist({ split: "test" });
 * console.log(fashionMnistClasses[y.data[0]]); // Ankle boot
 * ```
 */
export const fashionMnist = (options?: ImageOptions): Promise<ImageSet> =>
  idxSet(
    "fashionMnist",
    "fashion-mnist",
    [
      "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
      "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    ],
    {
      "train-images": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
      "train-labels": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
      "t10k-images": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
      "t10k-labels": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    options,
  );

/** Fashion-MNIST's class names, in order. */
export const fashionMnistClasses = [
  "T-shirt/top",
  "Trouser",
  "Pullover",
  "Dress",
  "Coat",
  "Sandal",
  "Shirt",
  "Sneaker",
  "Bag",
  "Ankle boot",
] as const;

const digitFiles: Readonly<Record<Split, DataFile>> = {
  train: {
    path: "digits8x8/train.csv",
    bytes: 563_639,
    sha256: "e1b683cc211604fe8fd8c4417e6a69f31380e0c61d4af22e93cc21e9257ffedd",
    urls: digitUrls("tra"),
  },
  test: {
    path: "digits8x8/test.csv",
    bytes: 264_712,
    sha256: "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
    urls: digitUrls("tes"),
  },
};

function digitUrls(ending: string): string[] {
  return [
    `https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits/optdigits.${ending}`,
    `https://raw.githubusercontent.com/yupinghuang/optical_digits/master/data/optdigits.${ending}`,
  ];
}

/**
 * UCI's optical digits: 3,823 or 1,797 pictures x (N, 1, 8, 8) uint8 of values 0 to 16, y (N) int32. The test split is what
 * scikit-learn calls digits.
 *
 * @example
 * ```ts data
 * import { digits8x8 } from "bitgrad/data";
 *
 * const { x } = await digits8x8();
 * console.log(x.shape); // [3823, 1, 8, 8]
 * ```
 */
export async function digits8x8(options?: ImageOptions): Promise<ImageSet> {
  const { split, ...rest } = readOptions<ImageOptions & { split: Split }>("digits8x8", options, {
    ...fetchDefaults,
    split: "train",
  });
  const file = digitFiles[checkSplit("digits8x8", split, ["train", "test"])];
  const rows = parseCsv(decodeText("digits8x8", await fetchFile("digits8x8", file, rest)));
  const x = new Uint8Array(rows.length * 64);
  const y = new Int32Array(rows.length);
  rows.forEach((row, i) => {
    for (let j = 0; j < 64; j++) x[i * 64 + j] = Number(row[j]);
    y[i] = Number(row[64]);
  });
  return { x: wrap(x, [rows.length, 1, 8, 8], "uint8"), y: wrap(y, [rows.length], "int32") };
}

const CIFAR_RECORD = 1 + 3 * 32 * 32;

const cifarFiles: Readonly<Record<Split, DataFile>> = {
  train: {
    path: "cifar10-subset/train.bin.gz",
    bytes: 15_365_000,
    sha256: "5aeb9f28559e51826d2463c782f74e1a1d04de54209d2568f7682a80a7161196",
    urls: [],
  },
  test: {
    path: "cifar10-subset/test.bin.gz",
    bytes: 6_146_000,
    sha256: "c2b9ebed91a9f9343b783604a53ee8319f9927fa6faa419124098d02233904e1",
    urls: [],
  },
};

/**
 * A subset of CIFAR-10 that has been through JPEG: 5,000 or 2,000 pictures x (N, 3, 32, 32) uint8, y (N) int32. There is no
 * upstream file in this form: it is read from the folder that BITGRAD_DATA names. Krizhevsky, 2009.
 *
 * @example
 * ```ts data
 * import { cifar10Subset } from "bitgrad/data";
 *
 * const { x } = await cifar10Subset({ split: "test" });
 * console.log(x.shape); // [2000, 3, 32, 32]
 * ```
 */
export async function cifar10Subset(options?: ImageOptions): Promise<ImageSet> {
  const { split, ...rest } = readOptions<ImageOptions & { split: Split }>("cifar10Subset", options, {
    ...fetchDefaults,
    split: "train",
  });
  const file = cifarFiles[checkSplit("cifar10Subset", split, ["train", "test"])];
  const bytes = await fetchFile("cifar10Subset", file, rest);
  const count = bytes.length / CIFAR_RECORD;
  if (!Number.isInteger(count)) {
    throw new FormatError(`cifar10Subset: records are ${CIFAR_RECORD} bytes each, got ${bytes.length} bytes`);
  }
  const x = new Uint8Array(bytes.length - count);
  const y = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    y[i] = bytes[i * CIFAR_RECORD];
    x.set(bytes.subarray(i * CIFAR_RECORD + 1, (i + 1) * CIFAR_RECORD), i * (CIFAR_RECORD - 1));
  }
  return { x: wrap(x, [count, 3, 32, 32], "uint8"), y: wrap(y, [count], "int32") };
}

/** CIFAR-10's class names, in order. */
export const cifar10Classes = [
  "airplane",
  "automobile",
  "bird",
  "cat",
  "deer",
  "dog",
  "frog",
  "horse",
  "ship",
  "truck",
] as const;
