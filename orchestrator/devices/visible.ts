import type { Accelerator } from "./accelerator.ts";

/**
 * Those of one vendor's `accelerators` that the environment lets this process, and so its workers, use: all of them when
 * no variable is set, none for "" or "-1". Numbers and uuids (also their unambiguous beginnings) are read as the runtimes
 * do: the list ends at the first entry that names nothing, and a repeated entry makes the list void. The order is the
 * variable's. For AMD, HIP_VISIBLE_DEVICES (or else CUDA_VISIBLE_DEVICES) counts among those that ROCR_VISIBLE_DEVICES
 * left.
 */
export function visibleAccelerators(
  accelerators: readonly Accelerator[],
  kind: Accelerator["kind"],
  env: NodeJS.ProcessEnv,
): readonly Accelerator[] {
  const byIndex = (number: number) => accelerators.find(({ index }) => index === number);
  switch (kind) {
    case "cuda":
      return select(accelerators, env["CUDA_VISIBLE_DEVICES"], byIndex);
    case "rocm": {
      const left = select(accelerators, env["ROCR_VISIBLE_DEVICES"], byIndex);
      return select(left, env["HIP_VISIBLE_DEVICES"] ?? env["CUDA_VISIBLE_DEVICES"], (number) => left[number]);
    }
    default:
      return kind satisfies never;
  }
}

function select(
  accelerators: readonly Accelerator[],
  variable: string | undefined,
  numbered: (number: number) => Accelerator | undefined,
): readonly Accelerator[] {
  if (variable === undefined) return accelerators;
  const selected: Accelerator[] = [];
  for (const entry of variable.split(",").map((text) => text.trim())) {
    const found = /^\d+$/.test(entry) ? numbered(Number(entry)) : startingWith(entry, accelerators);
    if (found === undefined) break;
    if (selected.includes(found)) return [];
    selected.push(found);
  }
  return selected;
}

function startingWith(entry: string, accelerators: readonly Accelerator[]): Accelerator | undefined {
  if (!/^(GPU|MIG)-./i.test(entry)) return undefined;
  const found = accelerators.filter(({ uuid }) => uuid?.toLowerCase().startsWith(entry.toLowerCase()));
  return found.length === 1 ? found[0] : undefined;
}
