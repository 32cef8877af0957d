// Run as `node rules.mjs <mode> <rule>`: whether two ways into the library share one state. Exits with 1 where they do not.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const [mode, rule] = process.argv.slice(2);
const load = { esm: (name) => import(name), cjs: createRequire(import.meta.url) };
const [first, second] = {
  esm: ["esm", "esm"],
  cjs: ["cjs", "cjs"],
  both: ["esm", "cjs"],
  swapped: ["cjs", "esm"],
}[mode];

const core = await load[first]("bitgrad");
const nn = await load[second]("bitgrad/nn");
const optim = await load[second]("bitgrad/optim");
const other = await load[second]("bitgrad");
assert.equal(
  core.Tensor === other.Tensor,
  first === second,
  "the two ways are two copies only across formats",
);

const rules = {
  tape() {
    const layer = new nn.Linear(3, 2);
    const x = core.ones([4, 3]);
    assert.equal(layer.forward(x).requiresGrad, true);
    assert.equal(
      core.noGrad(() => layer.forward(x).requiresGrad),
      false,
    );

    const loss = core.sum(layer.forward(x));
    loss.backward();
    const [weight] = nn.parameters(layer);
    assert.deepEqual(weight.grad.toArray(), [
      [4, 4, 4],
      [4, 4, 4],
    ]);

    const slope = other.grad((a) => core.sum(core.mul(a, a)))(core.tensor([1, 2]));
    assert.deepEqual(slope.toArray(), [2, 4]);

    const before = weight.value.toArray();
    optim.optimizer(layer, optim.sgd({ lr: 0.5 })).step();
    assert.deepEqual(
      weight.value.toArray(),
      before.map((row) => row.map((w) => Math.fround(w - 2))),
    );
  },

  heap() {
    const start = core.memory().tensors;
    let inside;
    const kept = core.scope(() => {
      inside = other.zeros([8]);
      assert.ok(core.memory().tensors > start);
      return new nn.Linear(8, 1, { bias: false }).forward(other.ones([2, 8]));
    });
    assert.throws(() => inside.data, /released/);
    assert.deepEqual(kept.shape, [2, 1]);
    assert.equal(kept.toArray().length, 2);
    assert.deepEqual(core.memory(), other.memory());
  },

  async threads() {
    await core.setThreads(2);
    assert.equal(other.backendInfo().threads, 2);
    const sum = ({ ones, scope }) =>
      scope(() =>
        ones([300, 300])
          .matmul(ones([300, 300]))
          .sum()
          .item(),
      );
    assert.deepEqual([sum(core), sum(other)], [300 ** 3, 300 ** 3]);
    await other.setThreads(1);
    assert.equal(core.backendInfo().threads, 1);
  },

  generator() {
    const draw = ({ randn }) => randn([5]).toArray();
    core.manualSeed(7);
    const stream = [draw(core), draw(core)];
    core.manualSeed(7);
    assert.deepEqual([draw(other), draw(core)], stream);
    other.manualSeed(7);
    assert.deepEqual([draw(core), draw(other)], stream);

    const weights = () => new nn.Linear(3, 2).weight.value.toArray();
    core.manualSeed("a");
    const first = weights();
    assert.notDeepEqual(weights(), first);
    core.manualSeed("a");
    assert.deepEqual(weights(), first);
  },

  classes() {
    const mine = core.tensor([1, 2]);
    const theirs = other.tensor([3, 4]);
    assert.ok(mine instanceof other.Tensor && theirs instanceof core.Tensor);
    assert.deepEqual(mine.add(theirs).toArray(), [4, 6]);
    assert.deepEqual(core.concat([mine, theirs]).toArray(), [1, 2, 3, 4]);
    const refuses = (copy, thrown) => assert.throws(() => copy.tensor([1, 2]).add([1, 2, 3]), thrown);
    refuses(core, (error) => error instanceof other.ShapeError && error instanceof other.BitgradError);
    refuses(other, (error) => error instanceof core.ShapeError && !(error instanceof core.GradError));
  },
};

await rules[rule]();
