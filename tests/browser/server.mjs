// A local server with a data folder of its own, on a free port.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;
const PROGRAM = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/annals-local");

/** Starts the server. `address` is as in `http://127.0.0.1:3000`, `staff` is a token. `stop` ends it and removes its folder. */
export async function startServer() {
    const folder = await mkdtemp(join(tmpdir(), "annals-browser-"));
    // PostgreSQL does not run as root: its files belong to another account, which must be able to reach them.
    await chmod(folder, 0o755);
    const env = { ...process.env, ANNALS_DATA_DIR: join(folder, "data"), ANNALS_PORT: "0", RUST_LOG: "warn" };
    const server = spawn(PROGRAM, { env, stdio: ["ignore", "pipe", "inherit"] });
    const ended = once(server, "exit");
    const stop = async () => {
        server.kill("SIGTERM");
        await ended;
        await rm(folder, { recursive: true, force: true });
    };
    const printed = {};
    for await (const line of createInterface(server.stdout)) {
        const [, name, value] = line.match(/^(listening on|API pages|staff=) *(\S+)$/) ?? [];
        printed[name] = value;
        if (name === "staff=") {
            return { address: printed["listening on"], docs: printed["API pages"], staff: value, stop };
        }
    }
    await stop();
    throw new Error("the server did not start");
}
