//! `bursar simulate`: a simulated provider alone, for tests of other programs and for a broker that runs apart.

use super::{SimulateOptions, SimulatorKind, say, stopped};
use crate::{
    clock::{Clock, SystemClock},
    simulator::{concur, oauth},
};
use std::sync::Arc;

pub async fn simulate(options: SimulateOptions) -> anyhow::Result<()> {
    let stop = stopped()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lifetime = options
        .lifetime
        .map(|lifetime| serde_json::json!({ "access_token_seconds": lifetime.as_secs().max(1) }));
    match options.kind {
        SimulatorKind::Concur => {
            let mut wanted = concur::Options {
                control_port: options.control_port,
                state_file: options.state_file,
                ..concur::Options::default()
            };
            enough(options.ports.len(), wanted.data_centres.len())?;
            for (data_centre, port) in wanted.data_centres.iter_mut().zip(&options.ports) {
                data_centre.port = *port;
            }
            let sites: Vec<_> = wanted.data_centres.iter().map(|dc| dc.name.clone()).collect();
            let simulator = concur::start(wanted, clock).await?;
            if let Some(lifetime) = lifetime {
                simulator.change_behaviour(&lifetime)?;
            }
            for site in sites {
                say(&format!("{site} {}", simulator.base_url(&site)?));
            }
            say(&format!("control {}\nready", simulator.control_url()));
            stop.cancelled().await;
            simulator.shutdown().await;
        }
        SimulatorKind::OAuth => {
            enough(options.ports.len(), 1)?;
            let wanted = oauth::Options {
                port: options.ports.first().copied().unwrap_or(0),
                control_port: options.control_port,
                state_file: options.state_file,
                ..oauth::Options::default()
            };
            let simulator = oauth::start(wanted, clock).await?;
            if let Some(lifetime) = lifetime {
                simulator.change_behaviour(&lifetime)?;
            }
            let base = simulator.base_url(oauth::SITE)?;
            say(&format!("{} {base}\ncontrol {}\nready", oauth::SITE, simulator.control_url()));
            stop.cancelled().await;
            simulator.shutdown().await;
        }
    }
    Ok(())
}

fn enough(given: usize, most: usize) -> anyhow::Result<()> {
    anyhow::ensure!(given <= most, "--port was given {given} times, and there are {most} ports to give");
    Ok(())
}
