import {
  adadelta,
  adagrad,
  adam,
  adamax,
  adamw,
  lion,
  nadam,
  radam,
  rmsprop,
  sgd,
  signSgd,
  signum,
} from "bitgrad/optim";
import type { UpdateRule } from "../../src/optim/rule.ts";

/** Every rule, by name: the contract suite runs over this list. */
export const rules = {
  sgd,
  adam,
  adamw,
  radam,
  nadam,
  adadelta,
  adamax,
  rmsprop,
  adagrad,
  lion,
  signSgd,
  signum,
} as unknown as Record<string, (options: object) => UpdateRule>;
