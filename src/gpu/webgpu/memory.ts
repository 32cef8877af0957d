/** Buffers of a device: checked against its limits, and kept for the next of their size. */

import { BackendError } from "../../errors.ts";
import { type Device, type DeviceBuffer, usage } from "./types.ts";

/** Bytes that wait for whoever needs their size. */
const mostIdle = 2 ** 28;

/** All that a device may find wrong. */
const filters = ["validation", "out-of-memory", "internal"] as const;

const forKernels = usage.storage | usage.copySrc | usage.copyDst;

type Numbers = Float32Array | Uint32Array;

/** Sizes of buffers: eighths of powers of two, so that few are of no use again. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** Math.max(8, Math.floor(Math.log2(bytes)) - 3);
  return Math.ceil(bytes / step) * step;
}

export class Memory {
  private readonly device: Device;
  private readonly idle = new Map<number, DeviceBuffer[]>();
  private idleBytes = 0;
  /** What the device says later than it is asked. */
  private readonly checks: Promise<Error | null>[] = [];
  /** Buffers that the device had no room for. */
  private readonly failed = new WeakSet<DeviceBuffer>();

  constructor(device: Device) {
    this.device = device;
  }

  /** Bytes of the largest buffer that kernels may read by whole vectors. */
  private most(): number {
    const { maxStorageBufferBindingSize: bound, maxBufferSize } = this.device.limits;
    return Math.floor(Math.min(bound, maxBufferSize) / 16) * 16;
  }

  /** Fails, by the op's name, where a buffer would be larger than the device has them. */
  private afford(op: string, bytes: number): void {
    const most = this.most();
    if (bytes > most)
      throw new BackendError(
        `gpu: ${op} needs a buffer of at most ${most} bytes here, got ${bytes}; use a smaller batch or model`,
      );
  }

  /** A buffer of at least so many bytes, with these numbers or any content. */
  take(op: string, bytes: number, numbers: Numbers | null = null): DeviceBuffer {
    this.afford(op, bytes);
    const size = Math.min(sizeClass(bytes), this.most());
    const found = this.idle.get(size)?.pop();
    if (!found) return this.create(op, size, forKernels, numbers);
    this.idleBytes -= size;
    this.fill(found, numbers);
    return found;
  }

  /** A buffer that does not come back. */
  create(op: string, size: number, flags: number, numbers: Numbers | null = null): DeviceBuffer {
    const make = () => {
      const buffer = this.device.createBuffer({ size, usage: flags, label: op });
      this.fill(buffer, numbers);
      return buffer;
    };
    return this.watched(op, make, (buffer) => {
      this.failed.add(buffer);
      this.forget();
    });
  }

  private fill(buffer: DeviceBuffer, numbers: Numbers | null): void {
    if (numbers && numbers.length > 0) this.device.queue.writeBuffer(buffer, 0, numbers);
  }

  /** Leaves its room to others. */
  private forget(): void {
    for (const buffers of this.idle.values()) for (const buffer of buffers) buffer.destroy();
    this.idle.clear();
    this.idleBytes = 0;
  }

  /** Whether the device had no room for it: known once its faults are. */
  isFailed(buffer: DeviceBuffer): boolean {
    return this.failed.has(buffer);
  }

  /** For numbers that stay: no larger than they are. */
  hold(op: string, numbers: Numbers): DeviceBuffer {
    const size = Math.max(16, Math.ceil(numbers.byteLength / 16) * 16);
    this.afford(op, size);
    return this.create(op, size, forKernels, numbers);
  }

  giveBack(buffer: DeviceBuffer): void {
    if (this.isFailed(buffer) || this.idleBytes + buffer.size > mostIdle) {
      buffer.destroy();
      return;
    }
    const others = this.idle.get(buffer.size);
    if (others) others.push(buffer);
    else this.idle.set(buffer.size, [buffer]);
    this.idleBytes += buffer.size;
  }

  /** What `make` gives; what the device finds wrong with it is heard of where numbers are read. */
  watched<T>(op: string, make: () => T, failed: (made: T) => void = () => {}): T {
    for (const filter of filters) this.device.pushErrorScope(filter);
    const made = make();
    // A device that is lost says so where numbers are read.
    const found = filters.map(() => this.device.popErrorScope().catch(() => null));
    this.checks.push(
      Promise.all(found).then((errors) => {
        const error = errors.find((error) => error !== null);
        if (!error) return null;
        failed(made);
        return new BackendError(`gpu: ${op} failed in WebGPU, got ${error.message}`);
      }),
    );
    return made;
  }

  /** What has been found wrong since this was asked last. */
  async fault(): Promise<Error | null> {
    const found = await Promise.all(this.checks.splice(0));
    return found.find((error) => error !== null) ?? null;
  }
}
