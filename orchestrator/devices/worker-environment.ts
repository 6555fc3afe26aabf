import type { Accelerator } from "./accelerator.ts";

/**
 * The variables that show a worker these GPUs, in this order, and no others. They replace what the worker would inherit.
 * `accelerators` are of one kind.
 */
export function visibleDevices(accelerators: readonly Accelerator[]): Record<string, string> {
  const kind = accelerators[0]?.kind ?? "cuda";
  switch (kind) {
    case "cuda":
      // Without the order, CUDA counts from the fastest GPU on, and nvidia-smi along the bus.
      return { CUDA_VISIBLE_DEVICES: names(accelerators), CUDA_DEVICE_ORDER: "PCI_BUS_ID" };
    case "rocm": {
      // ROCR's variable hides the others; HIP's, and CUDA's beside it, then count among what is left.
      const left = accelerators.map((_, position) => position).join(",");
      return { ROCR_VISIBLE_DEVICES: names(accelerators), HIP_VISIBLE_DEVICES: left, CUDA_VISIBLE_DEVICES: left };
    }
    default:
      return kind satisfies never;
  }
}

/** Uuids where all have one: they mean the same GPU whatever the order. The runtimes do not take a mixture. */
function names(accelerators: readonly Accelerator[]): string {
  const uuids = accelerators.flatMap(({ uuid }) => uuid ?? []);
  return (uuids.length === accelerators.length ? uuids : accelerators.map(({ index }) => index)).join(",");
}
