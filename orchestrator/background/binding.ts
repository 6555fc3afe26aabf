import { randomBytes } from "node:crypto";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { withLock } from "../python/directory-lock.ts";
import { answers } from "../socket-directory.ts";
import type { Place } from "./place.ts";
import { type State, writeState } from "./state.ts";

/** The socket of a place, listening. */
export interface Binding {
  /** Removes everything that belongs to the place but the log. Connections stay. */
  remove(): Promise<void>;
}

/**
 * Listens at the place, or resolves to undefined if somebody does already; of many who try at once, one does. What an
 * orchestrator that was killed left there is taken away.
 */
export function bind(
  place: Place,
  state: State,
  serve: (token: string) => (socket: Socket) => void,
): Promise<Binding | undefined> {
  return withLock(place.lock, {}, async () => {
    if (await answers(place.socket)) return undefined;
    for (const path of [place.socket, place.token]) rmSync(path, { force: true });
    const token = randomBytes(32).toString("base64url");
    writeFileSync(place.token, token, { mode: 0o600 });
    writeState(place, state);
    const server = createServer(serve(token));
    await listen(server, place.socket);
    chmodSync(place.socket, 0o600);
    return { remove: () => remove(place, server) };
  });
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Under the lock, so that nothing is removed that a successor has made. */
function remove(place: Place, server: Server): Promise<void> {
  return withLock(place.lock, {}, async () => {
    for (const path of [place.token, place.state]) rmSync(path, { force: true });
    // Takes the socket away too; connections stay open until their ends close them.
    server.close();
  });
}
