//! A log with every event type of the catalog. Every actor that may start a stream starts one, in two tenants whose people have the same
//! subjects and names; each tenant has a parked stream and a skipped event.

use annals_domain::NewEvent;
use annals_domain::event::Part;
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

/// All actors of one tenant.
pub struct People {
    pub staff: Person,
    pub users: [Person; 2],
    pub agents: [Person; 2],
    pub service: Person,
}

impl People {
    /// All of them.
    pub fn all(&self) -> [&Person; 6] {
        let Self {
            staff,
            users: [first, second],
            agents: [one, other],
            service,
        } = self;
        [staff, first, second, one, other, service]
    }

    fn moved_to(&self, tenant: Uuid) -> Self {
        let moved = |person: &Person| person.clone().in_tenant(tenant);
        Self {
            staff: moved(&self.staff),
            users: [moved(&self.users[0]), moved(&self.users[1])],
            agents: [moved(&self.agents[0]), moved(&self.agents[1])],
            service: moved(&self.service),
        }
    }
}

/// The world and its actors.
pub struct Scene {
    pub world: World,
    pub home: People,
    pub elsewhere: People,
}

impl Scene {
    pub async fn new() -> Self {
        let home = People {
            staff: Person::staff(),
            users: [Person::user(), Person::user()],
            agents: [Person::agent("pricing"), Person::agent("stock")],
            service: Person::service("billing"),
        };
        let elsewhere = home.moved_to(Uuid::new_v4());
        let scene = Self {
            world: World::without_requirements().await,
            home,
            elsewhere,
        };
        for people in [&scene.home, &scene.elsewhere] {
            scene.fill(people).await;
        }
        scene.world.project().await;
        scene.world.projector.sweep().await.expect("a sweep");
        // Recorded changes of key figures that are not applied.
        for people in [&scene.home, &scene.elsewhere] {
            let sale = json!({"sale_date": "2026-01-01", "amount_cents": 5, "currency": "USD"});
            scene.world.append(&people.staff, "sale.created", "S-noted", sale).await;
        }
        scene.world.project().await;
        scene.take_snapshots().await;
        scene
    }

    /// The people of both tenants.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.home.all().into_iter().chain(self.elsewhere.all())
    }

    async fn fill(&self, people: &People) {
        let world = &self.world;
        for starter in people.all() {
            let kinds = world.all_pages(&people.staff, "/events/types").await;
            let open = kinds.iter().filter(|kind| kind["closed"] == false);
            let events: Vec<Value> = open.map(|kind| example_by(kind, starter)).collect();
            assert!(events.len() > 30, "the catalog has fewer types than expected");
            world
                .post(&people.service, "/events", json!({ "events": events }))
                .await
                .expect(201);
            let imports = kinds.iter().filter(|kind| kind["aggregate_type"] == "import");
            self.import(people, imports.map(|kind| example_by(kind, starter))).await;
        }
        self.upload(people).await;
        self.cross(people).await;
        self.park_and_skip(people).await;
        let usage = annals_store::Usage {
            upcasts: 1,
            ..Default::default()
        };
        world.app.store.tally(people.staff.tenant.into(), usage).await;
        let asked = self
            .world
            .post(&people.staff, "/projector/rebuild", json!({"module": "order"}))
            .await;
        assert_eq!(asked.status, 202, "{}", asked.text);
    }

    /// Appends an event type that only Annals itself appends, in the way it does.
    async fn import(&self, people: &People, events: impl Iterator<Item = Value>) {
        let as_import = |event| {
            let (mut event, _) = NewEvent::from_json(event, "").expect("an example");
            event.part = Some(Part::Import);
            event
        };
        let events: Vec<NewEvent> = events.map(as_import).collect();
        let appends = self.world.app.appends();
        let appended = appends.append(&people.service.caller(), &events, &json!({})).await;
        appended.expect("imports");
    }

    /// Takes snapshots of all streams; they are too short for the projector to take any.
    async fn take_snapshots(&self) {
        let copy = "insert into annals.snapshots
             select tenant_id, clock_timestamp(), created_at, updated_at, deleted_at, 0, version, aggregate_type, aggregate_id, started_by, state, '{}', ''
               from annals.entities";
        self.world
            .superuser()
            .await
            .batch_execute(copy)
            .await
            .expect("snapshots");
    }

    /// An upload by each person, each with a rejected row.
    async fn upload(&self, people: &People) {
        let superuser = self.world.superuser().await;
        for starter in people.all() {
            let insert = "with upload as (
                     insert into annals.uploads (id, tenant_id, started_by, dataset, status, dry_run, options, rows_total, rows_rejected, started_at)
                     values (gen_random_uuid(), $1, $2, 'sales', 'running', false, '{}', 1, 1, now()) returning *)
                 insert into annals.rejected_rows (upload_id, \"row\", line, tenant_id, started_by, fields, errors)
                 select id, 1, 2, tenant_id, started_by, '{}', '[{}]' from upload";
            superuser
                .execute(insert, &[&starter.tenant, &starter.actor()])
                .await
                .expect("an upload");
        }
    }

    /// Streams in which one person has written after another, so that visibility differs from event to event.
    async fn cross(&self, people: &People) {
        let [user, other] = &people.users;
        let agent = &people.agents[0];
        let renamed = |id: String, by: &Person, user_id: Option<Uuid>| {
            json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id,
                   "data": {"phone": "+1-270-555-0199"}, "created_by": by.actor(), "user_id": user_id})
        };
        let of = |starter: &Person| format!("customer.registered by {}", starter.actor());
        let events = [
            renamed(of(user), other, None),
            renamed(of(other), agent, None),
            renamed(of(&people.staff), user, None),
            renamed(of(&people.service), agent, Some(user.sub)),
            renamed(of(user), &people.service, None),
        ];
        self.world
            .post(&people.service, "/events", json!({ "events": events }))
            .await
            .expect(201);
        // A type that this tenant has registered itself.
        let own = json!({"event_type": "customer.praised", "aggregate_type": "customer", "version": "1.0", "description": "Was praised.",
                         "effect": "none", "posters": ["staff", "user"], "schema": {"type": "object"}, "example": {}});
        self.world.post(&people.staff, "/events/types", own).await.expect(201);
    }

    /// One stream stays parked; in another one, the event at fault is skipped.
    async fn park_and_skip(&self, people: &People) {
        let bad_year = json!({"id": "fy", "start_date": "2026-03-31", "end_date": "2025-04-01"});
        for (id, skipped) in [("parked", false), ("skipped", true)] {
            let event = self
                .world
                .append(&people.staff, "organization.financial_year.added", id, bad_year.clone())
                .await;
            self.world.project().await;
            if skipped {
                let path = format!("/events/{}/processing", event["id"].as_str().expect("an id"));
                let skip = json!({"action": "skip", "reason": "the year runs backwards"});
                let answer = self.world.put(&people.staff, &path, skip).await;
                assert!((200..300).contains(&answer.status), "{}", answer.text);
                self.world.project().await;
            }
        }
    }
}

fn example_by(kind: &Value, starter: &Person) -> Value {
    let name = kind["event_type"].as_str().expect("a name");
    json!({"event_type": name, "aggregate_type": kind["aggregate_type"], "aggregate_id": format!("{name} by {}", starter.actor()),
           "data": kind["example"], "created_by": starter.actor()})
}
