import { call, choice, count, exact, matrix, type Table, times } from "./call.ts";

export const oneBit: Table = {
  signApproximation: call([exact(matrix, "list dtype")], {
    form: choice("grouped"),
    iterations: times(2),
    groups: count(2, "huge"),
    window: count(1, "huge null"),
  }),
};
