import { GlimpseError } from "../../protocol/errors.ts";
import type { Device } from "../../protocol/messages.ts";
import type { Accelerator } from "./accelerator.ts";
import { visibleDevices } from "./worker-environment.ts";

export interface PlacementRequest {
  /** "auto", a number of at least 1, or devices by name: "cpu" or "cuda:N". */
  workers: "auto" | number | readonly string[];
  /** How many GPUs one worker spreads a model over. */
  gpusPerWorker: number;
  /** `auto`, `cpu`, `cuda` or `cuda:N`. `cuda:N` counts the given accelerators, as torch does. */
  device: string;
}

/** Where one worker goes. */
export interface Placement {
  /** For people, in the words of the option: "cpu", "cuda:0", "cuda:0,cuda:1"; "auto" if only the worker will know. */
  label: string;
  /** What the worker's start line says as `device`. A worker sees nothing but its own GPUs, and so calls its GPU cuda:0. */
  device: string;
  /** Added to the worker's environment. */
  env: Record<string, string>;
  /** How many threads torch computes with on a CPU; undefined: torch's own choice. */
  threads: number | undefined;
  accelerators: readonly Accelerator[];
}

/**
 * Decides where the workers go. `accelerators` are those that may be used, in torch's order (`discoverAccelerators`);
 * `cores` are those that the workers on a CPU share.
 *
 * - "auto" is a worker per `gpusPerWorker` GPUs. With device `cpu`, or without a GPU, it is one worker on the CPU; with
 *   `cuda:N` one on that GPU.
 * - A number is that many workers: on the first GPUs, each on its own, because a worker's KV cache takes nine tenths of the
 *   memory; on a CPU any number.
 * - A list is a worker per entry. A GPU that is named twice gets two workers, and how they share its memory
 *   (`kvCacheMemoryBytes`) is the caller's affair.
 * - `gpusPerWorker` groups neighbouring GPUs. "auto" uses all of them, so the number has to divide them.
 * - If nobody asks for anything and there is one GPU, its worker gets `auto`: it takes the CPU where torch cannot use it.
 * - Without a known GPU, one worker on `auto`, and any on `cuda:N`, are left to torch, which may see what no tool lists.
 * - Workers on a CPU share the cores equally, one being left for each worker on a GPU. A worker alone on the CPU leaves
 *   the choice to torch.
 *
 * @throws GlimpseError INVALID_REQUEST when the options contradict each other or ask for more workers than there are GPUs,
 *   DEVICE_NOT_FOUND when a device is not there. The message names the option.
 */
export function place(request: PlacementRequest, accelerators: readonly Accelerator[], cores: number): Placement[] {
  check(request);
  const placements = sharingCores(chooseSeats(request, accelerators), accelerators, cores);
  return isLeftToTorch(request) && placements.length === 1 ? placements.map(withoutInsisting) : placements;
}

/** Where a worker is, for people: `device` is what a ready worker has, and says it where the choice was left to torch. */
export function placedOn({ label }: Placement, device: Device | undefined): string {
  const isTorchs = label === "auto" || label === "cuda" || device?.kind === "cpu";
  return isTorchs ? (device?.id ?? label) : label;
}

/** Nobody has asked for a GPU: one that torch cannot use, for want of a driver or of a build for it, is no reason to fail. */
function isLeftToTorch({ workers, gpusPerWorker, device }: PlacementRequest): boolean {
  return workers === "auto" && gpusPerWorker === 1 && device === "auto";
}

function withoutInsisting(placement: Placement): Placement {
  return { ...placement, device: "auto" };
}

/** A worker's place before the cores are shared. Numbers count in the accelerators; they may be unknown ones. */
type Seat = { kind: "auto" } | { kind: "cpu" } | { kind: "cuda" } | { kind: "gpus"; numbers: readonly number[] };

function chooseSeats(request: PlacementRequest, accelerators: readonly Accelerator[]): Seat[] {
  const { workers, gpusPerWorker, device } = request;
  if (typeof workers === "object") return chooseListed(workers, device, gpusPerWorker, accelerators);
  const named = numberOf(device);
  if (named !== undefined) return [chooseNamed(named, request, accelerators)];
  if (device === "cpu" || (accelerators.length === 0 && gpusPerWorker === 1)) return chooseWithoutGpus(request);
  return chooseGroups(request, accelerators);
}

function chooseListed(
  entries: readonly string[],
  device: string,
  gpusPerWorker: number,
  accelerators: readonly Accelerator[],
): Seat[] {
  if (gpusPerWorker !== 1) {
    throw invalid("gpusPerWorker", "1 beside a list of devices in workers", gpusPerWorker, "Give workers as a number.");
  }
  return entries.map((entry): Seat => {
    if (device !== "auto" && entry !== device && !(device === "cuda" && entry !== "cpu")) {
      throw invalid("workers", `only ${device} beside device ${device}`, entry, "Leave device out.");
    }
    const number = numberOf(entry);
    return number === undefined ? { kind: "cpu" } : seatOn(number, "workers", accelerators);
  });
}

function chooseNamed(number: number, request: PlacementRequest, accelerators: readonly Accelerator[]): Seat {
  const { workers, gpusPerWorker, device } = request;
  if (gpusPerWorker !== 1) {
    throw invalid("gpusPerWorker", `1 beside device ${device}`, gpusPerWorker, "Leave device out.");
  }
  if (workers !== "auto" && workers !== 1) throw tooMany(workers, 1, ` beside device ${device}`);
  return seatOn(number, "device", accelerators);
}

function seatOn(number: number, option: string, accelerators: readonly Accelerator[]): Seat {
  const count = accelerators.length;
  if (count > 0 && number >= count) {
    const last = count === 1 ? "cuda:0" : `cuda:0 to cuda:${count - 1}`;
    throw new GlimpseError("DEVICE_NOT_FOUND", `${option}: cuda:${number} is not there; found ${last}`, {
      hint: "GPUs count from 0, among those that CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES leaves.",
    });
  }
  return { kind: "gpus", numbers: [number] };
}

/** On the CPU, or on what torch may see although no tool lists it. */
function chooseWithoutGpus({ workers, gpusPerWorker, device }: PlacementRequest): Seat[] {
  if (gpusPerWorker !== 1) throw invalid("gpusPerWorker", "1 beside device cpu", gpusPerWorker, "Leave device out.");
  const count = workers === "auto" ? 1 : Number(workers);
  if (device === "cpu") return repeat(count, { kind: "cpu" });
  if (device === "auto") return count === 1 ? [{ kind: "auto" }] : repeat(count, { kind: "cpu" });
  return count === 1 ? [{ kind: "cuda" }] : range(count).map((number): Seat => ({ kind: "gpus", numbers: [number] }));
}

function chooseGroups({ workers, gpusPerWorker }: PlacementRequest, accelerators: readonly Accelerator[]): Seat[] {
  const found = accelerators.length;
  if (gpusPerWorker > found) {
    throw new GlimpseError(
      "DEVICE_NOT_FOUND",
      `gpusPerWorker: ${gpusPerWorker} GPUs are not there; found ${found === 0 ? "none" : found}`,
      { hint: "Check nvidia-smi or amd-smi, and CUDA_VISIBLE_DEVICES or HIP_VISIBLE_DEVICES." },
    );
  }
  const most = Math.floor(found / gpusPerWorker);
  if (workers === "auto" && most * gpusPerWorker !== found) {
    const hint = `Choose another number, or workers: ${most}, which leaves GPUs unused.`;
    throw invalid("gpusPerWorker", `a number that divides the ${found} GPUs`, gpusPerWorker, hint);
  }
  const count = workers === "auto" ? most : Number(workers);
  if (count > most) throw tooMany(count, most, gpusPerWorker === 1 ? "" : ` of ${gpusPerWorker} GPUs each`);
  return range(count).map((group) => ({
    kind: "gpus",
    numbers: range(gpusPerWorker).map((member) => group * gpusPerWorker + member),
  }));
}

function sharingCores(seats: readonly Seat[], accelerators: readonly Accelerator[], cores: number): Placement[] {
  const onCpu = seats.filter(({ kind }) => kind === "cpu").length;
  const share = Math.max(1, Math.floor((cores - (seats.length - onCpu)) / onCpu));
  return seats.map((seat): Placement => {
    const elsewhere = { env: {}, threads: undefined, accelerators: [] };
    switch (seat.kind) {
      case "auto":
      case "cuda":
        return { label: seat.kind, device: seat.kind, ...elsewhere };
      case "cpu":
        if (seats.length === 1) return { label: "cpu", device: "cpu", ...elsewhere };
        return { label: "cpu", device: "cpu", env: { OMP_NUM_THREADS: `${share}` }, threads: share, accelerators: [] };
      case "gpus": {
        const label = seat.numbers.map((number) => `cuda:${number}`).join(",");
        const own = seat.numbers.flatMap((number) => accelerators[number] ?? []);
        if (own.length === 0) return { label, device: label, ...elsewhere };
        const device = own.length === 1 ? "cuda:0" : "auto";
        return { label, device, env: visibleDevices(own), threads: undefined, accelerators: own };
      }
      default:
        return seat satisfies never;
    }
  });
}

function check({ workers, gpusPerWorker, device }: PlacementRequest): void {
  if (!/^(auto|cpu|cuda(:\d+)?)$/.test(device)) throw invalid("device", '"auto", "cpu", "cuda" or "cuda:N"', device);
  if (!isCount(gpusPerWorker)) throw invalid("gpusPerWorker", "a whole number of at least 1", gpusPerWorker);
  if (workers === "auto" || isCount(workers)) return;
  const expected = '"auto", a whole number of at least 1, or an array of "cpu" and "cuda:N"';
  if (!Array.isArray(workers)) throw invalid("workers", expected, workers);
  if (workers.length === 0) throw invalid("workers", "at least one device", "an empty array");
  for (const entry of workers) if (!/^(cpu|cuda:\d+)$/.test(entry)) throw invalid("workers", expected, entry);
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}

function tooMany(workers: unknown, most: number, condition: string): GlimpseError {
  const what = most === 1 ? "1 worker" : `at most ${most} workers`;
  const hint = "A worker's KV cache takes nine tenths of its GPU's memory. To share a GPU, name it twice in workers.";
  return invalid("workers", `${what}${condition}, one for each GPU`, workers, hint);
}

function invalid(option: string, expected: string, got: unknown, hint?: string): GlimpseError {
  return new GlimpseError("INVALID_REQUEST", `${option}: expected ${expected}, got ${String(got)}`, { hint });
}

/** N of `cuda:N`. */
function numberOf(device: string): number | undefined {
  const number = /^cuda:(\d+)$/.exec(device)?.[1];
  return number === undefined ? undefined : Number(number);
}

function range(length: number): number[] {
  return Array.from({ length }, (_, position) => position);
}

function repeat(count: number, seat: Seat): Seat[] {
  return range(count).map(() => seat);
}
