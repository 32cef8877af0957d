/** The functions that can be packed, by the names of their ops. */
export const functionNames: readonly string[] = [
  "identity",
  "relu",
  "relu6",
  "leakyRelu",
  "elu",
  "gelu",
  "silu",
  "sigmoid",
  "tanh",
  "hardSigmoid",
  "hardSwish",
];
