/**
 * What a model is made of and what it takes.
 *
 * @module bitgrad/cost
 */

import "../ops/all.ts";

export { type Summary, type SummaryOptions, type SummaryRow, summary } from "./summary.ts";
