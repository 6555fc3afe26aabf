/** A program that connects, fills all slots of the worker, says so, and stays until it is killed. */
import { connect } from "../../sdk/index.ts";

const glm = await connect({ name: process.argv[2] });
const streams = Array.from({ length: 4 }, () => glm.stream({ prompt: "slow 2000" }));
for (const stream of streams) await stream[Symbol.asyncIterator]().next();
for (const stream of streams) void stream.result.catch(() => {});
process.stdout.write("streaming\n");
