/** What a convolution is of. */

import type { Windows } from "../windows.ts";

export interface ConvGeometry extends Windows {
  /** Filters. */
  o: number;
  groups: number;
}
