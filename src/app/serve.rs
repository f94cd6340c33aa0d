//! `bursar serve`: the broker by its configuration, until it is told to stop.

use super::{
    ServeMode, ServeOptions, callers, collector,
    doors::{self, Doors},
    house::House,
    monitoring::Monitoring,
    say, stopped,
};
use crate::{
    clock::{Clock, SystemClock},
    config::{self, Config, MemoryLock},
    process::{self, NotLocked},
    telemetry,
};
use std::sync::Arc;

/// Environment variables that belong to the command line.
pub(super) const ELSEWHERE: &[&str] = &[
    "BURSAR_ENDPOINT",
    "BURSAR_OUTPUT",
    "BURSAR_TIMEOUT",
    "BURSAR_TLS_CA",
    "BURSAR_TLS_CERT",
    "BURSAR_TLS_KEY",
    "BURSAR_TLS_SERVER_NAME",
    "BURSAR_SERVER_SPIFFE_ID",
    "BURSAR_TOKEN_FILE",
];

pub async fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    if options.mode == ServeMode::PrintDefaultConfig {
        say(config::DEFAULT);
        return Ok(());
    }
    let mut config = Config::read(options.config.as_deref(), ELSEWHERE)?;
    if let Some(listen) = options.listen {
        config.listen_at(listen)?;
    }
    if options.mode == ServeMode::Check {
        super::keks::keks(&config)?;
        super::house::catalogue(&config)?;
        doors::check(&config)?;
        callers::check(&config)?;
        collector::check(&config)?;
        super::policies::rights(&config)?;
        say("configuration is valid: files and values; the store and the providers were not asked");
        return Ok(());
    }
    telemetry::init(config.log.format, &config.log.filter)?;
    lock_memory(config.process.memory_lock)?;
    let stop = stopped()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let monitoring = Monitoring::open(&config, &clock, &stop).await?;
    let doors = Doors::open(&config, &clock, &stop).await?;
    let (address, socket) = (doors.address, doors.socket.clone());
    let house = House::build(&config, clock, &doors.open, &monitoring, &stop).await?;
    let Some(house) = house else { return Ok(()) };
    let served = house
        .serve(doors, stop, || {
            let address = address.map(|address| address.to_string()).unwrap_or_default();
            let socket = socket.map(|socket| socket.display().to_string()).unwrap_or_default();
            tracing::info!(address, socket, "serving");
            say("ready");
        })
        .await;
    monitoring.close().await;
    served
}

/// Before any secret is unlocked.
fn lock_memory(wish: MemoryLock) -> anyhow::Result<()> {
    let mend = |error: NotLocked| match error {
        NotLocked::Limit => {
            "set LimitMEMLOCK=infinity (systemd) or add the capability IPC_LOCK (containers), or turn swap off and set \
             process.memory_lock = \"off\""
        }
        NotLocked::System => "set process.memory_lock = \"off\" where swap is off or encrypted",
    };
    match wish {
        MemoryLock::Off => Ok(()),
        MemoryLock::Try => {
            if let Err(error) = process::lock_memory() {
                let mend = mend(error);
                tracing::warn!(%error, mend, "memory is not locked: secrets may be written to swap");
            }
            Ok(())
        }
        MemoryLock::Required => process::lock_memory()
            .map_err(|error| anyhow::anyhow!("process.memory_lock: {error}\n    mend: {}", mend(error))),
    }
}
