// The pages of the API in a browser: that they work, and that they ask nobody but this server.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

import { startBrowser, visiting } from "./browser.mjs";
import { startServer } from "./server.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
// A phone and a desktop.
const WIDTHS = [320, 1280];
const SCHEMES = ["light", "dark"];
// Pages of our own, without Swagger UI and ReDoc.
const TEXTS = ["/docs/problems", "/docs/problems/version_conflict"];
// A page with status 404, which a browser notes as an error.
const UNKNOWN = "/docs/problems/nothing";
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

let server, browser;

before(async () => {
    [server, browser] = await Promise.all([startServer(), startBrowser()]);
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

test("/docs fits the window, and sends a request with the token that was entered", async () => {
    await visiting(browser, server, async (page) => {
        await page.goto(server.docs);
        await page.locator("#operations-Events-listEvents").waitFor();
        for (const scheme of SCHEMES) {
            await fits(page, "docs", scheme);
        }

        await page.getByRole("button", { name: "Authorize" }).first().click();
        await page.getByLabel("auth-bearer-value").fill(server.staff);
        await page.getByRole("button", { name: "Apply credentials" }).click();
        await page.getByRole("button", { name: "Close" }).click();
        const operation = page.locator("#operations-Events-listEvents");
        await operation.locator(".opblock-summary-control").click();
        await operation.getByRole("button", { name: "Try it out" }).click();
        await operation.getByRole("button", { name: "Execute" }).click();
        const answer = operation.locator(".live-responses-table");
        assert.equal(await answer.locator(".response-col_status").last().innerText(), "200");
        assert.match(await answer.innerText(), /"items"/);
    });
});

// ReDoc takes its colours when it starts.
for (const scheme of SCHEMES) {
    test(`/redoc fits the window, shows the operations, and its search finds them (${scheme})`, async () => {
        await visiting(browser, server, async (page) => {
            await page.emulateMedia({ colorScheme: scheme });
            await page.goto(`${server.address}/redoc`);
            const operations = page.locator("#redoc [data-section-id*='operation/']");
            await operations.first().waitFor();
            assert.ok((await operations.count()) > 30, `${await operations.count()} operations`);
            await fits(page, "redoc", scheme);
            await page.getByPlaceholder("Search").fill("compensate");
            await page.locator("[data-role='search:results'] li").first().waitFor();
        });
    });
}

test("pages of problems fit the window, and the first key leads past the bar", async () => {
    await visiting(browser, server, async (page) => {
        for (const path of TEXTS) {
            await page.goto(server.address + path);
            for (const scheme of SCHEMES) {
                await fits(page, path.slice(1).replaceAll("/", "-"), scheme);
            }
        }
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    });
});

test("pages of problems can be read by everyone", async () => {
    const page = await browser.newPage({ viewport: { width: WIDTHS[0], height: 800 } });
    for (const path of [...TEXTS, UNKNOWN]) {
        await page.goto(server.address + path);
        await page.evaluate(AXE);
        for (const colorScheme of SCHEMES) {
            await page.emulateMedia({ colorScheme });
            const found = await page.evaluate((values) => axe.run({ runOnly: { type: "tag", values } }), RULES);
            assert.ok(found.passes.length > 10, `${found.passes.length} rules of axe apply`);
            const faults = found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html)}`);
            assert.deepEqual(faults, [], `${path}, ${colorScheme}`);
        }
    }
    await page.close();
});

/** No page is wider than the window. Ends with the widest window. */
async function fits(page, name, colorScheme) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 800 });
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
        assert.ok(wider <= 0, `${name} is ${wider} pixels too wide at ${width}`);
        const folder = process.env.SCREENSHOTS;
        if (folder) {
            await mkdir(folder, { recursive: true });
            await page.screenshot({ path: `${folder}/${name}-${width}-${colorScheme}.png` });
        }
    }
}
