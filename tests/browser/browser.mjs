// Chromium, and a page that notices whatever it should not do: a request to another origin, an error on its console, something that its
// policy refused.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

// The sandbox needs an account that is not root. The other switches keep Chromium from asking its maker's servers.
const SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

export function startBrowser() {
    return chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args: SWITCHES });
}

/** Opens an empty page, gives it to `visit`, and then checks that nothing happened that should not. */
export async function visiting(browser, server, visit) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
    // The machine may be busy with other steps of the gate.
    context.setDefaultTimeout(120_000);
    const faults = [];
    await context.route("**/*", async (route) => {
        const address = route.request().url();
        if (new URL(address).origin === server.address) {
            return route.continue();
        }
        faults.push(`another origin was asked: ${address}`);
        return route.abort();
    });
    context.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) {
            faults.push(`console: ${message.text()}`);
        }
    });
    context.on("weberror", (error) => faults.push(`error: ${error.error().message}`));
    await context.addInitScript(() => {
        document.addEventListener("securitypolicyviolation", (refused) => {
            console.error(`the policy refused ${refused.violatedDirective}: ${refused.blockedURI} ${refused.sample}`);
        });
    });
    try {
        await visit(await context.newPage());
    } finally {
        await context.close();
    }
    assert.deepEqual(faults, []);
}
