/** Convolution of images of codes with filters of codes, in AssemblyScript; kernels/conv-i8/reference.ts states the contract. */

export { dense, denseScratch, tile } from "./dense.as";
export { depthwise, depthwiseScratch, windows3 } from "./depthwise.as";
