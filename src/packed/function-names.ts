/** The functions that can be packed, by the names of their ops. */
export const functionNames: readonly string[] = ["identity", "relu", "gelu", "silu", "sigmoid", "tanh"];
