/** The laws of what users write themselves, by kind. */

import { optimizerLaws } from "./optimizer-laws.ts";
import { quantizerLaws } from "./quantizer-laws.ts";

/** Lists of laws, to be run by any test runner: `laws.optimizer(make, options)`, `laws.quantizer(make, options)`. */
export const laws = { optimizer: optimizerLaws, quantizer: quantizerLaws };
