/**
 * Tensors and gradients: a line is fitted twice, once by gradient descent and once by Newton's method, which needs the
 * gradient of a gradient.
 *
 * You learn: how tensors are made, shaped and read, how a function becomes the function of its gradient, what `scope` is
 * for. Time: 2 seconds. Data: none.
 *
 *   npx tsx examples/01-tensors-and-gradients/main.ts
 */

import assert from "node:assert/strict";
import { grad, hvp, manualSeed, randn, scope, stack, type Tensor, tensor, valueAndGrad } from "bitgrad";

const quick = process.argv.includes("--quick");

// Every random number below follows from this seed, on every machine.
manualSeed(1);

// A tensor has a shape and a type. Operations are methods; shapes broadcast as in NumPy.
const a = tensor([1, 2, 3, 4]).reshape([2, 2]);
console.log(a.shape, a.dtype); // [2, 2] float32
console.log(a.matmul(a).toArray()); // [[7, 10], [15, 22]]
console.log(a.add(tensor([10, 20])).toArray()); // [[11, 22], [13, 24]]
console.log(a.mean({ axis: 0 }).toArray(), a.sum().item()); // [2, 3] 10

// `grad` makes of f, which gives one number, the function of its gradient. It can be applied again.
const cube = (x: Tensor) => x.pow(3).sum();
console.log(grad(cube)(tensor([1, 2]))!.toArray()); // [3, 12]: 3x²
console.log(grad((x: Tensor) => grad(cube)(x)!.sum())(tensor([1, 2]))!.toArray()); // [6, 12]: 6x

// The gradient is exact, up to rounding. A difference quotient only comes near to it.
const near = (cube(tensor([2.01])).item() - cube(tensor([1.99])).item()) / 0.02;
console.log(`slope of x³ at 2: 12 by grad, ${near.toFixed(4)} by a difference`);

// Data for the fit: 200 points near the plane y = 3·x₁ − 2·x₂ + 1.
const x = randn([200, 2]);
const y = x
  .matmul(tensor([3, -2]))
  .add(1)
  .add(randn([200]).mul(0.1));

// The weights w = (w₁, w₂, b) are one vector, so that both methods below are one line.
const predict = (w: Tensor): Tensor => x.matmul(w.slice([[0, 2]])).add(w.select(2));
const loss = (w: Tensor): Tensor => predict(w).sub(y).square().mean();

// 1. Gradient descent: w ← w − rate · gradient. `scope` gives the memory of each step back at once; the tensor that its
//    function returns lives on. Outside of scopes the engine's garbage collector does that, later and slower.
const lossAndGrad = valueAndGrad(loss);
let descended: Tensor = tensor([0, 0, 0]);
const steps = quick ? 60 : 200;
for (let step = 0; step < steps; step++) {
  descended = scope(() => {
    const { value, grad: slope } = lossAndGrad(descended);
    if (step % 20 === 0) console.log(`step ${step}: loss ${value.item().toFixed(5)}`);
    return descended.sub(slope!.mul(0.1));
  });
}
console.log("descent:", descended.toArray());

// 2. Newton's method: w ← w − H⁻¹ · gradient. The Hessian H of a quadratic is the same everywhere, so one step from
//    anywhere ends at the optimum. `hvp(f)(x, v)` is H·v without H; its three unit vectors give the columns.
const start = tensor([-5, 5, 5]);
const units = [tensor([1, 0, 0]), tensor([0, 1, 0]), tensor([0, 0, 1])];
const hessian = stack(units.map((unit) => hvp(loss)(start, unit)));
const newton = start.sub(solve(hessian, grad(loss)(start)!));
console.log("newton: ", newton.toArray());

/** Solves A·z = b for a small A by conjugate gradients: A is symmetric and positive, as Hessians of squares are. */
function solve(A: Tensor, b: Tensor): Tensor {
  let z = b.mul(0);
  let residual = b;
  let direction = b;
  for (let i = 0; i < b.size; i++) {
    const length = residual.square().sum();
    const image = A.matmul(direction);
    const step = length.div(direction.mul(image).sum());
    z = z.add(direction.mul(step));
    residual = residual.sub(image.mul(step));
    direction = residual.add(direction.mul(residual.square().sum().div(length)));
  }
  return z;
}

// Both found the plane that the points were drawn from, up to the noise of 200 of them, and both found the same one.
const truth = tensor([3, -2, 1]);
const error = newton.sub(truth).abs().max().item();
const apart = newton.sub(descended).abs().max().item();
assert(error < 0.03, `the fitted plane is ${error} off`);
assert(apart < 1e-3, `descent and Newton differ by ${apart}`);
assert(Math.abs(near - 12) < 0.01, `the difference quotient is ${near}`);
console.log(
  `shown: both fits are the plane within ${error.toFixed(4)}, and differ by ${apart.toExponential(1)}`,
);
