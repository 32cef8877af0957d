/**
 * Small models that were trained until their choices are clear: of text that goes on, of text that is sorted into classes,
 * of pictures, and of text that answers another.
 */

import { Rng, randint, type Tensor, tensor } from "bitgrad";
import { glyphs } from "bitgrad/data";
import { Bert, Gpt, ResNet, Transformer } from "bitgrad/models";
import { clone, crossEntropy, evaluate } from "bitgrad/nn";
import { adamw, optimizer } from "bitgrad/optim";
import {
  binaryDynamic,
  binarySigns,
  freeze,
  int4WeightOnly,
  int8Dynamic,
  pack,
  plan,
  prepare,
  type QuantConfig,
  ternaryDynamic,
} from "bitgrad/quant";
import * as training from "bitgrad/train";
import { caseOf, type PackedCase } from "./cases.ts";

/** How weights, and inputs, are rounded; null: not at all. */
const widths: Readonly<Record<string, QuantConfig | null>> = {
  float32: null,
  "int8 dynamic": int8Dynamic(),
  "int4 weight-only": int4WeightOnly({ granularity: "channel" }),
  ternary: ternaryDynamic(),
  "1 bit": binaryDynamic(),
  "1 bit of both": binarySigns(),
};

/** Widths that round inputs too: one that lies at a half may come out as the next code, and moves the result. */
const coded = new Set(Object.keys(widths).slice(3).concat("int8 dynamic"));

/** A kind of model, what it is trained on, and what it is asked. */
interface Subject<M extends object = object> {
  readonly name: string;
  readonly model: M;
  readonly steps: number;
  readonly loss: (model: M, rng: Rng) => Tensor;
  readonly x: { readonly data: ArrayLike<number>; readonly shape: readonly number[] };
  readonly more: Partial<Pick<PackedCase, "call" | "prompts">>;
}

const int = (data: number[], shape: number[]): Tensor => tensor(data, { dtype: "int32", shape });
const greedy = (maxTokens: number) => ({ maxTokens, temperature: 0 });

/** Goes on with a sentence that is said again and again. */
function gpt(): Subject<Gpt> {
  const text = "pack my box with five dozen liquor jugs. ";
  const letters = [...new Set(text)].sort();
  const codes = Array.from(text.repeat(2), (letter) => letters.indexOf(letter));
  const from = (letter: string, n: number) => codes.slice(text.indexOf(letter), text.indexOf(letter) + n);
  const [t, b] = [16, 12];
  const config = { vocabulary: letters.length, context: t, dim: 32, layers: 2, heads: 4, initStd: 0.15 };
  return {
    name: "GPT",
    model: new Gpt({ ...config, rng: new Rng(1) }),
    steps: 60,
    loss(model, rng) {
      const starts = Array.from(randint(0, text.length - 1, [b], { rng }).data);
      const windows = (by: number) =>
        int(
          starts.flatMap((at) => codes.slice(at + by, at + by + t)),
          [b, t],
        );
      return crossEntropy(model.forward(windows(0)), windows(1));
    },
    // Letters that only one other follows: more than one may follow most of them.
    x: { data: [...from("q", t), ...from("m", t)], shape: [2, t] },
    more: {
      prompts: [
        // Past a full context.
        { ids: from("q", 5), options: greedy(15) },
        { ids: from("m", 8), options: greedy(4) },
      ],
    },
  };
}

/** One of the ids 0, 1 and 2 lies somewhere in a text, and is its class. */
function classed(b: number, t: number, rng: Rng): { ids: number[]; classes: Tensor } {
  const ids = Array.from(randint(3, 12, [b, t], { rng }).data);
  const classes = randint(0, 3, [b], { rng });
  const places = randint(1, t - 1, [b], { rng }).data;
  for (let i = 0; i < b; i++) ids[i * t + places[i]] = classes.data[i];
  return { ids, classes };
}

function bert(): Subject<Bert> {
  const config = { vocabulary: 12, context: 10, dim: 24, layers: 2, heads: 4, segments: 1, initStd: 0.2 };
  const mask = Array.from({ length: 60 }, (_, i) => Number(i % 20 !== 19));
  return {
    name: "BERT",
    model: new Bert({ ...config, head: "classifier", classes: 3, rng: new Rng(2) }),
    steps: 60,
    loss(model, rng) {
      const { ids, classes } = classed(24, 10, rng);
      return crossEntropy(model.forward(int(ids, [24, 10])), classes);
    },
    x: { data: classed(6, 10, new Rng("asked")).ids, shape: [6, 10] },
    more: { call: { mask: { data: mask, shape: [6, 10] } } },
  };
}

function resnet(): Subject<ResNet> {
  const shape = (n: number) => [n, 1, 12, 12];
  const pictures = glyphs({ count: 6, noise: 0.05, rng: new Rng("asked") }).x.data;
  return {
    name: "ResNet",
    model: new ResNet({ blocks: 1, width: 8, channels: 1, rng: new Rng(3) }),
    steps: 50,
    loss(model, rng) {
      const { x, y } = glyphs({ count: 24, noise: 0.05, rng });
      return crossEntropy(model.forward(x.reshape(shape(24))), y);
    },
    x: { data: pictures.slice(), shape: shape(6) },
    more: {},
  };
}

/** Answers each digit by the next one. */
function transformer(): Subject<Transformer> {
  const [b, t, begin] = [16, 6, 10];
  const answer = (ids: readonly number[]): number[] => ids.map((id) => (id + 1) % 10);
  const asked = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
  const told = (ids: readonly number[]): number[] => [begin, ...answer(ids).slice(0, -1)];
  return {
    name: "encoder-decoder",
    model: new Transformer({ vocabulary: 11, dim: 32, layers: 1, heads: 4, rng: new Rng(4) }),
    steps: 150,
    loss(model, rng) {
      const rows = Array.from({ length: b }, () => Array.from(randint(0, 10, [t], { rng }).data));
      const logits = model.forward(int(rows.flat(), [b, t]), int(rows.flatMap(told), [b, t]));
      return crossEntropy(logits, int(rows.flatMap(answer), [b, t]));
    },
    x: { data: asked, shape: [2, t] },
    more: {
      call: { target: { data: [...told(asked.slice(0, t)), ...told(asked.slice(t))], shape: [2, t] } },
      prompts: [
        { ids: [begin], options: { ...greedy(t), source: { data: asked.slice(0, t), shape: [1, t] } } },
        {
          ids: [begin],
          options: {
            ...greedy(t),
            source: { data: asked.slice(t), shape: [1, t] },
            sourceMask: { data: [1, 1, 1, 1, 1, 0], shape: [1, t] },
          },
        },
      ],
    },
  };
}

async function trained({ loss }: Subject, model: object, steps: number): Promise<void> {
  const rng = new Rng("order");
  await training.fit(model, {
    data: Array.from({ length: steps }, (_, step) => step),
    loss: (model) => loss(model, rng),
    optimizer: optimizer(model, adamw({ lr: 4e-3 })),
    steps,
  });
}

/** How many steps a model takes to learn to live with weights of few bits; those of more are rounded and no more. */
const tuning: Readonly<Record<string, number>> = { ternary: 30, "1 bit": 30, "1 bit of both": 60 };

/** Trains every model once, rounds it to every width, and gives what is to be the same on a GPU: 24 cases. */
export async function trainedCases(): Promise<PackedCase[]> {
  const cases: PackedCase[] = [];
  for (const subject of [gpt(), bert(), resnet(), transformer()] as Subject[]) {
    await trained(subject, subject.model, subject.steps);
    for (const [width, config] of Object.entries(widths)) {
      const model = clone(subject.model);
      if (config) prepare(model, plan({ default: config }));
      if (width in tuning) await trained(subject, model, tuning[width]);
      const packed = pack(config ? freeze(evaluate(model)) : evaluate(model));
      const far = coded.has(width) ? 0.02 : 1e-4;
      cases.push(caseOf(`${subject.name}, ${width}`, packed, subject.x, { ...subject.more, far }));
    }
  }
  return cases;
}
