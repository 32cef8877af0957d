/**
 * The words of a layer, which kernels/conv-i8/simd.ts writes:
 *
 *     0 x   1 bytes of an image   2 h   3 w   4 channels of a group   5 groups   6 filters of a group   7 width of the frame
 *     8 padTop   9 padLeft   10 strideH   11 strideW   12 kh   13 kw   14 dilationH   15 dilationW   16 oh   17 ow
 *     18 zeroX   19 1 where x is uint8   20 bits of a weight   21, 22 alpha, beta: a weight is alpha · code + beta
 *     23 weights   24 bytes of a group's weights   25 output
 *     26 0, or betas of filters in the place of 22: two int16 a filter, of panels of 8
 */
export class Layer {
  @inline static word(layer: usize, i: i32): i32 {
    return load<i32>(layer + (i << 2));
  }
}
