//! `bursar serve`: the broker by its configuration, until it is told to stop.

use super::{ServeMode, ServeOptions, house::House, say, stopped};
use crate::{
    clock::SystemClock,
    config::{self, Config},
    seal::FileKeyset,
    telemetry,
};
use anyhow::Context;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Environment variables that belong to the command line.
const ELSEWHERE: &[&str] = &["BURSAR_ENDPOINT", "BURSAR_OUTPUT", "BURSAR_TIMEOUT"];

pub async fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    if options.mode == ServeMode::PrintDefaultConfig {
        say(config::DEFAULT);
        return Ok(());
    }
    let mut config = Config::read(options.config.as_deref(), ELSEWHERE)?;
    if let Some(listen) = options.listen {
        anyhow::ensure!(
            listen.ip().is_loopback(),
            "--listen: {listen} is not a loopback address; until callers are authenticated only this machine may call"
        );
        config.listen = listen;
    }
    if options.mode == ServeMode::Check {
        FileKeyset::parse(config.keys.keyset.expose()).context("keys.keyset_file")?;
        super::house::catalogue(&config)?;
        say("configuration is valid: files and values; the store and the providers were not asked");
        return Ok(());
    }
    telemetry::init(config.log.format, &config.log.filter)?;
    let stop = stopped()?;
    let house = House::build(&config, Arc::new(SystemClock)).await?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen: {} cannot be bound; is another process there?", config.listen))?;
    let address = listener.local_addr()?;
    house
        .serve(listener, stop, || {
            tracing::info!(%address, "serving");
            say("ready");
        })
        .await
}
