/** Functions that Math lacks, in double precision. */

/** Rounds half to even. The one home of rounding: Math.round rounds halves up. */
export function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest < 0.5) return floor === 0 && (x < 0 || Object.is(x, -0)) ? -0 : floor;
  if (rest > 0.5) return floor + 1 === 0 ? -0 : floor + 1;
  const even = floor % 2 === 0 ? floor : floor + 1;
  return even === 0 && x < 0 ? -0 : even;
}

const polynomial = (x: number, c: readonly number[]): number => {
  let sum = 0;
  for (let i = c.length - 1; i >= 0; i--) sum = sum * x + c[i];
  return sum;
};

// Rational approximations of Sun's fdlibm, s_erf.c (1993); the error is below one unit in the last place.
const smallP = [
  0.12837916709551256, -0.3250421072470015, -0.02848174957559851, -0.005770270296489442,
  -2.3763016656650163e-5,
];
const smallQ = [
  1, 0.39791722395915535, 0.0650222499887673, 0.005081306281875766, 0.00013249473800432164,
  -3.960228278775368e-6,
];
const nearOneP = [
  -0.0023621185607526594, 0.41485611868374833, -0.3722078760357013, 0.31834661990116175, -0.11089469428239668,
  0.035478304325618236, -0.002166375594868791,
];
const nearOneQ = [
  1, 0.10642088040084423, 0.540397917702171, 0.07182865441419627, 0.12617121980876164, 0.01363708391202905,
  0.011984499846799107,
];
const middleP = [
  -0.009864944034847148, -0.6938585727071818, -10.558626225323291, -62.375332450326006, -162.39666946257347,
  -184.60509290671104, -81.2874355063066, -9.814329344169145,
];
const middleQ = [
  1, 19.651271667439257, 137.65775414351904, 434.56587747522923, 645.3872717332679, 429.00814002756783,
  108.63500554177944, 6.570249770319282, -0.0604244152148581,
];
const tailP = [
  -0.0098649429247001, -0.799283237680523, -17.757954917754752, -160.63638485582192, -637.5664433683896,
  -1025.0951316110772, -483.5191916086514,
];
const tailQ = [
  1, 30.33806074348246, 325.7925129965739, 1536.729586084437, 3199.8582195085955, 2553.0504064331644,
  474.52854120695537, -22.44095244658582,
];

/** The error function 2/√π ∫₀ˣ exp(−t²) dt. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(a)) return x;
  if (a < 0.84375) {
    const z = x * x;
    return x + (x * polynomial(z, smallP)) / polynomial(z, smallQ);
  }
  if (a < 1.25) {
    const s = a - 1;
    const y = 0.8450629115104675 + polynomial(s, nearOneP) / polynomial(s, nearOneQ);
    return x < 0 ? -y : y;
  }
  if (a >= 6) return x < 0 ? -1 : 1;
  const s = 1 / (a * a);
  const ratio =
    a < 1 / 0.35
      ? polynomial(s, middleP) / polynomial(s, middleQ)
      : polynomial(s, tailP) / polynomial(s, tailQ);
  // exp(−a²) in two factors: the square of the float32 head is exact.
  const head = Math.fround(a);
  const y = 1 - (Math.exp(-head * head - 0.5625) * Math.exp((head - a) * (head + a) + ratio)) / a;
  return x < 0 ? -y : y;
}

/** The inverse of erf on (−1, 1): Giles, 2010, "Approximating the erfinv function", then two Newton steps. */
export function erfinv(y: number): number {
  if (!(y > -1 && y < 1))
    return y === 1 ? Number.POSITIVE_INFINITY : y === -1 ? Number.NEGATIVE_INFINITY : Number.NaN;
  const w = -Math.log1p(-y * y);
  let x = y;
  if (w < 5) {
    x *= polynomial(
      w - 2.5,
      [
        1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-6, -3.5233877e-6,
        3.43273939e-7, 2.81022636e-8,
      ],
    );
  } else {
    x *= polynomial(
      Math.sqrt(w) - 3,
      [
        2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844, 0.00134934322,
        0.000100950558, -0.000200214257,
      ],
    );
  }
  for (let i = 0; i < 2; i++) x -= ((erf(x) - y) * Math.sqrt(Math.PI)) / (2 * Math.exp(-x * x));
  return x;
}

export const sigmoid = (x: number): number => {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
};

/** log(1 + exp(x)) without overflow. */
export const softplus = (x: number): number =>
  x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));

/** log σ(x). */
export const logSigmoid = (x: number): number => -softplus(-x);

/** IEEE pow where JavaScript differs: 1 to anything is 1. */
export const power = (a: number, b: number): number =>
  a === 1 ? 1 : a === -1 && (b === Number.POSITIVE_INFINITY || b === Number.NEGATIVE_INFINITY) ? 1 : a ** b;
