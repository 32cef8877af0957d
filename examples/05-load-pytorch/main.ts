/**
 * Weights from PyTorch: a ResNet-20 that was trained there runs here, to the same logits. Then the names of Hugging Face's
 * GPT-2, and a table of names of one's own.
 *
 * You learn: what `load` needs to know of a checkpoint, what it checks, and how names and layouts are translated.
 * Time: 9 seconds. Data: weights/resnet-cifar10 and cifar10-subset in the folder that BITGRAD_DATA names.
 *
 *   npx tsx examples/05-load-pytorch/main.ts
 *
 * A .pt, .pth or .bin file is pickled Python, which runs code when it is read: it is converted there, once.
 *
 *   import torch
 *   from safetensors.torch import save_file            # pip install safetensors
 *   state = torch.load("resnet20.th", map_location="cpu", weights_only=True)
 *   state = state.get("state_dict", state)             # training scripts often wrap it
 *   state = {name.removeprefix("module."): t.contiguous() for name, t in state.items()}
 *   save_file(state, "resnet20.safetensors")           # model.state_dict() works as it is
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { noGrad, scope, type Tensor, tensor } from "bitgrad";
import { cifar10Classes, cifar10Subset } from "bitgrad/data";
import { composeNames, gpt2Names, load, readSafetensors, save } from "bitgrad/io";
import { gptNames, ResNet } from "bitgrad/models";
import { evaluate, LayerNorm, Linear } from "bitgrad/nn";
import { accuracy } from "bitgrad/train";

const quick = process.argv.includes("--quick");
const folder = join(process.env.BITGRAD_DATA ?? ".", "weights/resnet-cifar10");

// 1. Names and shapes are PyTorch's own, conv1.weight, layer1.0.bn1.running_mean, …: nothing has to be said. `load` throws
//    for a name or a shape too many or too few, so a file of another model cannot go in by halves.
const file = readFileSync(join(folder, "resnet20.safetensors"));
console.log(Object.keys(readSafetensors(file).tensors).slice(0, 4));
const model = evaluate(await load(file, { into: new ResNet({ blocks: 3 }) }));

// The numbers that went in when it was trained must go in here: pixels to [0, 1], less the mean, over the deviation.
const stored = JSON.parse(readFileSync(join(folder, "resnet20.verify.json"), "utf8"));
const { x, y } = await cifar10Subset({ split: "test" });
const [mean, std] = [stored.mean, stored.std].map((numbers) => tensor(numbers).reshape([3, 1, 1]));
const logits = (from: number, to: number): Tensor =>
  scope(() =>
    noGrad(() =>
      model.forward(
        x
          .slice([[from, to]])
          .div(255)
          .sub(mean)
          .div(std),
      ),
    ),
  );

// The file beside the weights holds the logits that PyTorch's own arithmetic gives for the first 8 pictures.
const first = logits(0, 8);
const worst = first.sub(tensor(stored.logits_first8)).abs().max().item();
console.log(Array.from(first.argmax({ axis: 1 }).data, (c) => cifar10Classes[c]).join(", "));
console.log(`the largest difference from the stored logits: ${worst.toExponential(1)}`);
const count = quick ? 200 : 2000;
let right = 0;
for (let i = 0; i < count; i += 100) right += 100 * accuracy(logits(i, i + 100), y.slice([[i, i + 100]]));

// 2. GPT-2 of Hugging Face has its own names, keeps (in, out) matrices, and joins query, key and value. Both maps together
//    translate: `gpt2Names` the layout, `gptNames` the names. With the published file it would be
//
//      load("gpt2/model.safetensors", { into: new Gpt(Gpt.configs.gpt2), rename: composeNames(gpt2Names, gptNames) })
const rename = composeNames(gpt2Names, gptNames);
const renamed = rename("transformer.h.3.attn.c_attn.weight", [768, 2304]);
console.log(renamed); // three names, and transposed

// 3. A model of one's own, and a file that names things otherwise: a table of prefixes says what is what.
class Head {
  norm = new LayerNorm(4);
  classify = new Linear(4, 2);
  forward = (h: Tensor): Tensor => this.classify.forward(this.norm.forward(h));
}
const trained = new Head();
const { weight, bias } = trained.classify;
const foreign = await save(null, {
  "model.ln.weight": trained.norm.weight!.value,
  "model.ln.bias": trained.norm.bias!.value,
  "model.fc.weight": weight.value,
  "model.fc.bias": bias!.value,
  "optimizer.step": tensor([7]),
});
const table = { "model.ln": "norm", "model.fc": "classify", optimizer: null }; // null: leave it out
const taken = await load(foreign, { into: new Head(), rename: table });
const h = tensor([[1, 2, 3, 5]]);

assert(worst < 1e-4, `the logits differ from PyTorch's by ${worst}`);
assert(quick || right / count === stored.accuracy_on_first_n_of_subset, `accuracy ${right / count}`);
assert.deepEqual(taken.forward(h).toArray(), trained.forward(h).toArray());
console.log(`shown: logits as stored within ${worst.toExponential(1)}; ${right} of ${count} pictures right`);
