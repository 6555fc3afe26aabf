/** Listens where a background orchestrator would, and refuses every hello as one of another version does, or says nothing. */
import { rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { placeOf } from "../../orchestrator/background/place.ts";
import { writeState } from "../../orchestrator/background/state.ts";
import { toBytes } from "../../orchestrator/remote/frames.ts";

const place = placeOf();
const says = process.argv[2] === "mismatch";
process.on("SIGTERM", () => process.exit(0));
writeFileSync(place.token, "a token");
writeState(place, { pid: process.pid, version: "9.9.9", started: new Date().toISOString(), options: {} });
// What the one before it left.
rmSync(place.socket, { force: true });
const bye = { type: "bye", code: "PROTOCOL_MISMATCH", message: "the background orchestrator is of Glimpse 9.9.9" };
createServer((socket) => {
  socket.on("error", () => {});
  socket.resume();
  if (says) for (const bytes of toBytes(bye)) socket.write(bytes);
}).listen(place.socket, () => process.stdout.write("listening\n"));
