//! Key figures: what state tables' triggers have noted is settled, and days that are over are announced as `kpi.calculated`.
//!
//! An announcement is appended as any service appends, as the service `annals`; the projector's own role writes no events. Which
//! revision is next, and whether there is anything new to say, is read from the log, so that a rebuild, which mends figures, announces
//! nothing that was announced, and a sweep that was killed between the append and its note finds nothing new.

use std::time::{Duration, Instant};

use annals::domain::{Actor, Caller, EventType, NewEvent, Role, StreamId, TenantId};
use annals::store::{DueKpi, StoreError};
use serde_json::{Map, Value, json};

use crate::Projector;

/// How long a sweep settles; what a bulk load leaves goes to the next ones.
const PATIENCE: Duration = Duration::from_secs(15);
/// The service that announces.
const SERVICE: &str = "annals";
/// The version that these data follow, whatever later ones a tenant has registered.
const VERSION: &str = "1.0";

impl Projector {
    /// Settles what is noted, for as long as a sweep has; whether that was all.
    pub(crate) async fn settle_kpis(&self) -> Result<bool, StoreError> {
        let began = Instant::now();
        while self.store.settle_kpis().await? {
            if began.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Announces days that are over and have not been announced as they are; some of each tenant's.
    pub(crate) async fn announce_kpis(&self) -> Result<(), StoreError> {
        let due = self.store.due_kpis().await?;
        for of_tenant in due.chunk_by(|a, b| a.tenant_id == b.tenant_id) {
            match self.announce(of_tenant).await {
                // A tenant's own rules for the type, or another sweep that was here first: it stays due.
                Err(StoreError::Refused(refusal)) => {
                    tracing::warn!(tenant.id = %of_tenant[0].tenant_id, error.code = refusal.code, "key figures not announced");
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    async fn announce(&self, due: &[DueKpi]) -> Result<(), StoreError> {
        let news = due.iter().filter(|kpi| has_news(kpi));
        let events = news.map(announcement).collect::<Result<Vec<_>, _>>()?;
        if let (false, Some(first)) = (events.is_empty(), due.first()) {
            let caller = service(first.tenant_id)?;
            let revision = self.store.fresh_catalog(&caller).await?.revision();
            self.store.append(&caller, &events, &json!({}), revision).await?;
            let streams: Vec<StreamId> = events.iter().map(|event| event.stream(first.tenant_id)).collect();
            self.project(&streams).await?;
        }
        self.store.note_announced(due).await
    }
}

/// Whether the figures are others than those announced. A day that all sales have left before it was ever announced is none.
fn has_news(due: &DueKpi) -> bool {
    match &due.announced {
        Some(announced) => due
            .figures
            .iter()
            .any(|(name, value)| announced.get(name) != Some(value)),
        None => ["sales_count", "expenses_count"]
            .iter()
            .any(|count| due.figures[*count] != json!(0)),
    }
}

fn announcement(due: &DueKpi) -> Result<NewEvent, StoreError> {
    let revision = due.revision + 1;
    let stream = format!("{}:{}", due.currency, due.day);
    let mut data: Map<String, Value> = due.figures.clone();
    data.insert("revision".to_owned(), json!(revision));
    let unusable = |name: &str| StoreError::Unexpected(format!("an unusable {name} of key figures"));
    let mut event = NewEvent::plain(
        EventType::try_from("kpi.calculated".to_owned()).map_err(|_| unusable("type"))?,
        "kpi".to_owned().try_into().map_err(|_| unusable("kind"))?,
        stream.clone().try_into().map_err(|_| unusable("stream"))?,
        data,
    );
    event.version = Some(VERSION.to_owned().try_into().map_err(|_| unusable("version"))?);
    event.created_by = Some(Actor::try_from("system".to_owned()).map_err(|_| unusable("actor"))?);
    event.source = Some("sweep".to_owned().try_into().map_err(|_| unusable("source"))?);
    event.causation_id = due.cause;
    event.idempotency_key = Some(
        format!("kpi:{stream}:{revision}")
            .try_into()
            .map_err(|_| unusable("key"))?,
    );
    event.expected_version = Some(due.revision);
    Ok(event)
}

fn service(tenant: TenantId) -> Result<Caller, StoreError> {
    Caller::new(tenant, Role::Service, *tenant.as_uuid(), Some(SERVICE.to_owned()))
        .map_err(|e| StoreError::Unexpected(e.to_string()))
}
