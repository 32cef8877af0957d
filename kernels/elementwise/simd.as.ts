/** Elementwise float32 loops on the heap, in AssemblyScript; kernels/elementwise/reference.ts states the contract. */

export * from "./binary.as";
export * from "./compare.as";
export * from "./tuned.as";
export * from "./unary.as";
