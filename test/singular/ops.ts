/**
 * Every op of the table at its singular points; one without an entry does not compile. Values are PyTorch 1.13's but
 * where `torch` says what it gives and why ours is another.
 */

import type { OpName } from "../ops-table.ts";
import { at, type Points } from "./point.ts";

export const ops: { readonly [K in OpName]: Points } = {
  abs: [
    at(
      [[-1, 0, 0, 2, -Infinity, Infinity]],
      [1, 0, 0, 2, Infinity, Infinity],
      [[-1, 0, 0, 4, -5, 6]],
      [[0, 0, 0, 0, 0, 0]],
    ),
  ],
  acos: [
    at([[-1, 0, 1]], [Math.PI, 1.57079633, 0], [[-Infinity, -2, -Infinity]], [[Infinity, 0, -Infinity]]),
  ],
  asin: [
    at([[-1, 0, 1]], [-1.57079633, 0, 1.57079633], [[Infinity, 2, Infinity]], [[-Infinity, 0, Infinity]]),
  ],
  atan: [at([[-Infinity, 0, Infinity]], [-1.57079633, 0, 1.57079633], [[0, 2, 0]], [[NaN, 0, NaN]])],
  bitwiseNot: "gives integers: no gradient",
  cast: [
    at([[0, -Infinity, NaN]], [0, -Infinity, NaN], [[1, 2, 3]], [[0, 0, 0]], {
      options: { dtype: "float32" },
    }),
  ],
  ceil: [at([[-1, 0, 1]], [-1, 0, 1], [[0, 0, 0]], [[0, 0, 0]])],
  clip: [
    at([[-2, -1, 0, 1, 2]], [-1, -1, 0, 1, 1], [[0, 2, 3, 4, 0]], [[0, 0, 0, 0, 0]], {
      options: { min: -1, max: 1 },
    }),
    at([[-Infinity, NaN, Infinity]], [-1, NaN, 1], [[0, 0, 0]], [[0, 0, 0]], {
      options: { min: -1, max: 1 },
    }),
  ],
  cos: [at([[0]], [1], [[0]], [[-1]])],
  cosh: [at([[0]], [1], [[0]], [[1]])],
  erf: [at([[-Infinity, 0, Infinity]], [-1, 0, 1], [[0, 2.25675833, 0]], [[NaN, 0, NaN]])],
  erfinv: [
    at(
      [[-1, 0, 1]],
      [-Infinity, 0, Infinity],
      [[Infinity, 1.77245385, Infinity]],
      [[-Infinity, 0, Infinity]],
    ),
  ],
  exp: [at([[-Infinity, 0, 800]], [0, 1, Infinity], [[0, 2, Infinity]], [[0, 4, Infinity]])],
  exp2: [at([[-Infinity, 0]], [0, 1], [[0, 1.38629436]], [[0, 1.92181206]])],
  expm1: [at([[-Infinity, 0]], [-1, 0], [[0, 2]], [[0, 4]])],
  floor: [at([[-1, 0, 1]], [-1, 0, 1], [[0, 0, 0]], [[0, 0, 0]])],
  frac: [at([[-1, 0, 1]], [0, 0, 0], [[1, 2, 3]], [[0, 0, 0]])],
  isFinite: "gives bool: no gradient",
  isInf: "gives bool: no gradient",
  isNaN: "gives bool: no gradient",
  log: [at([[0, 1, Infinity]], [-Infinity, 0, Infinity], [[Infinity, 2, 0]], [[-Infinity, -4, 0]])],
  log10: [at([[0, 1]], [-Infinity, 0], [[Infinity, 0.868588964]], [[-Infinity, -1.73717793]])],
  log1p: [at([[-1, 0]], [-Infinity, 0], [[Infinity, 2]], [[-Infinity, -4]])],
  log2: [at([[0, 1]], [-Infinity, 0], [[Infinity, 2.88539008]], [[-Infinity, -5.77078016]])],
  logicalNot: "gives bool: no gradient",
  nanToNum: [
    at([[NaN, Infinity, -Infinity, 1]], [2, 3, -4, 1], [[0, 0, 0, 4]], [[0, 0, 0, 0]], {
      options: { nan: 2, posinf: 3, neginf: -4 },
    }),
  ],
  neg: [at([[0, 0, Infinity]], [0, 0, -Infinity], [[-1, -2, -3]], [[0, 0, 0]])],
  reciprocal: [
    at([[0, 0, Infinity]], [Infinity, Infinity, 0], [[-Infinity, -Infinity, 0]], [[Infinity, Infinity, 0]]),
  ],
  round: [at([[-0.5, 0, 0.5, 1.5]], [0, 0, 0, 2], [[0, 0, 0, 0]], [[0, 0, 0, 0]])],
  rsqrt: [at([[0, 1, Infinity]], [Infinity, 1, 0], [[-Infinity, -1, 0]], [[Infinity, 3, 0]])],
  sign: [at([[-1, 0, 1]], [-1, 0, 1], [[0, 0, 0]], [[0, 0, 0]])],
  sin: [at([[0]], [0], [[1]], [[0]])],
  sinc: [
    at([[-1, 0, 1]], [0, 1, 0], [[1, 0, -3]], [[2, -13.1594725, 18]], {
      torch: "second [[2, NaN, 18]]; ours: the slope of the slope at 0 is −π²/3",
    }),
  ],
  sinh: [at([[0]], [0], [[1]], [[0]])],
  sqrt: [at([[0, 1, Infinity]], [0, 1, Infinity], [[Infinity, 1, 0]], [[-Infinity, -1, 0]])],
  square: [at([[0, Infinity]], [0, Infinity], [[0, Infinity]], [[2, 8]])],
  tan: [at([[0]], [0], [[1]], [[0]])],
  tanh: [at([[-Infinity, 0, Infinity]], [-1, 0, 1], [[0, 2, 0]], [[0, 0, 0]])],
  trunc: [at([[-1, 0, 1]], [-1, 0, 1], [[0, 0, 0]], [[0, 0, 0]])],
  celu: [
    at(
      [[-Infinity, -1, 0, 1, Infinity]],
      [-1, -0.632120559, 0, 1, Infinity],
      [[0, 0.735758882, 3, 4, 5]],
      [[0, 1.47151776, 9, 0, 0]],
      { torch: "second [[0, 1.47151776, 0, 0, 0]]; ours: at 0 every order takes the branch of x ≤ 0" },
    ),
  ],
  elu: [
    at(
      [[-Infinity, -1, 0, 1, Infinity]],
      [-1, -0.632120559, 0, 1, Infinity],
      [[0, 0.735758882, 3, 4, 5]],
      [[0, 1.47151776, 9, 0, 0]],
      { torch: "second [[0, 1.47151776, 0, 0, 0]]; ours: at 0 every order takes the branch of x ≤ 0" },
    ),
  ],
  gelu: [
    at([[-Infinity, 0, Infinity]], [NaN, 0, Infinity], [[0, 1, 3]], [[0, 3.19153824, 0]], {
      torch: "first [[NaN, 1, NaN]], second [[NaN, 3.19153824, NaN]]; ours: the slope goes to 0 and to 1",
    }),
    at([[-Infinity, 0, Infinity]], [NaN, 0, Infinity], [[0, 1, 3]], [[0, 3.19153824, 0]], {
      options: { approximate: "tanh" },
      torch: "first [[NaN, 1, NaN]], second [[NaN, 3.19153824, NaN]]; ours: the slope goes to 0 and to 1",
    }),
  ],
  hardShrink: [
    at(
      [[-Infinity, -0.5, 0, 0.5, Infinity]],
      [-Infinity, 0, 0, 0, Infinity],
      [[1, 0, 0, 0, 5]],
      [[0, 0, 0, 0, 0]],
    ),
  ],
  hardSigmoid: [
    at([[-Infinity, -3, 0, 3, Infinity]], [0, 0, 0.5, 1, 1], [[0, 0, 0.5, 0, 0]], [[0, 0, 0, 0, 0]], {
      torch: "second none",
    }),
  ],
  hardSwish: [
    at([[-Infinity, -3, 0, 3, Infinity]], [0, 0, 0, 3, Infinity], [[0, 0, 1.5, 4, 5]], [[0, 0, 3, 0, 0]], {
      torch:
        "value [NaN, 0, 0, 3, Infinity], first [[0, -1, 1.5, 6, 5]]; ours: 0 up to −3 and 1 from 3 on, as later releases of PyTorch",
    }),
  ],
  hardTanh: [at([[-Infinity, -1, 0, 1, Infinity]], [-1, -1, 0, 1, 1], [[0, 0, 3, 0, 0]], [[0, 0, 0, 0, 0]])],
  leakyRelu: [
    at(
      [[-Infinity, -1, 0, 1, Infinity]],
      [-Infinity, -0.01, 0, 1, Infinity],
      [[0.01, 0.02, 0.03, 4, 5]],
      [[0, 0, 0, 0, 0]],
    ),
  ],
  logSigmoid: [at([[-Infinity, 0, Infinity]], [-Infinity, -Math.LN2, 0], [[1, 1, 0]], [[0, -1, 0]])],
  mish: [at([[-Infinity, 0, Infinity]], [NaN, 0, Infinity], [[NaN, 1.2, NaN]], [[NaN, 2.56, NaN]])],
  relu: [at([[-Infinity, -1, 0, 1, Infinity]], [0, 0, 0, 1, Infinity], [[0, 0, 0, 4, 5]], [[0, 0, 0, 0, 0]])],
  relu6: [at([[-Infinity, 0, 3, 6, Infinity]], [0, 0, 3, 6, 6], [[0, 0, 3, 0, 0]], [[0, 0, 0, 0, 0]])],
  selu: [
    at(
      [[-Infinity, -1, 0, 1, Infinity]],
      [-1.75809934, -1.11133074, 0, 1.05070099, Infinity],
      [[0, 1.29353721, 5.27429802, 4.20280395, 5.25350494]],
      [[0, 2.58707441, 15.8228941, 0, 0]],
      { torch: "second [[0, 2.58707441, 0, 0, 0]]; ours: at 0 every order takes the branch of x ≤ 0" },
    ),
  ],
  sigmoid: [at([[-Infinity, 0, Infinity]], [0, 0.5, 1], [[0, 0.5, 0]], [[0, 0, 0]])],
  silu: [at([[-Infinity, 0, Infinity]], [NaN, 0, Infinity], [[NaN, 1, NaN]], [[NaN, 2, NaN]])],
  softShrink: [
    at(
      [[-Infinity, -0.5, 0, 0.5, Infinity]],
      [-Infinity, 0, 0, 0, Infinity],
      [[1, 0, 0, 0, 5]],
      [[0, 0, 0, 0, 0]],
    ),
  ],
  softplus: [
    at(
      [[-Infinity, 0, 20, 21, Infinity]],
      [0, Math.LN2, 20, 21, Infinity],
      [[0, 1, 2.99999999, 4, 5]],
      [[0, 1, 1.85503832e-8, 0, 0]],
    ),
  ],
  softsign: [
    at([[-Infinity, 0, Infinity]], [NaN, 0, NaN], [[0, 2, 0]], [[NaN, 0, NaN]], {
      torch: "first [[NaN, 2, NaN]]; ours: x/(1 + |x|)² falls to 0",
    }),
  ],
  tanhShrink: [at([[-Infinity, 0, Infinity]], [-Infinity, 0, Infinity], [[1, 0, 3]], [[0, 0, 0]])],
  threshold: [
    at([[-Infinity, 1, 2, Infinity]], [-2, -2, 2, Infinity], [[0, 0, 3, 4]], [[0, 0, 0, 0]], {
      options: { threshold: 1, value: -2 },
    }),
  ],
  add: [
    at(
      [
        [Infinity, 0],
        [1, 0],
      ],
      [Infinity, 0],
      [
        [1, 2],
        [1, 2],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ),
  ],
  atan2: [
    at(
      [
        [0, 0, 1, 0],
        [0, 1, 0, -1],
      ],
      [0, 0, 1.57079633, Math.PI],
      [
        [0, 2, 0, -4],
        [0, 0, -3, 0],
      ],
      [
        [0, -8, 18, -32],
        [0, -4, 9, -16],
      ],
      {
        torch:
          "first [[NaN, 2, 0, -4], [NaN, 0, -3, 0]], second [[NaN, -8, 18, -32], [NaN, -4, 9, -16]]; ours: 0 at the origin, as norm",
      },
    ),
  ],
  bitwiseAnd: "gives integers: no gradient",
  bitwiseOr: "gives integers: no gradient",
  bitwiseXor: "gives integers: no gradient",
  div: [
    at(
      [
        [0, 1, 0, 1],
        [1, 0, 0, Infinity],
      ],
      [0, Infinity, NaN, 0],
      [
        [1, Infinity, Infinity, 0],
        [0, -Infinity, NaN, 0],
      ],
      [
        [-2, -Infinity, -Infinity, 0],
        [-1, NaN, NaN, 0],
      ],
    ),
  ],
  equal: "gives bool: no gradient",
  floorDivide: [
    at(
      [
        [2, -3, 0],
        [1, 2, 2],
      ],
      [2, -2, 0],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    ),
  ],
  fmod: [
    at(
      [
        [2, -3, 0],
        [1, 2, 2],
      ],
      [0, -1, 0],
      [
        [1, 2, 3],
        [-2, 2, 0],
      ],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    ),
  ],
  greater: "gives bool: no gradient",
  greaterEqual: "gives bool: no gradient",
  hypot: [
    at(
      [
        [0, 0, 1, Infinity],
        [0, 1, 0, 1],
      ],
      [0, 1, 1, Infinity],
      [
        [0, 0, 3, NaN],
        [0, 2, 0, 0],
      ],
      [
        [0, 4, 0, NaN],
        [0, 0, 18, NaN],
      ],
      {
        torch:
          "first [[NaN, 0, 3, NaN], [NaN, 2, 0, 0]], second [[NaN, 4, 0, NaN], [NaN, 0, 18, NaN]]; ours: 0 at the origin, as norm",
      },
    ),
  ],
  leftShift: "gives integers: no gradient",
  less: "gives bool: no gradient",
  lessEqual: "gives bool: no gradient",
  logAddExp: [
    at(
      [
        [Infinity, 0, Infinity, -Infinity, -Infinity, 1],
        [0, Infinity, Infinity, -Infinity, 0, 1],
      ],
      [Infinity, Infinity, Infinity, -Infinity, 0, 1.69314718],
      [
        [1, 0, 1.5, 2, 0, 3],
        [0, 2, 1.5, 2, 5, 3],
      ],
      [
        [0, 0, 0, 0, 0, -9],
        [0, 0, 0, 0, 0, 9],
      ],
      {
        torch:
          "first [[1, 0, NaN, NaN, 0, 3], [0, 2, NaN, NaN, 5, 3]], second [[NaN, NaN, NaN, NaN, NaN, -9], [NaN, NaN, NaN, NaN, NaN, 9]]; ours: infinities that make the result share the gradient",
      },
    ),
  ],
  logicalAnd: "gives bool: no gradient",
  logicalOr: "gives bool: no gradient",
  logicalXor: "gives bool: no gradient",
  maximum: [
    at(
      [
        [1, 2, 0, -Infinity, Infinity],
        [1, 1, 0, -Infinity, Infinity],
      ],
      [1, 2, 0, -Infinity, Infinity],
      [
        [0.5, 2, 1.5, 2, 2.5],
        [0.5, 0, 1.5, 2, 2.5],
      ],
      [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
      ],
    ),
  ],
  minimum: [
    at(
      [
        [1, 2, 0, -Infinity, Infinity],
        [1, 1, 0, -Infinity, Infinity],
      ],
      [1, 1, 0, -Infinity, Infinity],
      [
        [0.5, 0, 1.5, 2, 2.5],
        [0.5, 2, 1.5, 2, 2.5],
      ],
      [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
      ],
    ),
  ],
  mul: [
    at(
      [
        [0, 0, 2],
        [0, 3, 0],
      ],
      [0, 0, 0],
      [
        [0, 6, 0],
        [0, 0, 6],
      ],
      [
        [2, 8, 18],
        [1, 4, 9],
      ],
    ),
  ],
  notEqual: "gives bool: no gradient",
  pow: [
    at(
      [
        [0, 0, 0, 0, 0, 0],
        [0, 0.5, 1, 1.5, 2, 3],
      ],
      [1, 0, 0, 0, 0, 0],
      [
        [0, Infinity, 3, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
      ],
      [
        [0, -Infinity, 0, Infinity, 50, 0],
        [0, NaN, 9, 0, 0, 0],
      ],
      {
        torch:
          "second [[NaN, NaN, NaN, NaN, NaN, NaN], [NaN, NaN, NaN, NaN, NaN, NaN]]; ours: the slope of b·aᵇ⁻¹ where a is 0, and 1/a where b is 0 and a is not",
      },
    ),
    at(
      [
        [0, 0, -2, -2, -1],
        [-1, -0.5, 0, 3, 2],
      ],
      [Infinity, Infinity, 1, -8, 1],
      [
        [-Infinity, -Infinity, 0, 48, -10],
        [-Infinity, -Infinity, NaN, NaN, NaN],
      ],
      [
        [Infinity, Infinity, NaN, NaN, NaN],
        [Infinity, Infinity, NaN, NaN, NaN],
      ],
      {
        torch:
          "second [[Infinity, Infinity, -9, NaN, NaN], [Infinity, Infinity, NaN, NaN, NaN]]; ours: the slope of b·aᵇ⁻¹ where a is 0, and 1/a where b is 0 and a is not",
      },
    ),
    at(
      [
        [2, Infinity, Infinity, NaN],
        [0, 0, 2, 0],
      ],
      [1, 1, Infinity, 1],
      [
        [0, 0, Infinity, 0],
        [Math.LN2, Infinity, Infinity, NaN],
      ],
      [
        [1, NaN, NaN, NaN],
        [1.46090603, NaN, Infinity, NaN],
      ],
      {
        torch:
          "second [[1, 0, NaN, NaN], [0.960906028, NaN, Infinity, NaN]]; ours: the slope of b·aᵇ⁻¹ where a is 0, and 1/a where b is 0 and a is not",
      },
    ),
  ],
  remainder: [
    at(
      [
        [2, -3, 0],
        [1, 2, 2],
      ],
      [0, 1, 0],
      [
        [1, 2, 3],
        [-2, 4, 0],
      ],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    ),
  ],
  rightShift: "gives integers: no gradient",
  straightThrough: [
    at(
      [
        [0, 2],
        [1, 3],
      ],
      [1, 3],
      [
        [1, 2],
        [0, 0],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ),
  ],
  sub: [
    at(
      [
        [Infinity, 0],
        [1, 0],
      ],
      [Infinity, 0],
      [
        [1, 2],
        [-1, -2],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ),
  ],
  truncDivide: [
    at(
      [
        [2, -3, 0],
        [1, 2, 2],
      ],
      [2, -1, 0],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
      [
        [0, 0, 0],
        [0, 0, 0],
      ],
    ),
  ],
  where: [
    at(
      [
        [1, 0],
        [Infinity, NaN],
        [NaN, 3],
      ],
      [Infinity, 3],
      [
        [1, 0],
        [0, 2],
      ],
      [
        [0, 0],
        [0, 0],
      ],
      { constant: [0] },
    ),
  ],
  all: "gives bool: no gradient",
  any: "gives bool: no gradient",
  argmax: "gives indices: no gradient",
  argmin: "gives indices: no gradient",
  euclidean: [
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      torch: "second [[NaN, NaN, NaN]]; ours: 0 where the norm is 0",
    }),
    at(
      [
        [
          [0, 0],
          [3, 4],
        ],
      ],
      [0, 5],
      [[0, 0, 1.2, 1.6]],
      [[0, 0, 0, 0]],
      { options: { axis: 1 }, torch: "second [[NaN, NaN, 0, 0]]; ours: 0 where the norm is 0" },
    ),
  ],
  logSumExp: [
    at([[-Infinity, 0, 1]], [1.31326169], [[0, 0.268941421, 0.731058579]], [[0, -0.196611933, 0.196611933]]),
    at([[-Infinity, -Infinity]], [-Infinity], [[0.5, 0.5]], [[0, 0]], {
      torch:
        "first [[NaN, NaN]], second [[NaN, NaN]]; ours: infinities that make the result share the gradient",
    }),
    at([[Infinity, 0]], [Infinity], [[1, 0]], [[0, 0]], {
      torch:
        "first [[NaN, 0]], second [[NaN, NaN]]; ours: infinities that make the result share the gradient",
    }),
    at(
      [
        [
          [Infinity, Infinity],
          [0, -Infinity],
          [2, 2],
        ],
      ],
      [Infinity, 0, 2.69314718],
      [[0.5, 0.5, 2, 0, 1.5, 1.5]],
      [[0, 0, 0, 0, -0.75, 0.75]],
      {
        options: { axis: 1 },
        torch:
          "first [[NaN, NaN, 2, 0, 1.5, 1.5]], second [[NaN, NaN, 0, 0, -0.75, 0.75]]; ours: infinities that make the result share the gradient",
      },
    ),
    at(
      [[3, 3, 3]],
      [4.09861229],
      [[0.333333333, 0.333333333, 0.333333333]],
      [[-0.333333333, 0, 0.333333333]],
    ),
  ],
  max: [
    at([[1, 1, 0]], [1], [[0.5, 0.5, 0]], [[0, 0, 0]]),
    at([[-Infinity, -Infinity]], [-Infinity], [[0.5, 0.5]], [[0, 0]]),
    at(
      [
        [
          [2, 2],
          [1, 3],
        ],
      ],
      [2, 3],
      [[0.5, 0.5, 0, 2]],
      [[0, 0, 0, 0]],
      { options: { axis: 1 } },
    ),
  ],
  mean: [at([[3]], [3], [[1]], [[0]])],
  min: [
    at([[1, 1, 3]], [1], [[0.5, 0.5, 0]], [[0, 0, 0]]),
    at([[Infinity, Infinity]], [Infinity], [[0.5, 0.5]], [[0, 0]]),
  ],
  prod: [
    at([[2, 0, 3]], [0], [[0, 6, 0]], [[6, 9, 4]]),
    at([[0, 0, 3]], [0], [[0, 0, 0]], [[6, 3, 0]], {
      torch: "second [[0, 0, 0]]; ours: the product of the others has a slope where two are 0",
    }),
    at([[0, 0, 0]], [0], [[0, 0, 0]], [[0, 0, 0]]),
    at(
      [
        [
          [0, 2, 3],
          [0, 0, 2],
          [1, 2, 3],
        ],
      ],
      [0, 0, 6],
      [[6, 0, 0, 0, 0, 0, 18, 9, 6]],
      [[12, 3, 2, 20, 16, 0, 126, 90, 66]],
      { options: { axis: 1 } },
    ),
  ],
  sum: [
    at(
      [
        [
          [Infinity, 1],
          [0, 2],
        ],
      ],
      [Infinity, 3],
      [[1, 2, 1, 2]],
      [[0, 0, 0, 0]],
      { options: { axis: 0 } },
    ),
  ],
  sumTo: [
    at(
      [
        [
          [0, 1],
          [2, 3],
        ],
      ],
      [2, 4],
      [[1, 2, 1, 2]],
      [[0, 0, 0, 0]],
      { options: { shape: [2] } },
    ),
  ],
  variance: [
    at([[3, 3, 3]], [0], [[0, 0, 0]], [[-1, 0, 1]]),
    at([[3]], [0], [[0]], [[0]], { options: { correction: 0 } }),
  ],
  std: [
    at([[3, 3, 3]], [0], [[0, 0, 0]], [[0, 0, 0]]),
    at([[3]], [0], [[0]], [[0]], { options: { correction: 0 } }),
    at([[3]], [NaN], [[NaN]], [[NaN]], { torch: "value none, first none, second none" }),
    at(
      [
        [
          [1, 1],
          [1, 2],
        ],
      ],
      [0, Math.SQRT1_2],
      [[0, 0, -Math.SQRT2, Math.SQRT2]],
      [[0, 0, 0, 0]],
      { options: { axis: 1 } },
    ),
  ],
  cumprod: [
    at([[2, 0, 3]], [2, 0, 0], [[1, 22, 0]], [[22, 29, 12]]),
    at([[0, 0, 3]], [0, 0, 0], [[1, 0, 0]], [[22, 11, 0]]),
  ],
  cumsum: [at([[0, Infinity]], [0, Infinity], [[3, 2]], [[0, 0]])],
  broadcastOp: "moves elements: no singular point",
  permuteOp: "moves elements: no singular point",
  reshapeOp: "moves elements: no singular point",
  scatterStridedOp: "moves elements: no singular point",
  stridedOp: "moves elements: no singular point",
  concatOp: "moves elements: no singular point",
  splitOp: "moves elements: no singular point",
  padOp: "moves elements: no singular point",
  gatherOp: [
    at(
      [
        [1, 2],
        [0, 0],
      ],
      [1, 1],
      [[3, 0]],
      [[0, 0]],
      { options: { axis: 0 }, constant: [1], integer: [1] },
    ),
  ],
  indexAddOp: "linear: no singular point",
  indexSelectOp: "moves elements: no singular point",
  scatterAddOp: "linear: no singular point",
  scatterOp: [
    at([[1, 2], [0], [5]], [5, 2], [[0, 2], [1]], [[0, 0], [0]], {
      options: { axis: 0 },
      constant: [1],
      integer: [1],
    }),
  ],
  tril: "moves elements: no singular point",
  triu: "moves elements: no singular point",
  argsort: "gives indices: no gradient",
  linearOp: "linear in each operand: no singular point",
  matmulOp: "linear in each operand: no singular point",
  crossEntropyOp: [
    at(
      [[[-Infinity, 0, 1]], [1], null],
      [1.31326169],
      [[0, -0.731058579, 0.731058579]],
      [[0, -0.196611933, 0.196611933]],
      { options: { axis: 1 }, constant: [1], integer: [1] },
    ),
    at(
      [[[-Infinity, 0, 1]], [0], null],
      [Infinity],
      [[-1, 0.268941421, 0.731058579]],
      [[0, -0.196611933, 0.196611933]],
      { options: { axis: 1 }, constant: [1], integer: [1] },
    ),
    at(
      [
        [
          [-Infinity, -Infinity],
          [0, 1],
        ],
        [-100, 0],
        null,
      ],
      [0, 1.31326169],
      [[0, 0, -1.46211716, 1.46211716]],
      [[0, 0, -0.393223866, 0.393223866]],
      {
        options: { axis: 1 },
        constant: [1],
        integer: [1],
        torch:
          "first [[NaN, NaN, -1.46211716, 1.46211716]], second [[NaN, NaN, -0.393223866, 0.393223866]]; ours: ignored positions and classes of weight 0 are not read",
      },
    ),
    at(
      [[[-Infinity, 0, 1]], [1], [0, 1, 2]],
      [1.31326169],
      [[0, -0.731058579, 0.731058579]],
      [[0, -0.196611933, 0.196611933]],
      { options: { axis: 1 }, constant: [1, 2], integer: [1] },
    ),
    at(
      [[[-Infinity, 0, 1]], [1], [0, 1, 2]],
      [1.11326169],
      [[0, -0.531058579, 0.531058579]],
      [[0, -0.196611933, 0.196611933]],
      {
        options: { axis: 1, labelSmoothing: 0.3 },
        constant: [1, 2],
        integer: [1],
        torch: "value [NaN]; ours: ignored positions and classes of weight 0 are not read",
      },
    ),
    at([[[-Infinity, 0, 1]], [0], [0, 1, 2]], [0], [[0, 0, 0]], [[0, 0, 0]], {
      options: { axis: 1 },
      constant: [1, 2],
      integer: [1],
      torch: "value [NaN]; ours: ignored positions and classes of weight 0 are not read",
    }),
  ],
  logSoftmaxOp: [
    at(
      [[-Infinity, 0, 1]],
      [-Infinity, -1.31326169, -0.313261688],
      [[1, 0.386351472, -1.38635147]],
      [[0, 1.1796716, -1.1796716]],
      { options: { axis: 0 } },
    ),
    at([[3, 3]], [-Math.LN2, -Math.LN2], [[-0.5, 0.5]], [[0.75, -0.75]], { options: { axis: 0 } }),
    at([[-Infinity, -Infinity]], [NaN, NaN], [[NaN, NaN]], [[NaN, NaN]], { options: { axis: 0 } }),
  ],
  softmaxOp: [
    at([[-Infinity, 0, 0]], [0, 0.5, 0.5], [[0, -0.25, 0.25]], [[0, 0, 0]], { options: { axis: 0 } }),
    at([[-Infinity, -Infinity]], [NaN, NaN], [[NaN, NaN]], [[NaN, NaN]], { options: { axis: 0 } }),
    at([[2]], [1], [[0]], [[0]], { options: { axis: 0 } }),
  ],
  layerNormOp: [at([[[2, 2, 2]], null, null], [0, 0, 0], [[-316.227766, 0, 316.227766]], [[0, 0, 0]])],
  batchNormOp: [at([[[2], [2]], null, null], [0, 0], [[-158.113883, 158.113883]], [[0, 0]])],
  rmsNormOp: [at([[[0, 0, 0]], null], [0, 0, 0], [[1000, 2000, 3000]], [[0, 0, 0]])],
  attentionOp: [
    at(
      [
        [
          [
            [
              [1, 0],
              [0, 2],
            ],
          ],
        ],
        [
          [
            [
              [1, 1],
              [0, -1],
            ],
          ],
        ],
        [[[[1], [2]]]],
        [
          [
            [
              [-Infinity, 0],
              [0, -Infinity],
            ],
          ],
        ],
      ],
      [2, 1],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [2, 1],
      ],
      [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0],
      ],
      { options: { scale: 1 }, constant: [3] },
    ),
    at(
      [
        [
          [
            [
              [1, 0],
              [0, 2],
            ],
          ],
        ],
        [
          [
            [
              [1, 1],
              [0, -1],
            ],
          ],
        ],
        [[[[1], [2]]]],
        [
          [
            [
              [-Infinity, -Infinity],
              [0, 0],
            ],
          ],
        ],
      ],
      [0, 1.01798621],
      [
        [0, 0, -0.0353254124, -0.0706508249],
        [0, -0.0706508249, 0, 0.0706508249],
        [1.96402758, 0.0359724199],
      ],
      [
        [0, 0, 0.137489428, 0.133677206],
        [-0.105976237, -0.148926093, 0.105976237, 0.148926093],
        [0.105976237, -0.105976237],
      ],
      {
        options: { scale: 1 },
        constant: [3],
        torch:
          "value [NaN, 1.01798621], first [[NaN, NaN, -0.0353254124, -0.0706508249], [NaN, NaN, NaN, NaN], [NaN, NaN]], second [[NaN, NaN, 0.137489428, 0.133677206], [NaN, NaN, NaN, NaN], [NaN, NaN]]; ours: a query that sees no key gives 0 and takes part in no gradient",
      },
    ),
  ],
  rotaryOp: "linear: no singular point",
  convOp: "linear in each operand: no singular point",
  foldOp: "moves elements: no singular point",
  inputGradOp: "linear in each operand: no singular point",
  unfoldOp: "moves elements: no singular point",
  weightGradOp: "linear in each operand: no singular point",
  avgGradOp: "linear: no singular point",
  avgOp: "linear: no singular point",
};
