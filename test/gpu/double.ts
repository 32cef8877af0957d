/** WebGPU that fails when it is told to, around one that works: real devices, of which a few members are others. */

import type { Adapter, Device, DeviceBuffer, WebGpu } from "../../src/gpu/webgpu/types.ts";

/** `target` with members of `own` instead of its own; methods of a device want the device itself. */
function over<T extends object>(target: T, own: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      if (name in own) return own[name as keyof T];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

export interface Failing {
  /** Instead of those of adapters and devices; undefined is what an adapter does not know. */
  limits?: Readonly<Record<string, number | undefined>>;
  /** Whether there is no room for a buffer; asked anew for each. */
  full?: (size: number, label: string) => boolean;
  /** When it is heard that a device is lost, after it is. */
  lostAfterMs?: number;
  features?: readonly string[];
}

/** More than the driver has in one piece: creating it runs out of memory in earnest. */
const tooMuch = 2 ** 30;

export class Double {
  /** Devices by the order in which they were opened: the real ones. */
  readonly devices: Device[] = [];
  readonly live = new Set<DeviceBuffer>();
  /** Messages of errors that nobody looked for. */
  readonly uncaught: string[] = [];
  submits = 0;
  /** What devices were asked to have. */
  required: object = {};
  readonly webgpu: WebGpu;

  constructor(real: object, failing: Failing = {}) {
    const gpu = real as WebGpu;
    this.webgpu = over(gpu, {
      requestAdapter: async (options) => {
        const adapter = await gpu.requestAdapter(options);
        return adapter && this.adapter(adapter, failing);
      },
      ...(failing.features && { wgslLanguageFeatures: new Set(failing.features) }),
    });
  }

  private adapter(adapter: Adapter, failing: Failing): Adapter {
    const limits = over(adapter.limits, (failing.limits ?? {}) as Record<string, number>);
    const requestDevice = async (options?: { requiredLimits?: object }): Promise<Device> => {
      this.required = options?.requiredLimits ?? {};
      return this.device(await adapter.requestDevice(options), failing);
    };
    return over(adapter, { limits, requestDevice });
  }

  private device(device: Device, { limits = {}, full, lostAfterMs }: Failing): Device {
    this.devices.push(device);
    Object.assign(device, {
      onuncapturederror: (event: Event & { error: Error }) => {
        event.preventDefault();
        this.uncaught.push(event.error.message);
      },
    });
    const { queue } = device;
    const submit = (commands: readonly object[]): void => {
      this.submits++;
      queue.submit(commands);
    };
    const late = async () => {
      const why = await device.lost;
      await new Promise((done) => setTimeout(done, lostAfterMs));
      return why;
    };
    return over(device, {
      limits: over(device.limits, limits as Record<string, number>),
      queue: over(queue, { submit }),
      createBuffer: (options) => {
        const none = full?.(options.size, options.label ?? "") === true;
        return this.counted(device.createBuffer(none ? { ...options, size: tooMuch } : options));
      },
      ...(lostAfterMs !== undefined && { lost: late() }),
    });
  }

  private counted(buffer: DeviceBuffer): DeviceBuffer {
    this.live.add(buffer);
    const destroy = buffer.destroy.bind(buffer);
    return Object.assign(buffer, {
      destroy: () => {
        this.live.delete(buffer);
        destroy();
      },
    });
  }
}
