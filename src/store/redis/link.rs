//! A connection to one node that comes back: dialed when it is needed, given up when it broke or fell silent, every
//! question bounded by a deadline. Never sends anything twice.

use super::{
    super::StoreError,
    dialing::{Connection, Dialer},
    refusals::Fault,
};
use crate::domain::host_port::HostPort;
use arc_swap::ArcSwapOption;
use redis::{FromRedisValue, Pipeline};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

/// How long a failed dial answers for those who come after: thousands of calls do not dial each.
const DIAL_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Link {
    dialer: Dialer,
    address: HostPort,
    current: ArcSwapOption<Connection>,
    /// Held while dialing; the last failure.
    failed: Mutex<Option<(Instant, StoreError)>>,
}

impl Link {
    pub(super) fn new(dialer: Dialer, address: HostPort) -> Self {
        Self { dialer, address, current: ArcSwapOption::empty(), failed: Mutex::default() }
    }

    pub(super) fn address(&self) -> &HostPort {
        &self.address
    }

    /// Asks once. After an error that is not Redis' own refusal it is open whether the question was heard.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        question: &Pipeline,
        deadline: Instant,
    ) -> Result<T, Fault> {
        let refusals = self.dialer.refusals(&self.address);
        let mut used = None;
        let answer = timeout_at(deadline, async {
            let connection = used.insert(self.connection().await.map_err(Fault::Dial)?);
            let mut mux = connection.mux.clone();
            question.query_async(&mut mux).await.map_err(|error| refusals.fault(&error))
        })
        .await;
        let answer = answer.unwrap_or_else(|_| Err(Fault::Store(refusals.silent())));
        // A primary that became a replica refuses for ever, a lost peer stays silent: dial again after both. One that takes
        // no writes at present can be read, and is no better over another connection.
        let over = match &answer {
            Err(Fault::Store(StoreError::Unavailable { .. }) | Fault::ReadOnly(_)) => true,
            Ok(_)
            | Err(
                Fault::Store(_)
                | Fault::Dial(_)
                | Fault::NoScript
                | Fault::Moved(_)
                | Fault::Ask(_)
                | Fault::TryAgain,
            ) => false,
        };
        if let (Some(used), true) = (used, over) {
            self.current.compare_and_swap(&used, None);
        }
        answer
    }

    /// Dials again for the next question. Who waits for an answer still gets it.
    pub(super) fn forget(&self) {
        self.current.store(None);
    }

    async fn connection(&self) -> Result<Arc<Connection>, StoreError> {
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        let mut failed = self.failed.lock().await;
        if let Some(current) = self.current.load_full() {
            return Ok(current);
        }
        if let Some((_, error)) = failed.as_ref().filter(|(at, _)| at.elapsed() < DIAL_PAUSE) {
            return Err(error.clone());
        }
        match self.dialer.dial(&self.address).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *failed = None;
                self.current.store(Some(connection.clone()));
                Ok(connection)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}
