/** The laws of what users write themselves, by kind. */

import { optimizerLaws } from "./optimizer-laws.ts";

/** Lists of laws, to be run by any test runner: `laws.optimizer(make, options)`. */
export const laws = { optimizer: optimizerLaws };
