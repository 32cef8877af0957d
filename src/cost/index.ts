import "../ops/all.ts";

export { type Summary, type SummaryOptions, type SummaryRow, summary } from "./summary.ts";
