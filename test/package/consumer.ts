// Compiled by the strict compiler as a user of the package would, under each module resolution, from ESM and from CommonJS.
import { type DType, grad, noGrad, type Shape, ShapeError, type Tensor, tensor } from "bitgrad";
import * as cost from "bitgrad/cost";
import * as data from "bitgrad/data";
import * as discovery from "bitgrad/discovery";
import * as distill from "bitgrad/distill";
import * as io from "bitgrad/io";
import * as models from "bitgrad/models";
import { Linear, type Parameter, parameters } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import * as packed from "bitgrad/packed";
import * as quant from "bitgrad/quant";
import * as testing from "bitgrad/testing";
import * as train from "bitgrad/train";

const x: Tensor = tensor([[1, 2, 3]], { requiresGrad: true });
const layer = new Linear(3, 2);
const loss: Tensor = layer.forward(x).square().sum();
loss.backward();

const first: Parameter = parameters(layer)[0];
const dtype: DType = first.value.dtype;
const shape: Shape = noGrad(() => x.matmul(x, { transposeB: true })).shape;
const slope: Tensor = grad((a: Tensor) => a.mul(a).sum())(x);
optimizer(layer, sgd({ lr: 0.1 })).step();

// @ts-expect-error: a shape is a list of numbers
const wrong: string = x.shape;
// @ts-expect-error: there is no such method
x.noSuchMethod();

export const used = [
  dtype,
  shape,
  slope,
  wrong,
  ShapeError,
  cost,
  data,
  discovery,
  distill,
  io,
  models,
  packed,
  quant,
  testing,
  train,
];
