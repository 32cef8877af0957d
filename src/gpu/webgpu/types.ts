/** What is used of WebGPU, as https://www.w3.org/TR/webgpu names it: TypeScript's own library does not have it yet. */

/** What gives adapters: `navigator.gpu` in browsers, what `create` of the package webgpu gives in Node. */
export interface WebGpu {
  requestAdapter(options?: object): Promise<Adapter | null>;
  /** What its shading language has beyond the first version. */
  readonly wgslLanguageFeatures?: { has(name: string): boolean };
}

export interface Adapter {
  readonly features: { has(name: string): boolean };
  readonly limits: Readonly<Record<string, number>>;
  readonly info?: Readonly<Record<string, unknown>>;
  /** Before it became part of `info`. */
  readonly isFallbackAdapter?: boolean;
  requestDevice(options?: object): Promise<Device>;
}

export interface DeviceBuffer {
  readonly size: number;
  mapAsync(mode: number, offset?: number, size?: number): Promise<void>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

/** What is handed on unread. */
export type Group = object;

export interface Pipeline {
  getBindGroupLayout(index: number): object;
}

interface Pass {
  setPipeline(pipeline: Pipeline): void;
  setBindGroup(index: number, group: Group): void;
  dispatchWorkgroups(x: number, y?: number): void;
  end(): void;
}

export interface Encoder {
  beginComputePass(options?: object): Pass;
  copyBufferToBuffer(from: DeviceBuffer, at: number, to: DeviceBuffer, toAt: number, size: number): void;
  finish(): object;
}

export interface Device {
  readonly lost: Promise<{ readonly reason?: string; readonly message: string }>;
  readonly limits: Readonly<Record<string, number>>;
  readonly queue: {
    submit(commands: readonly object[]): void;
    writeBuffer(to: DeviceBuffer, at: number, from: ArrayBufferView, offset?: number, size?: number): void;
  };
  createBuffer(options: { size: number; usage: number; label?: string }): DeviceBuffer;
  createShaderModule(options: { code: string; label?: string }): object;
  createComputePipeline(options: object): Pipeline;
  createBindGroup(options: object): Group;
  createCommandEncoder(options?: object): Encoder;
  pushErrorScope(filter: "validation" | "out-of-memory" | "internal"): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  destroy(): void;
}

/** Flags of `GPUBufferUsage` and `GPUMapMode`: numbers that the standard fixes. */
export const usage = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128 } as const;
export const mapRead = 1;
