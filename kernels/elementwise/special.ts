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
const smallP = [1.28379167095512558561e-1, -3.25042107247001499370e-1, -2.84817495755985104766e-2, -5.77027029648944159157e-3, -2.37630166566501626084e-5];
const smallQ = [1, 3.97917223959155352819e-1, 6.50222499887672944485e-2, 5.08130628187576562776e-3, 1.32494738004321644526e-4, -3.96022827877536812320e-6];
const nearOneP = [-2.36211856075265944077e-3, 4.14856118683748331666e-1, -3.72207876035701323847e-1, 3.18346619901161753674e-1, -1.10894694282396677476e-1, 3.54783043256182359371e-2, -2.16637559486879084300e-3];
const nearOneQ = [1, 1.06420880400844228286e-1, 5.40397917702171048937e-1, 7.18286544141962662868e-2, 1.26171219808761642112e-1, 1.36370839120290507362e-2, 1.19844998467991074170e-2];
const middleP = [-9.86494403484714822705e-3, -6.93858572707181764372e-1, -1.05586262253232909814e1, -6.23753324503260060396e1, -1.62396669462573470355e2, -1.84605092906711035994e2, -8.12874355063065934246e1, -9.81432934416914548592];
const middleQ = [1, 1.96512716674392571292e1, 1.37657754143519042600e2, 4.34565877475229228821e2, 6.45387271733267880336e2, 4.29008140027567833386e2, 1.08635005541779435134e2, 6.57024977031928170135, -6.04244152148580987438e-2];
const tailP = [-9.86494292470009928597e-3, -7.99283237680523006574e-1, -1.77579549177547519889e1, -1.60636384855821916062e2, -6.37566443368389627722e2, -1.02509513161107724954e3, -4.83519191608651397019e2];
const tailQ = [1, 3.03380607434824582924e1, 3.25792512996573918826e2, 1.53672958608443695994e3, 3.19985821950859553908e3, 2.55305040643316442583e3, 4.74528541206955367215e2, -2.24409524465858183362e1];

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
    const y = 8.45062911510467529297e-1 + polynomial(s, nearOneP) / polynomial(s, nearOneQ);
    return x < 0 ? -y : y;
  }
  if (a >= 6) return x < 0 ? -1 : 1;
  const s = 1 / (a * a);
  const ratio = a < 1 / 0.35 ? polynomial(s, middleP) / polynomial(s, middleQ) : polynomial(s, tailP) / polynomial(s, tailQ);
  // exp(−a²) in two factors: the square of the float32 head is exact.
  const head = Math.fround(a);
  const y = 1 - (Math.exp(-head * head - 0.5625) * Math.exp((head - a) * (head + a) + ratio)) / a;
  return x < 0 ? -y : y;
}

/** The inverse of erf on (−1, 1): Giles, 2010, "Approximating the erfinv function", then two Newton steps. */
export function erfinv(y: number): number {
  if (!(y > -1 && y < 1)) return y === 1 ? Number.POSITIVE_INFINITY : y === -1 ? Number.NEGATIVE_INFINITY : Number.NaN;
  const w = -Math.log1p(-y * y);
  let x = y;
  if (w < 5) {
    x *= polynomial(w - 2.5, [1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-6, -3.5233877e-6, 3.43273939e-7, 2.81022636e-8]);
  } else {
    x *= polynomial(Math.sqrt(w) - 3, [2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844, 0.00134934322, 0.000100950558, -0.000200214257]);
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
export const softplus = (x: number): number => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x)));
