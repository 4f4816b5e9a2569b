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
const PAGES = [...TEXTS, "/docs", "/redoc"];
// A page with status 404, which a browser notes as an error.
const UNKNOWN = "/docs/problems/nothing";

let server, browser;

before(async () => {
    [server, browser] = await Promise.all([startServer(), startBrowser()]);
});

after(async () => {
    await browser?.close();
    await server?.stop();
});

async function open(page, path) {
    await page.goto(server.address + path);
    if (path === "/docs") {
        await page.locator(".opblock").first().waitFor();
    } else if (path === "/redoc") {
        await page.locator("#redoc [data-section-id]").first().waitFor();
    }
}

test("/docs sends a request with the token that was entered", async () => {
    await visiting(browser, server, {}, async (page) => {
        await page.goto(server.docs);
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

test("/redoc shows the operations, and its search finds them", async () => {
    await visiting(browser, server, { viewport: { width: 1280, height: 900 } }, async (page) => {
        await open(page, "/redoc");
        const operations = page.locator("#redoc [data-section-id*='operation/']");
        assert.ok((await operations.count()) > 30, `${await operations.count()} operations`);
        await page.getByPlaceholder("Search").fill("compensate");
        await page.locator("[data-role='search:results'] li").first().waitFor();
    });
});

for (const colorScheme of SCHEMES) {
    for (const path of PAGES) {
        test(`${path} fits the window and asks no other server (${colorScheme})`, async () => {
            await visiting(browser, server, { colorScheme }, async (page) => {
                await open(page, path);
                for (const width of WIDTHS) {
                    await page.setViewportSize({ width, height: 800 });
                    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
                    assert.ok(wider <= 0, `${path} is ${wider} pixels too wide at ${width}`);
                    await picture(page, path, width, colorScheme);
                }
            });
        });
    }

    test(`pages of problems can be read by everyone (${colorScheme})`, async () => {
        const context = await browser.newContext({ viewport: { width: WIDTHS[0], height: 800 }, colorScheme });
        const page = await context.newPage();
        for (const path of [...TEXTS, UNKNOWN]) {
            await page.goto(server.address + path);
            await page.evaluate(AXE);
            const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
            const found = await page.evaluate((values) => axe.run({ runOnly: { type: "tag", values } }), tags);
            assert.ok(found.passes.length > 10, `${found.passes.length} rules of axe apply`);
            const faults = found.violations.map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html)}`);
            assert.deepEqual(faults, [], path);
        }
        await context.close();
    });
}

test("the first key leads past the bar to the content", async () => {
    await visiting(browser, server, {}, async (page) => {
        await open(page, "/docs/problems");
        await page.keyboard.press("Tab");
        await page.keyboard.press("Enter");
        assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    });
});

async function picture(page, path, width, colorScheme) {
    const folder = process.env.SCREENSHOTS;
    if (folder) {
        await mkdir(folder, { recursive: true });
        const name = `${path.slice(1).replaceAll("/", "-")}-${width}-${colorScheme}.png`;
        await page.screenshot({ path: `${folder}/${name}` });
    }
}
