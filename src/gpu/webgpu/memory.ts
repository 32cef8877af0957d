/** Buffers of a device: checked against its limits, and kept for the next of their size. */

import { BackendError } from "../../errors.ts";
import { type Device, type DeviceBuffer, usage } from "./types.ts";

/** Bytes that wait for whoever needs their size. */
const mostIdle = 2 ** 28;

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

  /** Fails, by the op's name, where a buffer would be larger than the device has them. */
  private afford(op: string, bytes: number): void {
    const { maxStorageBufferBindingSize: bound, maxBufferSize } = this.device.limits;
    const most = Math.min(bound, maxBufferSize);
    if (bytes > most)
      throw new BackendError(
        `gpu: ${op} needs a buffer of at most ${most} bytes here, got ${bytes}; use a smaller batch or model`,
      );
  }

  /** A buffer of at least so many bytes, with any content. */
  take(op: string, bytes: number): DeviceBuffer {
    this.afford(op, bytes);
    const size = sizeClass(bytes);
    const found = this.idle.get(size)?.pop();
    if (found) {
      this.idleBytes -= size;
      return found;
    }
    return this.create(op, size, usage.storage | usage.copySrc | usage.copyDst);
  }

  /** A buffer that does not come back. */
  create(op: string, size: number, flags: number): DeviceBuffer {
    const make = () => this.device.createBuffer({ size, usage: flags, label: op });
    return this.watched(op, "out-of-memory", make, (buffer) => this.failed.add(buffer));
  }

  /** Whether the device had no room for it: known once its faults are. */
  isFailed(buffer: DeviceBuffer): boolean {
    return this.failed.has(buffer);
  }

  /** For numbers that stay: no larger than they are. */
  hold(op: string, numbers: Float32Array | Uint32Array): DeviceBuffer {
    const size = Math.max(16, Math.ceil(numbers.byteLength / 16) * 16);
    this.afford(op, size);
    const buffer = this.create(op, size, usage.storage | usage.copySrc | usage.copyDst);
    if (numbers.length > 0) this.device.queue.writeBuffer(buffer, 0, numbers);
    return buffer;
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
  watched<T>(
    op: string,
    what: "validation" | "out-of-memory",
    make: () => T,
    failed: (made: T) => void = () => {},
  ): T {
    this.device.pushErrorScope(what);
    const made = make();
    this.checks.push(
      this.device.popErrorScope().then(
        (error) => {
          if (!error) return null;
          failed(made);
          return new BackendError(`gpu: ${op} failed in WebGPU, got ${error.message}`);
        },
        // A device that is lost says so where numbers are read.
        () => null,
      ),
    );
    return made;
  }

  /** What has been found wrong since this was asked last. */
  async fault(): Promise<Error | null> {
    const found = await Promise.all(this.checks.splice(0));
    return found.find((error) => error !== null) ?? null;
  }
}
