/** What holds for every method that quantizes after training: masked weights stay 0, and saved models come back. */

import { arange, OptionError, Rng, rand, randn, scope, type Tensor } from "bitgrad";
import { load, save } from "bitgrad/io";
import { Gpt } from "bitgrad/models";
import {
  evaluate,
  Linear,
  namedParameters,
  type Parameter,
  parametrize,
  Sequential,
  type Transform,
} from "bitgrad/nn";
import {
  aciq,
  adaRound,
  awq,
  biasCorrection,
  binarize,
  binaryWeightOnly,
  clipSearch,
  equalize,
  equalizeColumns,
  freeze,
  gptq,
  heldCodes,
  holdCodes,
  hqq,
  lapq,
  lowRankCorrection,
  pack,
  plan,
  prepare,
  type QuantConfig,
  quantizedTransform,
  rotate,
  signRound,
  smoothQuant,
  splitOutlierChannels,
  ste,
} from "bitgrad/quant";
import { describe, expect, it } from "vitest";
import { bits } from "../packed/twins.ts";

const ids = [[1, 2, 3, 4, 5, 6]];
const batches = [ids, [[7, 8, 9, 10, 0, 3]]] as never;

const rows = { weight: ste({ bits: 4 }) };
const floatZeros = { weight: ste({ bits: 4, scheme: "affine", zeroPoint: "float" }) };

interface Method {
  /** Comes before `prepare`. */
  readonly float?: (model: Gpt, seed: number) => unknown;
  readonly run?: (model: Gpt) => unknown;
  readonly config?: QuantConfig;
  /** Says why a mask is refused; without it masked weights stay 0. */
  readonly refuses?: string;
  /** What a state is told to have that a model without what the method makes has not. */
  readonly makes?: string;
}

const noZero = "has no code for the zeros of a mask";
const methods: Record<string, Method> = {
  aciq: { run: (model) => aciq(model) },
  adaRound: { run: (model) => adaRound(model, batches, { iterations: 5 }) },
  awq: { run: (model) => awq(model, batches) },
  biasCorrection: { run: (model) => biasCorrection(model, batches) },
  binarize: { run: (model) => binarize(model, batches), config: binaryWeightOnly(), refuses: noZero },
  "clipSearch by batches": { run: (model) => clipSearch(model, batches) },
  "clipSearch by weights": { run: (model) => clipSearch(model) },
  equalize: { run: (model) => equalize(model) },
  equalizeColumns: { run: (model) => equalizeColumns(model), config: binaryWeightOnly(), refuses: noZero },
  gptq: { run: (model) => gptq(model, batches) },
  "gptq by activation": { run: (model) => gptq(model, batches, { order: "activation" }) },
  hqq: { run: (model) => hqq(model), config: floatZeros, refuses: noZero },
  lapq: {
    run: (model) =>
      lapq(model, batches, { rounds: 1, loss: (ids: never) => model.forward(ids).square().mean() }),
  },
  lowRankCorrection: {
    run: (model) => lowRankCorrection(model, batches, { rank: 2 }),
    makes: "attention.query.correction.a",
  },
  rotate: {
    float: (model, seed) => rotate(model, { rng: new Rng(seed) }),
    refuses: "rotate: no transform may stand on what is turned",
    makes: "mlp.down.inputSteps.0.signs",
  },
  signRound: { run: (model) => signRound(model, batches, { iterations: 5 }) },
  smoothQuant: { run: (model) => smoothQuant(model, batches) },
  splitOutlierChannels: {
    run: (model) => splitOutlierChannels(model),
    refuses: "no transform may stand in front of the quantizer",
    makes: "attention.query.inputSteps.0.copies",
  },
};

const matrices = "blocks.**.{query,key,value,out,up,down}.weight";
/** A model whose gains and biases are as training leaves them, none of them 1 or 0. */
function gpt(seed: number): Gpt {
  const rng = new Rng(seed);
  const model = new Gpt({ vocabulary: 11, context: 8, dim: 8, layers: 1, heads: 2, rng });
  for (const [, each] of namedParameters(model))
    if (each.shape.length === 1) each.assign(each.value.add(randn(each.shape, { rng }).mul(0.2)));
  return evaluate(model);
}

const prepared = (model: Gpt, config: QuantConfig = rows) =>
  prepare(model, plan({ default: null, rules: [[matrices, config]] }));

async function applied({ float, run, config }: Method, seed: number, masked = false): Promise<Gpt> {
  const model = gpt(seed);
  if (masked) parametrize(model, matrices, masks());
  await float?.(model, seed);
  prepared(model, config);
  await run?.(model);
  return model;
}

/** Half of all weights, the whole of row 1 and of column 2 are masked. */
function masks(): (parameter: Parameter) => Transform {
  const rng = new Rng(9);
  return ({ shape }) => {
    const [out, columns] = shape.map((size) => arange(size));
    const mask = rand(shape, { rng })
      .less(0.5)
      .logicalAnd(out.notEqual(1).reshape([-1, 1]))
      .logicalAnd(columns.notEqual(2));
    return { mask, apply: (weight: Tensor) => weight.mul(mask) };
  };
}

/** How many masked weights of a model are not 0, of how many. */
function maskedWeights(model: Gpt): { odd: number; of: number } {
  const count = { odd: 0, of: 0 };
  for (const [, parameter] of namedParameters(model)) {
    const mask = parameter.transforms[0]?.mask?.data;
    const weight = parameter.effective().data;
    mask?.forEach((kept: number | bigint, i: number) => {
      if (Number(kept) !== 0) return;
      count.of++;
      if (weight[i] !== 0) count.odd++;
    });
  }
  return count;
}

describe.each(Object.entries(methods))("%s", (_, method) => {
  const { refuses, makes, config, float } = method;

  it.each([
    ["symmetric codes", rows],
    ["zero points", { weight: ste({ bits: 3, scheme: "affine" }) }],
    ["groups", { weight: ste({ bits: 4, scheme: "affine", granularity: { group: 8 } }) }],
  ])("leaves masked weights 0 or refuses them, of %s", async (_, other) => {
    const made = applied({ ...method, config: config ?? other }, 1, true);
    if (refuses !== undefined) {
      await expect(made).rejects.toThrow(OptionError);
      await expect(made).rejects.toThrow(refuses);
      return;
    }
    const model = await made;
    const { odd, of } = maskedWeights(model);
    expect([odd, of > 300]).toEqual([0, true]);
    expect(maskedWeights(freeze(model)).odd).toBe(0);
  });

  it("comes back from its state and codes, to the bit, frozen and packed too", async () => {
    const model = await applied(method, 1);
    const [state, codes] = [await save(null, model), await save(null, heldCodes(model))];
    if (makes !== undefined)
      await expect(load(state, { into: prepared(gpt(2), config) })).rejects.toThrow(makes);
    const again = makes === undefined ? prepared(gpt(2), config) : await applied(method, 2);
    await load(state, { into: again });
    holdCodes(again, (await load(codes)).tensors);
    const run = (each: Gpt) => bits(scope(() => each.forward(ids)));
    expect(run(again)).toEqual(run(model));
    expect(run(freeze(again))).toEqual(run(freeze(model)));
    expect(pack(again).toBytes()).toEqual(pack(model).toBytes());
    expect(float === undefined || makes !== undefined).toBe(true);
  });
});

describe("two linear layers that share a weight", () => {
  const tied = (config: QuantConfig = rows) => {
    const [first, second] = [1, 2].map((seed) => new Linear(16, 16, { rng: new Rng(seed) }));
    second.weight = first.weight;
    return prepare(new Sequential({ first, second }), plan({ default: config }));
  };
  const x = rand([12, 16], { rng: new Rng(5) }).sub(0.5);

  it.each<[string, (model: object) => Promise<object>, QuantConfig?]>([
    ["aciq", (model) => aciq(model)],
    ["clipSearch", (model) => clipSearch(model)],
    ["hqq", (model) => hqq(model), floatZeros],
  ])("get the codes of %s, which looks at weights alone, once", async (_, run, config) => {
    const model = tied(config);
    const alone = prepare(new Linear(16, 16, { rng: new Rng(1) }), plan({ default: config ?? rows }));
    await run(model);
    await run(alone);
    const [{ weight }, { weight: other }] = [...model] as Linear[];
    expect(other).toBe(weight);
    expect(bits(weight.effective())).toEqual(bits(alone.weight.effective()));
    expect(quantizedTransform(weight)!.codes).not.toBeNull();
  });

  it.each<[string, (model: object) => Promise<object>, QuantConfig?]>([
    ["adaRound", (model) => adaRound(model, [x])],
    ["biasCorrection", (model) => biasCorrection(model, [x])],
    ["binarize", (model) => binarize(model, [x]), binaryWeightOnly()],
    ["clipSearch", (model) => clipSearch(model, [x])],
    ["gptq", (model) => gptq(model, [x])],
    ["lapq", (model) => lapq(model, [x], { loss: () => x.sum() })],
    ["lowRankCorrection", (model) => lowRankCorrection(model, null, { method: "svd" })],
    ["signRound", (model) => signRound(model, [x])],
    ["splitOutlierChannels", (model) => splitOutlierChannels(model)],
  ])("are refused by %s, which looks at a layer", async (name, run, config) => {
    const model = tied(config);
    const want = bits(model.forward(x));
    await expect(run(model)).rejects.toThrow(
      `${name}: two layers share a weight, got "first" and "second"; leave them out by { layers }`,
    );
    expect(bits(model.forward(x))).toEqual(want);
  });
});
