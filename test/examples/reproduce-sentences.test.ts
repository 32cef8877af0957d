/** The sentences of experiments: which are held out of those to train on. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { heldOutOf } from "../../examples/reproduce/sentences.ts";

it("holds every tenth sentence out of those to train on, each with its class", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 60 }), (count) => {
      const y = Array.from({ length: count }, (_, i) => i);
      const { train, scored } = heldOutOf({ text: y.map(String), y });
      expect(scored.y).toEqual(y.filter((i) => i % 10 === 9));
      expect([...train.y, ...scored.y].sort((a, b) => a - b)).toEqual(y);
      for (const part of [train, scored]) expect(part.text).toEqual(part.y.map(String));
    }),
  );
});
