/** The client against a server, at ANNALS_URL with ANNALS_TOKEN. */

import assert from "node:assert/strict";
import test from "node:test";
import { AnnalsProblem, createAnnals, items, unwrap, type Schemas } from "@annals/client";

const baseUrl = process.env.ANNALS_URL!;
const token = process.env.ANNALS_TOKEN!;
const annals = createAnnals({ baseUrl, token });

const event = (id: string) => ({ event_type: "product.created", aggregate_type: "product", aggregate_id: id, data: { sku: id, name: "Pump" } });

test("items reads a list to its end, page by page", async () => {
  const ids = Array.from({ length: 7 }, (_, number) => `LIST-${number}`);
  await unwrap(annals.POST("/api/v1/events", { body: { events: ids.map(event) } }));
  const cursors: (string | undefined)[] = [];
  const found: string[] = [];
  const list = items((page) => {
    cursors.push(page.cursor);
    return annals.GET("/api/v1/events", { params: { query: { ...page, limit: 3, order: "asc" } } });
  });
  for await (const { aggregate_id } of list) {
    found.push(aggregate_id);
  }
  assert.deepEqual(found, ids);
  assert.equal(cursors[0], undefined);
  assert.ok(cursors.length >= 3, `${cursors.length} pages`);
});

test("a refusal is thrown, with its code and fields", async () => {
  const refused = unwrap(annals.POST("/api/v1/events", { body: { ...event("BAD-1"), data: { sku: 5 } } }));
  const problem = await refused.then(() => assert.fail("it was accepted"), (thrown: unknown) => thrown);
  assert.ok(problem instanceof AnnalsProblem && problem instanceof Error);
  assert.equal(problem.status, 422);
  const code: Schemas["ProblemCode"] = "schema_violation";
  assert.equal(problem.code, code);
  assert.ok(problem.errors.some(({ pointer }) => pointer === "/data/sku"), JSON.stringify(problem.errors));
  assert.ok(problem.requestId);
  assert.match(problem.message, /^422 schema_violation: ./);
});

test("what refuses a request before Annals has no code", async () => {
  const fetch = async () => Response.json({ message: "Too Many Requests" }, { status: 429, statusText: "Too Many Requests" });
  const refused = unwrap(createAnnals({ baseUrl, token, fetch }).GET("/api/v1/events"));
  const problem = await refused.then(() => assert.fail("it was accepted"), (thrown: unknown) => thrown);
  assert.ok(problem instanceof AnnalsProblem);
  assert.deepEqual([problem.status, problem.code, problem.errors.length], [429, undefined, 0]);
});

test("a token is asked for before each request", async () => {
  const given: string[] = ["wrong", token];
  const renewing = createAnnals({ baseUrl, token: async () => given.shift()! });
  const { response } = await renewing.GET("/api/v1/events");
  assert.equal(response.status, 401);
  await unwrap(renewing.GET("/api/v1/events"));
});

test("a slash in an id is part of the id", async () => {
  await unwrap(annals.POST("/api/v1/events", { body: event("a/b c") }));
  const path = { aggregate_type: "product", aggregate_id: "a/b c" };
  const found = await unwrap(annals.GET("/api/v1/entities/{aggregate_type}/{aggregate_id}", { params: { path } }));
  assert.equal(found.aggregate_id, "a/b c");
});

test("several event types are several parameters", async () => {
  await unwrap(annals.POST("/api/v1/events", { body: event("TYPES-1") }));
  const query = { event_type: ["product.created", "order.*"], aggregate_id: "TYPES-1" };
  const page = await unwrap(annals.GET("/api/v1/events", { params: { query } }));
  assert.deepEqual(page.items.map(({ event_type }) => event_type), ["product.created"]);
});

test("a list can be filtered by an indexed field", async () => {
  await unwrap(annals.POST("/api/v1/events", { body: event("FIELD-1") }));
  const query = { event_type: ["product.created"], data: { "data.sku": "FIELD-1" } };
  const page = await unwrap(annals.GET("/api/v1/events", { params: { query } }));
  assert.deepEqual(page.items.map(({ aggregate_id }) => aggregate_id), ["FIELD-1"]);
});
