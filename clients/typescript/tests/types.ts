/**
 * What the compiler must refuse. This file is only compiled: `@ts-expect-error` is itself an error if its next line compiles.
 */

import { createAnnals, items, unwrap, type Schemas } from "@annals/client";

const annals = createAnnals({ baseUrl: "http://127.0.0.1:3000", token: async () => "token" });
const event = { event_type: "product.created", aggregate_type: "product", aggregate_id: "P-1", data: { sku: "P-1" } };

export async function requests() {
  await annals.POST("/api/v1/events", { body: event });
  await annals.POST("/api/v1/events", { body: { events: [event, { ...event, metadata: { reason: "why", ticket: 7 } }] } });
  await annals.POST("/api/v1/events", { body: event, params: { header: { "Idempotency-Key": "pump-1" } } });
  await annals.POST("/api/v1/entities/{aggregate_type}", { params: { path: { aggregate_type: "product" } }, body: { sku: "P-1" } });
  await annals.GET("/api/v1/events", { params: { query: { event_type: ["order.*", "product.created"], processed: true } } });

  // Members with a default may be left out.
  await annals.POST("/api/v1/data/uploads", { body: { dataset: "sales" } });
  const schema = { type: "object", properties: { name: { type: "string" } } };
  await annals.POST("/api/v1/events/types", { body: { event_type: "pump.tested", schema, example: { name: "Ada" } } });

  // @ts-expect-error: no such path
  await annals.GET("/api/v1/event");
  // @ts-expect-error: no such method
  await annals.DELETE("/api/v1/events", {});
  // @ts-expect-error: the body is missing
  await annals.POST("/api/v1/events");
  // @ts-expect-error: data are missing
  await annals.POST("/api/v1/events", { body: { event_type: "product.created", aggregate_type: "product", aggregate_id: "P-1" } });
  // @ts-expect-error: an unknown member
  await annals.POST("/api/v1/events", { body: { ...event, agregate_id: "P-1" } });
  // @ts-expect-error: an unknown member in a batch
  await annals.POST("/api/v1/events", { body: { events: [{ ...event, metdata: { reason: "why" } }] } });
  // @ts-expect-error: the id is a text
  await annals.POST("/api/v1/events", { body: { ...event, aggregate_id: 1 } });
  // @ts-expect-error: data are an object
  await annals.POST("/api/v1/events", { body: { ...event, data: "sku" } });
  // @ts-expect-error: the path has two parameters
  await annals.GET("/api/v1/entities/{aggregate_type}/{aggregate_id}", { params: { path: { aggregate_type: "product" } } });
  // @ts-expect-error: no such parameter
  await annals.GET("/api/v1/events", { params: { query: { processed: true, type: "product.created" } } });
  // @ts-expect-error: not one of the values
  await annals.GET("/api/v1/events", { params: { query: { order: "newest" } } });
  // @ts-expect-error: not one of the values
  await annals.GET("/api/v1/analytics/kpis", { params: { query: { granularity: "year" } } });
}

export async function answers() {
  const path = { aggregate_type: "product", aggregate_id: "P-1" };
  const product = await unwrap(annals.GET("/api/v1/entities/{aggregate_type}/{aggregate_id}", { params: { path } }));
  product.version satisfies number;
  product.state.base_price satisfies unknown;
  // @ts-expect-error: no such member
  product.id;

  for await (const entry of items((page) => annals.GET("/api/v1/audit/entity/{id}", { params: { path: { id: "P-1" }, query: page } }))) {
    entry.created_by satisfies string;
    entry.user_id satisfies string | null;
    entry.metadata.reason satisfies unknown;
    entry.changes?.base_price?.old satisfies unknown;
    // @ts-expect-error: the caller may not see what changed
    entry.changes.base_price;
  }

  const posted = await unwrap(annals.POST("/api/v1/events", { body: event }));
  // @ts-expect-error: a batch has items instead
  posted.id;
  if ("items" in posted) {
    posted.items[0]?.aggregate_version satisfies number | undefined;
  } else {
    posted.aggregate_version satisfies number;
  }

  const { error } = await annals.GET("/api/v1/events/{id}", { params: { path: { id: "x" } } });
  if (error && "code" in error) {
    error.code satisfies Schemas["ProblemCode"];
    // @ts-expect-error: no such code
    error.code === "no_such_code";
  }
}
