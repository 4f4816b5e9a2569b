import { createAnnals, unwrap } from "@annals/client";

const annals = createAnnals({ baseUrl: process.env.ANNALS_URL!, token: process.env.ANNALS_TOKEN! });
const pump = { aggregate_type: "product", aggregate_id: "PUMP-05HP" };
const first = { ...pump, event_type: "product.created", data: { sku: "SUBM-05HP", name: "Pump", base_price: 5999 } };
const data = { old_price: 5999, new_price: 5499, reason: "competitor_match" };
const second = { ...pump, event_type: "product.price_changed", data, metadata: { reason: "Acme sells it for 5,499" } };
await unwrap(annals.POST("/api/v1/events", { body: { events: [first, second] } }));

const product = await unwrap(annals.GET("/api/v1/entities/{aggregate_type}/{aggregate_id}", { params: { path: pump } }));
console.log(`version ${product.version}, price ${product.state.base_price}`);

const params = { path: { id: pump.aggregate_id }, query: { field: "base_price", limit: 1 } };
const audit = await unwrap(annals.GET("/api/v1/audit/entity/{id}", { params }));
for (const { event_type, created_by, metadata, changes } of audit.items) {
  console.log(`${event_type} by ${created_by}: ${changes?.base_price?.new} was ${changes?.base_price?.old}`);
  console.log(`because ${metadata.reason}`);
}
