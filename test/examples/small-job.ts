/** A job of two phases that takes about a second, to be interrupted: its last line tells the bits it came to. */

import { setTimeout } from "node:timers/promises";
import { randn } from "bitgrad";
import { Dropout, Linear, mseLoss, Sequential, stateDict } from "bitgrad/nn";
import { optimizer, sgd } from "bitgrad/optim";
import { job } from "../../examples/run.ts";

await job<{ busy?: true; twin?: true }>(
  "small-job",
  {
    about: "Two phases.",
    options: (command) =>
      command
        .option("--busy", "hangs once it is interrupted")
        .option("--twin", "hears Ctrl-C once more, as from npm"),
  },
  async ({ flags, signal, train }) => {
    const hang = () => {
      for (;;);
    };
    if (flags.busy) signal.addEventListener("abort", () => setImmediate(hang));
    if (flags.twin) signal.addEventListener("abort", () => process.kill(process.pid, "SIGINT"));
    const numbers: number[] = [];
    for (const phase of ["first", "second"]) {
      const model = new Sequential(new Linear(4, 4), new Dropout(0.5), new Linear(4, 1));
      const data = [{ x: randn([8, 4]), y: randn([8, 1]) }];
      const { losses } = await train(phase, model, {
        data,
        loss: (net, { x, y }) => mseLoss(net.forward(x), y),
        optimizer: optimizer(model, sgd({ lr: 0.01, momentum: 0.9 })),
        steps: 100,
        checkpoint: { every: 5 },
        onStep: async () => {
          await setTimeout(3);
        },
      });
      numbers.push(...losses.slice(-3), ...Object.values(stateDict(model)).flatMap(({ data }) => [...data]));
    }
    console.log(JSON.stringify(numbers));
  },
);
