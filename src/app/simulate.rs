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
            let request_token = simulator.furnish()?;
            for site in &sites {
                say(&format!("{site} {}", simulator.base_url(site)?));
            }
            let (first, last) =
                (simulator.base_url(&sites[0])?, simulator.base_url(&sites[sites.len() - 1])?);
            say(&concur_introduction(&first, &last, &simulator.control_url(), &request_token));
            say("ready");
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
            let refresh_token = simulator.furnish()?;
            let base = simulator.base_url(oauth::SITE)?;
            say(&format!("{} {base}", oauth::SITE));
            say(&oauth_introduction(&base, &simulator.control_url(), &refresh_token));
            say("ready");
            stop.cancelled().await;
            simulator.shutdown().await;
        }
    }
    Ok(())
}

fn concur_introduction(home: &str, global: &str, control: &str, request_token: &str) -> String {
    use concur::demo::{APP, COMPANY, LOGIN, PASSWORD, SECRET};
    format!(
        "control {control}\n\
         \n\
         client id      {APP}\n\
         client secret  {SECRET}\n\
         company uuid   {COMPANY}\n\
         request token  {request_token}   (24 hours, 5 uses)\n\
         user           {LOGIN}, {PASSWORD}\n\
         redirect URIs  any http://127.0.0.1:PORT/… or http://localhost:PORT/…\n\
         \n\
         token          {global}/oauth2/v0/token       (first exchanges; refreshes go to the geolocation)\n\
         authorize      {global}/oauth2/v0/authorize\n\
         otp            {home}/oauth2/v0/otp\n\
         revoke         DELETE {home}/app-mgmt/v0/connections\n\
         secrets        {home}/app-mgmt/v4/{APP}/secrets\n\
         \n\
         curl {global}/oauth2/v0/token -d client_id={APP} -d client_secret={SECRET} -d grant_type=password \\\n\
         \x20 -d credtype=authtoken -d username={COMPANY} -d password={request_token}\n\
         curl --json '{{\"trouble\": {{\"refuse\": {{\"code\": 134}}}}}}' {control}/control/break\n\
         curl --json '{{\"authorize\": {{\"consent\": \"allow\"}}}}' {control}/control/behaviour\n\
         curl {control}/control/events\n\
         \n\
         All orders are in docs/simulators.md.\n"
    )
}

fn oauth_introduction(base: &str, control: &str, refresh_token: &str) -> String {
    use oauth::demo::{CLIENT, PASSWORD, PUBLIC_CLIENT, SECRET, USER};
    format!(
        "control {control}\n\
         \n\
         client id      {CLIENT}\n\
         client secret  {SECRET}\n\
         public client  {PUBLIC_CLIENT}   (no secret)\n\
         refresh token  {refresh_token}   (of {CLIENT})\n\
         user           {USER}, {PASSWORD}\n\
         redirect URIs  any http://127.0.0.1:PORT/… or http://localhost:PORT/…\n\
         \n\
         token          {base}/token\n\
         authorize      {base}/authorize   (pushed requests: {base}/par)\n\
         devices        {base}/device_authorization\n\
         metadata       {base}/.well-known/oauth-authorization-server\n\
         \n\
         curl {base}/token -u {CLIENT}:{SECRET} -d grant_type=client_credentials\n\
         curl --json '{{\"trouble\": \"drop_after\"}}' {control}/control/break\n\
         curl --json '{{\"authorize\": {{\"consent\": \"allow\"}}}}' {control}/control/behaviour\n\
         curl {control}/control/events\n\
         \n\
         All orders are in docs/simulators.md.\n"
    )
}

fn enough(given: usize, most: usize) -> anyhow::Result<()> {
    anyhow::ensure!(given <= most, "--port was given {given} times, and there are {most} ports to give");
    Ok(())
}
