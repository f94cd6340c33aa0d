//! Asks the broker that runs whether it serves, and which version it is, and, where its store cannot be
//! looked at, which connections need a consent. Any call tells the version to whom the broker
//! knows, even one that is refused: a list of providers tells the least.

use super::{
    super::{ApiArgs, failure::Failure, session::Session},
    Finding,
};
use crate::{
    api::{ListConnectionsRequest, ListProvidersRequest, state_reason::Reason},
    doctor::{
        broker::{self, Endpoint, Health, Version},
        connections::{ENDS_SOON, HEARD_MAX, Need, heard},
    },
};
use prost_types::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use tonic::{Code, metadata::MetadataMap};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};

/// A broker that runs answers at once.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(10);
const VERSION: &str = "bursar-version";
/// Longest version that is repeated.
const VERSION_MAX: usize = 64;
const OURS: &str = env!("CARGO_PKG_VERSION");

pub(super) async fn asked(api: &ApiArgs, of: Endpoint) -> Result<Vec<Finding>, Failure> {
    let endpoint = api.endpoint();
    let silent = |cause: &Failure| vec![broker::health(endpoint, of, &Health::Silent(cause.to_string()))];
    let session = match Session::open(api).await {
        Ok(session) => session,
        Err(usage @ Failure::Usage(_)) => return Err(usage),
        Err(cause) => return Ok(silent(&cause)),
    };
    let health = match session.wait(session.health().check(HealthCheckRequest::default())).await {
        Ok(answer) if answer.status() == ServingStatus::Serving => Health::Serving,
        Ok(_) => Health::NotServing,
        // It stops, or is not ready.
        Err(Failure::Refused(status)) if matches!(status.code(), Code::Unavailable | Code::NotFound) => {
            Health::NotServing
        }
        Err(cause) => return Ok(silent(&cause)),
    };
    let mut found = vec![broker::health(endpoint, of, &health)];
    if health == Health::Serving {
        found.push(broker::version(endpoint, &version(&session).await, OURS));
    }
    Ok(found)
}

/// Connections that need a consent, by the broker's word.
pub(super) async fn connections(api: &ApiArgs, now: &Timestamp) -> Result<Vec<Finding>, Failure> {
    let session = Session::open(api).await?;
    let soon = i64::try_from(ENDS_SOON.as_secs()).unwrap_or(i64::MAX);
    let soon = Timestamp { seconds: now.seconds.saturating_add(soon), nanos: 0 };
    let mut filters = vec![(Need::Reauthorization, "state = NEEDS_REAUTHORIZATION".to_owned())];
    // Others that are pending wait for nobody.
    let waits = [Reason::AwaitingAuthorization, Reason::AuthorizationExpired, Reason::AuthorizationDenied];
    filters.extend(waits.map(|reason| {
        let word = reason.as_str_name().trim_start_matches("REASON_");
        (Need::Consent, format!("state = PENDING AND state_reason.reason = {word}"))
    }));
    let ends = format!("state = ACTIVE AND refresh_token_expire_time < \"{soon}\"");
    filters.push((Need::RefreshTokenEnds, ends));
    let mut needs: BTreeMap<Need, Vec<String>> = BTreeMap::new();
    for (need, filter) in filters {
        let listed = session
            .pages(HEARD_MAX, |page_size, page_token| {
                let (mut connections, filter) = (session.connections(), filter.clone());
                let parent = "tenants/-".to_owned();
                let request = ListConnectionsRequest { parent, page_size, page_token, filter };
                async move {
                    let answer = connections.list_connections(request).await?;
                    Ok(answer.map(|page| (page.connections, page.next_page_token)))
                }
            })
            .await?;
        needs.entry(need).or_default().extend(listed.items.into_iter().map(|one| one.name));
    }
    Ok(heard(&needs))
}

async fn version(session: &Session) -> Version {
    let request = ListProvidersRequest { page_size: 1, ..ListProvidersRequest::default() };
    let not_told = || Version::NotTold("it does not know who asks".to_owned());
    let asked = tokio::time::timeout(ANSWER_MAX, session.providers().list_providers(request)).await;
    let told = match &asked {
        Ok(Ok(answer)) => said(answer.metadata()),
        Ok(Err(status)) => said(status.metadata()),
        Err(_) => return Version::NotTold("it did not answer".to_owned()),
    };
    told.map_or_else(not_told, Version::Told)
}

fn said(metadata: &MetadataMap) -> Option<String> {
    let told = metadata.get(VERSION)?.to_str().ok()?;
    let plain = |c: &char| c.is_ascii_alphanumeric() || ".-+".contains(*c);
    Some(told.chars().filter(plain).take(VERSION_MAX).collect())
}
