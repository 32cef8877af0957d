/** Recurrent layers against values made with PyTorch 1.13 in double, weights and inputs being those of `waves`. */

import { randn, Rng, shapesOnly, type Tensor, tensor, zeros } from "bitgrad";
import * as nn from "bitgrad/nn";
import { pack } from "bitgrad/quant";
import { expectClose, gradcheck, gradgradcheck } from "bitgrad/testing";
import { describe, expect, it } from "vitest";

const networks = [
  {
    name: "RNN",
    output: [
      -0.745508945, -0.521536673, 0.909677403, 0.608918684, -0.767138568, -0.280776125, 0.917197736,
      0.478631247, -0.630014694, -0.546639586, 0.7113251, 0.367450421, -0.78123207, -0.255158713, 0.914398208,
      0.639959147, -0.783937289, -0.392789589, 0.941309229, 0.571772469, -0.62350393, -0.484991905,
      0.816118737, 0.676722129,
    ],
    state: [
      [
        0.708010883, 0.186674649, 0.708904581, 0.188647652, -0.103751446, 0.63086816, -0.113006008,
        0.62997802, -0.630014694, -0.546639586, -0.62350393, -0.484991905, 0.909677403, 0.608918684,
        0.914398208, 0.639959147,
      ],
    ],
    dx: [
      0.056410222, -0.00774862472, -0.0682631721, -0.0165049507, -0.00189724046, 0.0136027717, 0.181072905,
      0.116092777, -0.00348759906, 0.16502312, 0.173043521, 0.09967885, 0.027398045, 0.0293967487,
      0.0175697021, 0.111972762, 0.143582919, 0.107663784,
    ],
    dw: [
      -0.0817824706, 0.0141306841, -0.148496756, -0.148496756, -0.00991269686, 0.240523462, 0.0544511307,
      0.0544511307, -0.0364574571, 0.486216477, -0.207757042, -0.207757042, -0.143256754, 0.281383666,
      0.052520692, 0.052520692,
    ],
  },
  {
    name: "RNN relu",
    output: [
      0.0, 0.0, 1.89853314, 1.03646077, 0.0, 0.0, 1.69332994, 0.655990649, 0.0, 0.0, 1.13422116, 0.265339068,
      0.0, 0.0, 2.06925802, 1.23165072, 0.0, 0.0, 1.94041902, 0.919670649, 0.0, 0.0, 1.4378522, 0.672137142,
    ],
    state: [
      [
        1.06930304, 0.213614314, 1.07060391, 0.219570054, 0.0, 0.850979524, 0.0, 0.849727574, 0.0, 0.0, 0.0,
        0.0, 1.89853314, 1.03646077, 2.06925802, 1.23165072,
      ],
    ],
    dx: [
      0.0217301975, -0.0589428694, -0.111894184, -0.0139078413, 0.0650957227, 0.113483751, 0.231578246,
      0.156066685, 0.00715452329, 0.0177486926, -0.0481430907, -0.0913924261, 0.10195913, 0.128939707,
      0.0952779255, 0.100828131, 0.188359433, 0.18730235,
    ],
    dw: [
      -0.335574078, -0.125895746, -0.113022523, -0.113022523, -0.0517251247, 0.454857883, 0.188777119,
      0.188777119, 0.0, 0.0, 0.0, 0.0, -0.172673464, 0.955270766, 0.124553891, 0.124553891,
    ],
  },
  {
    name: "LSTM",
    output: [
      -0.0113402466, 0.0164461973, -0.296188812, -0.340309134, 0.0854867746, 0.135648788, -0.241631192,
      -0.283540185, 0.106628892, 0.195422603, -0.1070126, -0.152044468, -0.0698275002, 0.165018131,
      -0.290921524, -0.347009211, 0.0682014183, 0.211931164, -0.235511437, -0.278021577, 0.0956144261,
      0.245102247, -0.0942119031, -0.115546743,
    ],
    state: [
      [
        -0.367845821, -0.29450045, -0.343242852, -0.261540023, 0.0416459986, -0.126823339, 0.0258781645,
        -0.156854128, 0.106628892, 0.195422603, 0.0956144261, 0.245102247, -0.296188812, -0.340309134,
        -0.290921524, -0.347009211,
      ],
      [
        -0.602558202, -0.41361929, -0.557650406, -0.367513131, 0.127512387, -0.52276953, 0.0807687479,
        -0.700128246, 0.160266583, 0.380556199, 0.149028011, 0.461845679, -0.675976079, -0.601306795,
        -0.694967492, -0.605091906,
      ],
    ],
    dx: [
      -0.172647153, -0.191214701, -0.119850987, -0.115693608, -0.158894959, -0.127365528, -0.0622536312,
      -0.0975530943, -0.0869718128, -0.0110285139, -0.0862401619, -0.120891714, 0.0100754722, -0.0675189889,
      -0.113358215, 0.0966751309, 0.000138802334, -0.0964628071,
    ],
    dw: [
      -0.0508268021, -0.0426769264, -0.0179137113, -0.0179137113, 0.0152569186, -0.0183407281, 0.203146752,
      0.203146752, 0.0624433663, -0.0105139315, -0.105365019, -0.105365019, 0.0168442501, 0.0126573095,
      -0.0861273993, -0.0861273993,
    ],
  },
  {
    name: "GRU",
    output: [
      0.0176158484, 0.134264536, -0.365051866, -0.761430593, 0.0915474787, 0.291670056, -0.329711227,
      -0.680564264, 0.0733513743, 0.366228718, -0.239816324, -0.529714955, -0.161962174, 0.132041875,
      -0.306399702, -0.70507129, 0.070395644, 0.277158183, -0.195100929, -0.5849724, 0.159656095, 0.321752651,
      0.0413388558, -0.352747243,
    ],
    state: [
      [
        -0.559694308, -0.476829996, -0.568347683, -0.46904494, 0.0750518228, -0.111812304, 0.215909645,
        -0.149535553, 0.0733513743, 0.366228718, 0.159656095, 0.321752651, -0.365051866, -0.761430593,
        -0.306399702, -0.70507129,
      ],
    ],
    dx: [
      -0.0378427325, -0.00890413181, 0.0242222212, -0.0483514152, -0.049549102, -0.0274430718, -0.0425730732,
      -0.030743464, -0.00445472336, -0.0710992945, -0.0945181238, -0.0734836026, -0.0823608874, -0.118344794,
      -0.0986692949, 0.0474687576, -0.000522567038, -0.0482681202,
    ],
    dw: [
      -0.110574813, -0.0461063738, -0.0891885148, -0.0791976896, -0.0246467669, -0.00786331949, 0.126274108,
      0.106013651, 0.0646524827, 0.0395795363, 0.0862486284, 0.101101706, -0.0834533292, -0.0268965339,
      -0.0529999865, -0.0320188242,
    ],
  },
];
const cells = [
  {
    name: "RNNCell",
    given: [[-0.073979285, -0.0142642027, 0.092041011, -0.444669915]],
    none: [[0.27058518, 0.0873227923, 0.377528516, -0.307805508]],
  },
  {
    name: "LSTMCell",
    given: [
      [-0.284584439, -0.236658265, -0.250227578, 0.0172538891],
      [-0.55633388, -0.31243405, -0.471657534, 0.0245889511],
    ],
    none: [
      [-0.15388163, -0.0525320345, -0.235044901, 0.0403623569],
      [-0.300724515, -0.0733006896, -0.453448493, 0.0641558519],
    ],
  },
  {
    name: "GRUCell",
    given: [[-0.41090865, -0.371450598, -0.600710588, -0.0909267485]],
    none: [[-0.28132953, -0.143588995, -0.394579067, 0.066657758]],
  },
];

const dtype = "float64";
const waves = (shape: readonly number[], phase: number): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.7 + phase) * 0.5),
    { shape, dtype },
  );
const near = (got: readonly Tensor[], want: readonly (readonly number[])[]) =>
  got.forEach((t, i) => {
    expectClose(t.flatten(), tensor([...want[i]], { dtype }), { rtol: 1e-7, atol: 1e-8 });
  });

/** PyTorch's state of a network of two layers in both directions, or of a cell. */
function torchState(gates: number, isCell: boolean): Record<string, Tensor> {
  const suffixes = isCell ? [""] : ["_l0", "_l0_reverse", "_l1", "_l1_reverse"];
  const shapes = suffixes.flatMap((suffix, i): [string, number[]][] => [
    [`weight_ih${suffix}`, [2 * gates, i < 2 ? 3 : 4]],
    [`weight_hh${suffix}`, [2 * gates, 2]],
    [`bias_ih${suffix}`, [2 * gates]],
    [`bias_hh${suffix}`, [2 * gates]],
  ]);
  return Object.fromEntries(shapes.map(([name, shape], k) => [name, waves(shape, k)]));
}

const kinds = {
  RNN: nn.RNN,
  LSTM: nn.LSTM,
  GRU: nn.GRU,
  RNNCell: nn.RNNCell,
  LSTMCell: nn.LSTMCell,
  GRUCell: nn.GRUCell,
};
const gatesOf = { RNN: 1, LSTM: 4, GRU: 3 };
const parts = (state: Tensor | readonly Tensor[]): readonly Tensor[] =>
  Array.isArray(state) ? state : [state as Tensor];

describe("recurrent networks", () => {
  it.each(networks)("$name gives PyTorch's outputs, states and gradients with PyTorch's weights", (want) => {
    const kind = want.name.split(" ")[0] as "RNN" | "LSTM" | "GRU";
    const options = { layers: 2, bidirectional: true, dtype } as const;
    const net =
      want.name === "RNN relu"
        ? new nn.RNN(3, 2, { ...options, nonlinearity: "relu" })
        : new kinds[kind](3, 2, options);
    nn.loadStateDict(net, torchState(gatesOf[kind], false));
    const x = waves([2, 3, 3], 9);
    x.requiresGrad = true;
    const [h, c] = [waves([4, 2, 2], 10), waves([4, 2, 2], 11)];
    const result = net instanceof nn.LSTM ? net.forward(x, { state: [h, c] }) : net.forward(x, { state: h });
    near([result.output], [want.output]);
    near(parts(result.state), want.state);
    const sums = parts(result.state).map((t, i) => t.mul(waves(t.shape, 13 + i)).sum());
    sums.reduce((a, b) => a.add(b), result.output.mul(waves([2, 3, 4], 12)).sum()).backward();
    near([x.grad!], [want.dx]);
    const slopes = nn.parameters(net).map((p) => p.grad!.mul(waves(p.shape, 3)).sum().item());
    near([tensor(slopes, { dtype })], [want.dw]);
  });

  it.each(cells)("$name gives PyTorch's next state, and takes none for zeros", (want) => {
    const kind = want.name as "RNNCell" | "LSTMCell" | "GRUCell";
    const cell = new kinds[kind](3, 2, { dtype });
    nn.loadStateDict(cell, torchState(gatesOf[kind.slice(0, -4) as "RNN"], true));
    const x = waves([2, 3], 9);
    const [h, c] = [waves([2, 2], 10), waves([2, 2], 11)];
    near(parts(cell instanceof nn.LSTMCell ? cell.forward(x, [h, c]) : cell.forward(x, h)), want.given);
    near(parts(cell.forward(x)), want.none);
  });

  it.each(["RNN", "LSTM", "GRU"] as const)(
    "%s has the right gradient, twice, in inputs, states and weights",
    (kind) => {
      const rng = new Rng(kind);
      const net = new kinds[kind](2, 2, { layers: 2, bidirectional: true, dtype, rng });
      const [x, h, c] = [
        randn([1, 2, 2], { rng, dtype }),
        randn([4, 1, 2], { rng, dtype }),
        randn([4, 1, 2], { rng, dtype }),
      ];
      const run = (...[a, b, d]: Tensor[]) => {
        const { output, state } =
          net instanceof nn.LSTM ? net.forward(a, { state: [b, d] }) : net.forward(a, { state: b });
        return [output, ...parts(state)];
      };
      const inputs = kind === "LSTM" ? [x, h, c] : [x, h];
      gradcheck(run, inputs);
      gradgradcheck(run, inputs);
    },
  );

  it.each(["RNN", "LSTM", "GRU"] as const)("%s goes on where it stopped from its state", (kind) => {
    const rng = new Rng(1);
    const net = new kinds[kind](3, 4, { layers: 2, rng });
    const x = randn([2, 7, 3], { rng });
    const whole = net.forward(x).output;
    const first = net.forward(x.slice([null, [0, 3]]));
    const second = net.forward(x.slice([null, [3, null]]), { state: first.state } as never);
    expectClose(first.output, whole.slice([null, [0, 3]]));
    expectClose(second.output, whole.slice([null, [3, null]]), { atol: 1e-6 });
  });

  it("is its cell, one step after another", () => {
    const rng = new Rng(2);
    const net = new nn.GRU(3, 4, { rng });
    const x = randn([2, 3, 3], { rng });
    let h: Tensor | null = null;
    for (let t = 0; t < 3; t++) h = net.cells.l0.forward(x.select(t, { axis: 1 }), h);
    expectClose(net.forward(x).state.select(0), h!, { atol: 1e-6 });
    expect(nn.namedParameters(net).map(([name]) => name)).toEqual([
      "cells.l0.weightIh",
      "cells.l0.weightHh",
      "cells.l0.biasIh",
      "cells.l0.biasHh",
    ]);
  });

  it("drops outputs between layers in training alone", () => {
    const rng = new Rng(3);
    const net = new nn.LSTM(3, 8, { layers: 2, dropout: 0.5, rng });
    const x = randn([2, 4, 3], { rng });
    const [a, b] = [net.forward(x).output.toArray(), net.forward(x).output.toArray()];
    expect(a).not.toEqual(b);
    nn.evaluate(net);
    expect(net.forward(x).output.toArray()).toEqual(net.forward(x).output.toArray());
  });

  it("runs by shapes alone, in a batch of none, and without biases", () => {
    const net = nn.withoutData(() => new nn.LSTM(1000, 2000, { layers: 3, bidirectional: true }));
    const { output, state } = shapesOnly(() => net.forward(zeros([8, 5, 1000])));
    expect([output.shape, state[0].shape, state[1].shape]).toEqual([
      [8, 5, 4000],
      [6, 8, 2000],
      [6, 8, 2000],
    ]);
    const bare = new nn.RNN(3, 2, { bias: false });
    expect(nn.parameters(bare).length).toBe(2);
    expect(bare.forward(zeros([0, 4, 3])).output.shape).toEqual([0, 4, 2]);
  });

  it.each([
    [() => new nn.LSTM(3, 2).forward(zeros([4, 3])), "LSTM: needs (B, T, 3) with T above 0, got (4, 3)"],
    [() => new nn.GRU(3, 2).forward(zeros([4, 0, 3])), "GRU: needs (B, T, 3) with T above 0, got (4, 0, 3)"],
    [
      () => new nn.GRU(3, 2).forward(zeros([4, 1, 3]), { state: zeros([4, 2]) }),
      "GRU: the state must have shape (1, 4, 2), got (4, 2)",
    ],
    [
      () => new nn.LSTM(3, 2).forward(zeros([4, 1, 3]), { state: zeros([1, 4, 2]) as never }),
      "LSTM: the state must be a pair [h, c]",
    ],
    [() => new nn.LSTMCell(3, 2).forward(zeros([3])), "LSTMCell: needs (B, 3), got (3)"],
    [
      () => new nn.RNN(3, 2, { nonlinearity: "gelu" as "relu" }),
      'RNNCell: nonlinearity must be one of tanh, relu, got "gelu"',
    ],
    [() => pack(new nn.LSTM(3, 2)), "pack: the layer has no packed form, got LSTM"],
    [() => pack(new nn.GRUCell(3, 2)), "pack: the layer has no packed form, got GRUCell"],
  ])("refuses %s", (run, message) => {
    expect(run).toThrow(message);
  });
});
