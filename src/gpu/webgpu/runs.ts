/** Kernels of WebGPU by their source text: compiled once, encoded in order, and run where something is read. */

import { BackendError } from "../../errors.ts";
import { take } from "../../packed/values.ts";
import { Engine, type Far, type GpuAdapter, type GpuReport } from "../engine.ts";
import { checkKernel } from "./limits.ts";
import { Memory } from "./memory.ts";
import {
  type Device,
  type DeviceBuffer,
  type Encoder,
  type Group,
  mapRead,
  type Pipeline,
  usage,
} from "./types.ts";
import { mostSizes } from "./wgsl.ts";

/** Numbers, or words of codes, in a buffer of a device. */
export class Block implements Far {
  readonly length: number;
  readonly op: string;
  readonly buffer: DeviceBuffer;
  private readonly engine: { download(block: Block): Promise<Float32Array> };

  constructor(engine: Block["engine"], op: string, buffer: DeviceBuffer, length: number) {
    this.engine = engine;
    this.op = op;
    this.buffer = buffer;
    this.length = length;
  }

  read(): Promise<Float32Array> {
    return this.engine.download(this);
  }
}

/** Also of one that another copy of the library made. */
export const isBlock = (data: unknown): data is Block =>
  typeof (data as Partial<Block> | null)?.buffer === "object" &&
  typeof (data as Partial<Block> | null)?.read === "function";

/** A kernel, and what it reads and writes. */
export interface Call {
  readonly op: string;
  /** Why it runs so. */
  readonly reason: string;
  /** WGSL, whose bindings are what it writes, what it reads, and its sizes, in this order. */
  readonly code: string;
  readonly inputs: readonly Block[];
  readonly workgroups: number;
  /** At most 12 integers that are not compiled into it. */
  readonly sizes?: readonly number[];
}

/** What a device has that kernels ask for. */
export interface Abilities {
  /** Whether its language has dot4I8Packed. */
  readonly packedDots: boolean;
  /** Threads that follow each other and hand numbers to one another without memory: a power of two, 1 for none. */
  readonly lanes: number;
}

/** Compiled kernels that are kept; the one that was used least lately goes first. */
const mostKernels = 1024;
/** Bind groups that are kept. */
const mostGroups = 4096;
/** Bytes from the sizes of one kernel to those of the next, and of all until they are run. */
const [sizesStep, sizesRoom] = [256, 2 ** 16];
/** How long after what a loss broke it may be heard of itself. */
const lossMs = 100;
/** Workgroups along one axis, of which every device has so many. */
export const mostWorkgroups = 65535;

export class WebGpuRuns extends Engine {
  readonly abilities: Abilities;
  private readonly device: Device;
  /** What the device comes from: in Node it must not be collected before the device. */
  readonly source: object;
  private readonly adapter: GpuAdapter;
  private readonly memory: Memory;
  private readonly pipelines = new Map<string, { pipeline: Pipeline; id: number }>();
  private readonly groups = new Map<string, Group>();
  private readonly ids = new WeakMap<DeviceBuffer, number>();
  private lastId = 0;
  private readonly uploads = new WeakMap<object, Block>();
  /** Gives buffers back whose arrays nobody holds any more. */
  private readonly gone = new FinalizationRegistry<DeviceBuffer>((buffer) => buffer.destroy());
  private readonly sizes = new Uint32Array(sizesRoom / 4);
  private readonly sizesBuffer: DeviceBuffer;
  private sizesUsed = 0;
  private encoder: Encoder | null = null;
  private pass: ReturnType<Encoder["beginComputePass"]> | null = null;
  private readonly encoded = new Set<string>();
  private lost: string | null = null;

  constructor(device: Device, source: object, adapter: GpuAdapter, abilities: Abilities) {
    super();
    this.source = source;
    this.device = device;
    this.adapter = adapter;
    this.abilities = abilities;
    this.memory = new Memory(device);
    this.sizesBuffer = this.memory.create("sizes", sizesRoom, usage.uniform | usage.copyDst);
    void device.lost.then(({ reason, message }) => {
      this.lost = message || reason || "no reason";
    });
  }

  protected about(): Omit<GpuReport, "ran" | "reasons"> {
    const { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize } = this.device.limits;
    const { packedDots, lanes } = this.abilities;
    return {
      executor: "webgpu",
      mode: "webgpu",
      gpu: true,
      adapter: this.adapter,
      lanes: 32,
      limits: { maxBufferSize, maxStorageBufferBindingSize, maxComputeWorkgroupStorageSize },
      features: [
        ...(packedDots ? ["packed_4x8_integer_dot_product"] : []),
        ...(lanes > 1 ? [`subgroups of ${lanes}`] : []),
      ],
    };
  }

  protected override check(what: string): void {
    super.check(what);
    if (this.lost !== null) throw this.loss(what);
  }

  private loss(op: string): BackendError {
    return new BackendError(`gpu: ${op} needs its device, got one that is lost: ${this.lost}; open another`);
  }

  bring(numbers: Float32Array | Uint32Array): Block {
    const buffer = this.memory.take("upload", 4 * numbers.length, numbers);
    return this.passing(new Block(this, "upload", buffer, numbers.length));
  }

  /** What `numbers` makes of an object, on the GPU while somebody holds the object; `op` is what needs it first. */
  upload(op: string, of: object, numbers: () => Float32Array | Uint32Array): Block {
    const known = this.uploads.get(of);
    if (known && !this.memory.isFailed(known.buffer)) return known;
    const held = numbers();
    const buffer = this.memory.hold(op, held);
    const block = new Block(this, op, buffer, held.length);
    this.uploads.set(of, block);
    this.gone.register(of, buffer);
    return block;
  }

  /** Numbers that a run may keep: any content. */
  room(op: string, length: number): Block {
    take(length);
    return this.passing(new Block(this, op, this.memory.take(op, 4 * length), length));
  }

  /** A result of so many numbers or words. Throws ShapeError beyond the budget of the run. */
  run(call: Call, length: number): Block {
    const out = this.room(call.op, length);
    this.write(call, [out]);
    return out;
  }

  /** Writes to what there is. */
  write(call: Call, outs: readonly Block[]): void {
    const { op, reason, code, inputs, workgroups, sizes = [] } = call;
    if (workgroups === 0 || outs.every(({ length }) => length === 0)) return;
    this.counted(op, reason);
    if (sizes.length > 0 && this.sizesUsed + sizesStep > sizesRoom) this.flush();
    const compiled = this.pipeline(op, code);
    const group = this.group(op, compiled, outs, inputs, sizes);
    this.pass ??= this.begin();
    this.encoded.add(op);
    this.pass.setPipeline(compiled.pipeline);
    this.pass.setBindGroup(0, group);
    const x = Math.min(workgroups, mostWorkgroups);
    this.pass.dispatchWorkgroups(x, Math.ceil(workgroups / x));
  }

  private begin(): NonNullable<typeof this.pass> {
    this.encoder ??= this.device.createCommandEncoder();
    return this.encoder.beginComputePass();
  }

  private pipeline(op: string, code: string): { pipeline: Pipeline; id: number } {
    const known = this.pipelines.get(code);
    if (known) {
      this.pipelines.delete(code);
      this.pipelines.set(code, known);
      return known;
    }
    checkKernel(op, code, this.device.limits);
    const pipeline = this.memory.watched(
      op,
      () =>
        this.device.createComputePipeline({
          label: op,
          layout: "auto",
          compute: { module: this.device.createShaderModule({ label: op, code }) },
        }),
      () => this.pipelines.delete(code),
    );
    const made = { pipeline, id: ++this.lastId };
    this.pipelines.set(code, made);
    if (this.pipelines.size > mostKernels) this.pipelines.delete(this.pipelines.keys().next().value!);
    return made;
  }

  private group(
    op: string,
    { pipeline, id }: { pipeline: Pipeline; id: number },
    outs: readonly Block[],
    inputs: readonly Block[],
    sizes: readonly number[],
  ): Group {
    // What kernels write is bound to the number, since they ask for its length; what they read, to whole vectors.
    const bound = [
      ...outs.map(({ buffer, length }) => ({ buffer, offset: 0, size: Math.max(4, 4 * length) })),
      ...inputs.map(({ buffer, length }) => ({
        buffer,
        offset: 0,
        size: Math.max(16, 16 * Math.ceil(length / 4)),
      })),
    ];
    if (sizes.length > 0) {
      this.sizes.set(sizes, this.sizesUsed / 4);
      bound.push({ buffer: this.sizesBuffer, offset: this.sizesUsed, size: 4 * mostSizes });
      this.sizesUsed += sizesStep;
    }
    const key = bound.reduce(
      (text, { buffer, offset, size }) => `${text},${this.idOf(buffer)}:${offset}:${size}`,
      `${id}`,
    );
    const known = this.groups.get(key);
    if (known) return known;
    if (this.groups.size >= mostGroups) this.groups.clear();
    const entries = bound.map((resource, binding) => ({ binding, resource }));
    const group = this.memory.watched(
      op,
      () => this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }),
      () => this.groups.delete(key),
    );
    this.groups.set(key, group);
    return group;
  }

  private idOf(buffer: DeviceBuffer): number {
    const known = this.ids.get(buffer) ?? ++this.lastId;
    this.ids.set(buffer, known);
    return known;
  }

  /** Runs what is encoded, and then a copy. */
  private flush(copy?: (encoder: Encoder) => void): void {
    if (this.encoder === null && !copy) return;
    const ops = [...this.encoded].join(", ") || "read";
    const encoder = this.encoder ?? this.device.createCommandEncoder();
    const used = this.sizesUsed;
    this.drop();
    this.memory.watched(ops, () => {
      copy?.(encoder);
      const commands = encoder.finish();
      if (used > 0) this.device.queue.writeBuffer(this.sizesBuffer, 0, this.sizes, 0, used / 4);
      this.device.queue.submit([commands]);
    });
  }

  /** Ends what is encoded. */
  private drop(): void {
    this.pass?.end();
    this.pass = null;
    this.encoder = null;
    this.encoded.clear();
    this.sizesUsed = 0;
  }

  /** Kernels of a run that threw are not run, and what is wrong with them is not that of the next. */
  protected override left(): Promise<unknown> {
    this.drop();
    return this.memory.fault();
  }

  async download({ op, buffer, length }: Block): Promise<Float32Array> {
    if (this.lost !== null) throw this.loss(op);
    const bytes = 4 * length;
    const staging = this.memory.create(op, Math.max(4, bytes), usage.mapRead | usage.copyDst);
    this.flush((encoder) => encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes));
    const mapped = this.memory
      .watched(op, () => staging.mapAsync(mapRead))
      .then(() => new Float32Array(staging.getMappedRange().slice(0, bytes)))
      .catch((error: Error) => error);
    try {
      const fault = await this.memory.fault();
      const got = await mapped;
      if (fault === null && got instanceof Float32Array) return got;
      // Whoever waits for what is lost hears of the loss, and not of what came of it.
      if (fault === null)
        await Promise.race([this.device.lost, new Promise((done) => setTimeout(done, lossMs))]);
      if (this.lost !== null) throw this.loss(op);
      if (fault) throw fault;
      const cause = got as Error;
      throw new BackendError(`gpu: ${op} could not be read, got ${cause.message}`, { cause });
    } finally {
      staging.destroy();
    }
  }

  protected free(far: Far): void {
    this.memory.giveBack((far as Block).buffer);
  }

  protected async end(): Promise<void> {
    this.pipelines.clear();
    this.groups.clear();
    this.device.destroy();
  }
}
