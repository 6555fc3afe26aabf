import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findRunning } from "../../orchestrator/background/attach.ts";
import { bringDown } from "../../orchestrator/background/down.ts";
import { type Place, placeOf } from "../../orchestrator/background/place.ts";
import type { StartLine } from "../../orchestrator/background/start-line.ts";
import { bringUp, type UpOptions } from "../../orchestrator/background/up.ts";

const argv = ["--import", import.meta.resolve("tsx"), join(import.meta.dirname, "scripted-daemon.ts")];
const never = new AbortController().signal;

/** Directories of this test alone, in which background orchestrators live. */
export class Daemons {
  readonly runtime = mkdtempSync(join(tmpdir(), "glimpse-test-"));
  readonly #names = new Set<string>();

  place(name = "default"): Place {
    this.#names.add(name);
    return placeOf(name, { XDG_RUNTIME_DIR: this.runtime });
  }

  up(options: Partial<Omit<UpOptions, "line"> & StartLine> & { load?: string } = {}) {
    const { name = "default", load = "normal", idleMinutes = 0, signal = never, onEvent = () => {} } = options;
    const place = this.place(name);
    // The daemon looks for its place where its environment says.
    process.env["XDG_RUNTIME_DIR"] = this.runtime;
    return bringUp({ place, argv, line: { name, idleMinutes, launch: { load } }, signal, onEvent });
  }

  down(name?: string, now = true) {
    return bringDown({ place: this.place(name), now, signal: never });
  }

  async attach(name?: string) {
    const found = await findRunning(this.place(name));
    if (found === undefined) throw new Error("it does not run");
    return found;
  }

  /** Resolves when the process is gone that listens now: its connections end with it. Nobody counts as a client for that. */
  gone(name?: string): Promise<void> {
    const socket = connect(this.place(name).socket);
    socket.on("error", () => {});
    return new Promise((resolve) => socket.once("close", () => resolve()));
  }

  async remove(): Promise<void> {
    for (const name of this.#names) await this.down(name).catch(() => {});
    rmSync(this.runtime, { recursive: true, force: true });
  }
}
