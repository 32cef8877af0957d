/** The standard normal quantile, in arithmetic that gives the same bits in every engine. */

const bits = new Uint32Array(2);
const doubles = new Float64Array(bits.buffer);
/** Index of the word that holds a double's sign and exponent. */
const HIGH = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 1 : 0;

/** Natural logarithm of a normal double, by ln m = 2 artanh((m - 1) / (m + 1)) with m in [√½, √2). */
function log(x: number): number {
  doubles[0] = x;
  let exponent = (bits[HIGH] >>> 20) - 1023;
  bits[HIGH] = (bits[HIGH] & 0xfffff) | 0x3ff00000;
  let m = doubles[0];
  if (m > Math.SQRT2) {
    m /= 2;
    exponent++;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let sum = 1 / 21;
  for (let odd = 19; odd > 0; odd -= 2) sum = sum * z + 1 / odd;
  return exponent * Math.LN2 + 2 * s * sum;
}

// Numerator and denominator of the three rational approximations, highest power first.
const CENTRE = [
  [
    2509.0809287301227, 33430.57558358813, 67265.7709270087, 45921.95393154987, 13731.69376550946,
    1971.5909503065513, 133.14166789178438, 3.3871328727963665,
  ],
  [
    5226.495278852546, 28729.085735721943, 39307.89580009271, 21213.794301586597, 5394.196021424751,
    687.1870074920579, 42.31333070160091, 1,
  ],
];
const SHOULDER = [
  [
    0.0007745450142783414, 0.022723844989269184, 0.2417807251774506, 1.2704582524523684, 3.6478483247632045,
    5.769497221460691, 4.630337846156546, 1.4234371107496835,
  ],
  [
    1.0507500716444169e-9, 0.0005475938084995345, 0.015198666563616457, 0.14810397642748008, 0.6897673349851,
    1.6763848301838038, 2.053191626637759, 1,
  ],
];
const TAIL = [
  [
    2.0103343992922881e-7, 2.7115555687434876e-5, 0.0012426609473880784, 0.026532189526576124,
    0.29656057182850487, 1.7848265399172913, 5.463784911164114, 6.657904643501103,
  ],
  [
    2.0442631033899397e-15, 1.421511758316446e-7, 1.8463183175100548e-5, 0.0007868691311456133,
    0.014875361290850615, 0.1369298809227358, 0.599832206555888, 1,
  ],
];

function ratio([top, bottom]: number[][], x: number): number {
  let above = top[0];
  let under = bottom[0];
  for (let i = 1; i < 8; i++) {
    above = above * x + top[i];
    under = under * x + bottom[i];
  }
  return above / under;
}

/** The standard normal quantile of p in (0, 1), to about 1 part in 10^16. Wichura, 1988, algorithm AS 241 (PPND16). */
export function normalQuantile(p: number): number {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) return q * ratio(CENTRE, 0.180625 - q * q);
  const r = Math.sqrt(-log(q < 0 ? p : 1 - p));
  const z = r <= 5 ? ratio(SHOULDER, r - 1.6) : ratio(TAIL, r - 5);
  return q < 0 ? -z : z;
}
