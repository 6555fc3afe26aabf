/** A GPU, or a part of one that the driver shows as a device of its own (MIG, compute partitions). */
export interface Accelerator {
  /** Whose runtime drives it; torch calls both `cuda`. */
  kind: "cuda" | "rocm";
  /**
   * As the tool counts, from 0, over the whole machine. CUDA_VISIBLE_DEVICES (in the order of the PCI bus) and
   * ROCR_VISIBLE_DEVICES name it so. The parts of a GPU that MIG divides share the number of that GPU.
   */
  index: number;
  /** What the runtime accepts in place of the number: `GPU-…` or `MIG-…`. Undefined where it has none that is unique. */
  uuid: string | undefined;
  name: string;
  /** Undefined where the tool does not say: memory shared with the processor, or no permission. */
  memoryBytes: number | undefined;
  /** By whomever, when the tool was asked. Undefined as above, and for a part that MIG divided. */
  usedBytes: number | undefined;
}

/** A process that holds memory of an accelerator. */
export interface DeviceProcess {
  pid: number;
  usedBytes: number | undefined;
}

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

/** Whether two listings mean the same device. */
export function isSame(one: Accelerator, other: Accelerator): boolean {
  return one.kind === other.kind && one.index === other.index && one.uuid === other.uuid;
}
