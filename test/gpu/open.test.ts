/** What openGpu makes of what gives no adapter or device: a BackendError, or gpu.js where WebGPU was not asked for. */

import { BackendError } from "bitgrad";
import { openGpu } from "bitgrad/gpu";
import { afterEach, expect, it, vi } from "vitest";

const adapter = (requestDevice: () => unknown) => ({ limits: {}, features: new Set(), requestDevice });
const giving = (requestAdapter: () => unknown) => ({ requestAdapter });
const thrown = (): never => {
  throw new TypeError("no driver");
};

const broken: readonly [what: string, webgpu: object, message: string][] = [
  ["no adapter", giving(async () => null), "needs an adapter, got none"],
  ["an adapter that is none", giving(async () => ({})), "needs a device, got "],
  ["adapters by a call that throws", giving(thrown), "needs a device, got no driver"],
  ["adapters by a call that rejects", giving(async () => thrown()), "needs a device, got no driver"],
  ["a device by a call that throws", giving(async () => adapter(thrown)), "needs a device, got no driver"],
  [
    "a device by a call that rejects with nothing",
    giving(async () => adapter(() => Promise.reject(undefined))),
    "needs a device, got undefined",
  ],
  [
    "a device that is none",
    giving(async () => adapter(async () => null)),
    "needs a device, got null for a device",
  ],
  [
    "a device that has nothing but buffers",
    giving(async () => adapter(async () => ({ createBuffer() {} }))),
    "needs a device, got one without createShaderModule",
  ],
];

afterEach(() => {
  vi.unstubAllGlobals();
});

it.each(broken)("what gives %s is an error where it was given", async (_, webgpu, message) => {
  const opening = openGpu({ webgpu });
  await expect(opening).rejects.toThrow(`openGpu: executor webgpu ${message}`);
  await expect(opening).rejects.toBeInstanceOf(BackendError);
});

it.each(broken)("a browser that gives %s is taken for one without WebGPU", async (_, gpu, message) => {
  vi.stubGlobal("navigator", { gpu });
  const opened = await openGpu();
  expect(opened.explain().executor).toBe("gpu.js");
  await opened.close();
  await expect(openGpu({ executor: "webgpu" })).rejects.toThrow(`openGpu: executor webgpu ${message}`);
});

it("a browser whose WebGPU is something else has none", async () => {
  vi.stubGlobal("navigator", { gpu: {} });
  await expect(openGpu({ executor: "webgpu" })).rejects.toThrow("needs WebGPU, got none here");
});
