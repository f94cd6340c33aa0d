//! `bursar dev`: a whole broker on this machine, with simulated providers, a tenant and two connections, to try
//! things out. Everything stays in one folder; nothing is sent to another machine.

use super::{DevOptions, doors::Doors, house::House, monitoring::Monitoring, say, stopped};
use crate::{
    broker::admin::{
        Admin, AdminError, clients::NewClient, connections::NewConnection, grants::NewGrant,
        tenants::TenantPatch,
    },
    clock::{Clock, SystemClock},
    config::{Config, ProviderFile},
    domain::{
        client::Environment,
        connection::Narrowing,
        token::{ClientSecret, RefreshToken, Secret},
    },
    seal::FileKeyset,
    simulator::{concur, oauth},
    telemetry,
};
use anyhow::Context;
use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    ops::Range,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};
use tokio::net::TcpListener;

/// Tokens of the simulators live so long, in seconds: refreshing can be watched.
const LIFETIME: u64 = 30;
/// The ports for browsers and for probes, counted from the broker's own.
const CALLBACK_OFFSET: u16 = 80;
const MONITORING_OFFSET: u16 = 90;
const TENANT: &str = "tenants/demo";
const CONCUR: &str = "tenants/demo/connections/concur";
const OAUTH: &str = "tenants/demo/connections/oauth";

struct Simulators {
    concur: concur::ConcurSimulator,
    oauth: oauth::OAuthSimulator,
}

pub async fn dev(options: DevOptions) -> anyhow::Result<()> {
    let folder = &options.data_dir;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("folder {} cannot be made", folder.display()))?;
    let keyset = keyset(&folder.join("keyset"))?;
    let beside =
        (beside(options.listen, CALLBACK_OFFSET).await?, beside(options.listen, MONITORING_OFFSET).await?);
    let mut config = Config::dev(folder.clone(), options.listen, beside, keyset)?;
    telemetry::init(config.log.format, &config.log.filter)?;
    let stop = stopped()?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let simulators = simulators(folder, options.listen.port(), &clock).await?;
    config.providers = profiles(&simulators)?;
    let monitoring = Monitoring::open(&config, &clock, &stop).await?;
    let Some(house) = House::build(&config, clock, &[], &monitoring, &stop).await? else { return Ok(()) };
    let listener = TcpListener::bind(options.listen).await.with_context(|| {
        format!("{} cannot be bound: is another broker there? try --listen 127.0.0.1:0", options.listen)
    })?;
    let address = listener.local_addr()?;
    furnish(&house.admin, &simulators).await?;
    let told = introduction(address, monitoring.address, folder, &simulators)?;
    let served = house
        .serve(Doors::of(listener)?, stop, || {
            say(&told);
            say("ready");
        })
        .await;
    monitoring.close().await;
    served?;
    simulators.concur.shutdown().await;
    simulators.oauth.shutdown().await;
    Ok(())
}

/// So far above the broker's own port, or any that is free now. It is taken a moment later: nobody else is given one of
/// these by chance meanwhile, because systems give those above them to connections.
async fn beside(listen: SocketAddr, offset: u16) -> anyhow::Result<SocketAddr> {
    const UNGIVEN: Range<u32> = 20_000..32_000;
    if listen.port() != 0 {
        return Ok(SocketAddr::new(listen.ip(), listen.port().saturating_add(offset)));
    }
    let many = UNGIVEN.end - UNGIVEN.start;
    // Processes that start at once look at different places.
    let begin = std::process::id().wrapping_mul(31).wrapping_add(u32::from(offset) * 1000) % many;
    for step in 0..many {
        let port = u16::try_from(UNGIVEN.start + (begin + step) % many)?;
        if let Ok(free) = TcpListener::bind((listen.ip(), port)).await {
            return Ok(free.local_addr()?);
        }
    }
    anyhow::bail!("no port from {} to {} is free", UNGIVEN.start, UNGIVEN.end - 1)
}

/// The keyset of the folder, made when there is none.
fn keyset(path: &Path) -> anyhow::Result<Secret> {
    match fs::read_to_string(path) {
        Ok(text) => return Ok(Secret::new(text)),
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
        Err(err) => return Err(err).with_context(|| format!("{} cannot be read", path.display())),
    }
    let made = FileKeyset::generate().to_text();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    file.write_all(made.expose().as_bytes())?;
    file.sync_all()?;
    Ok(made)
}

/// Ports follow the broker's own, so that they are the same after a restart and in the documents.
async fn simulators(folder: &Path, port: u16, clock: &Arc<dyn Clock>) -> anyhow::Result<Simulators> {
    let port = |offset: u16| if port == 0 { 0 } else { port.saturating_add(offset) };
    let mut options = concur::Options {
        control_port: port(19),
        state_file: Some(folder.join("simulator-concur.json")),
        ..concur::Options::default()
    };
    for (data_centre, offset) in options.data_centres.iter_mut().zip(10..) {
        data_centre.port = port(offset);
    }
    let concur = concur::start(options, clock.clone()).await?;
    let short = serde_json::json!({ "access_token_seconds": LIFETIME });
    concur.change_behaviour(&short)?;
    let options = oauth::Options {
        port: port(20),
        control_port: port(29),
        state_file: Some(folder.join("simulator-oauth.json")),
        ..oauth::Options::default()
    };
    let oauth = oauth::start(options, clock.clone()).await?;
    oauth.change_behaviour(&short)?;
    Ok(Simulators { concur, oauth })
}

/// The built-in profiles, led to the simulators.
fn profiles(simulators: &Simulators) -> anyhow::Result<Vec<ProviderFile>> {
    let at = |site| simulators.concur.base_url(site);
    let concur = format!(
        "extends = \"sap-concur\"\nname = \"concur-simulator\"\ndisplay_name = \"SAP Concur (simulated)\"\n\
         bootstrap_at = \"{glz}\"\nauthorize_at = \"{glz}\"\nhosts = [\"127.0.0.1:*\"]\nexchange_timeout = \"5s\"\n\
         [data_centers]\nglz = \"{glz}\"\nus2 = \"{}\"\neu2 = \"{}\"\napj1 = \"{}\"\n",
        at("us2")?,
        at("eu2")?,
        at("apj1")?,
        glz = at("glz")?,
    );
    let oauth = format!(
        "extends = \"generic-oauth2\"\nname = \"oauth-simulator\"\ndisplay_name = \"OAuth 2.0 (simulated)\"\n\
         token_endpoint = \"{at}/token\"\nauthorization_endpoint = \"{at}/authorize\"\n\
         device_authorization_endpoint = \"{at}/device_authorization\"\n\
         revocation_endpoint = \"{at}/revoke\"\nrevocation = \"rfc7009\"\n\
         grants = [\"refresh_token\", \"client_credentials\", \"authorization_code\", \"device_code\"]\n\
         hosts = [\"127.0.0.1:*\"]\nexchange_timeout = \"5s\"\nrotation = \"always\"\nreuse = \"revoke_family\"\n",
        at = simulators.oauth.base_url(oauth::SITE)?,
    );
    let file = |name: &str, text| ProviderFile { name: name.to_owned(), text };
    Ok(vec![file("concur-simulator.toml", concur), file("oauth-simulator.toml", oauth)])
}

/// Tenant `demo` with two connections; what is there already is kept.
async fn furnish(admin: &Admin, simulators: &Simulators) -> anyhow::Result<()> {
    let tenant = TENANT.parse()?;
    if let Err(AdminError::NotFound { .. }) = admin.tenant(&tenant).await {
        let patch = TenantPatch { display_name: Some("Demo".into()), labels: None };
        admin.create_tenant(tenant, patch).await?;
    }
    if let Err(AdminError::NotFound { .. }) = admin.connection(&CONCUR.parse()?).await {
        connect_concur(admin, &simulators.concur).await?;
    }
    if let Err(AdminError::NotFound { .. }) = admin.connection(&OAUTH.parse()?).await {
        connect_oauth(admin, &simulators.oauth).await?;
    }
    Ok(())
}

async fn connect_concur(admin: &Admin, simulator: &concur::ConcurSimulator) -> anyhow::Result<()> {
    let app = simulator.app(concur::NewApp { redirect_uris: redirects(), ..concur::NewApp::default() })?;
    let company = simulator.company("us2")?;
    let request_token = simulator.request_token(&company, &app.id)?;
    let grant = NewGrant::CompanyRequestToken {
        company_uuid: company,
        request_token: Secret::new(request_token.token),
        api_base_url: None,
    };
    connect(admin, "concur", "concur-simulator", &app.id, &app.secrets, grant).await
}

/// Where the simulators may send a browser: to this machine.
fn redirects() -> Vec<String> {
    concur::demo::REDIRECT_URIS.map(str::to_owned).to_vec()
}

async fn connect_oauth(admin: &Admin, simulator: &oauth::OAuthSimulator) -> anyhow::Result<()> {
    let client =
        simulator.client(oauth::NewClient { redirect_uris: redirects(), ..oauth::NewClient::default() })?;
    let connected = simulator.connection(&client.id, "demo-user", None)?;
    let grant = NewGrant::RefreshToken {
        token: RefreshToken(Secret::new(connected.refresh_token)),
        api_base_url: None,
        expires_at: None,
    };
    connect(admin, "oauth", "oauth-simulator", &client.id, &client.secrets, grant).await
}

/// A client of the same id, and a connection that is started with the grant.
async fn connect(
    admin: &Admin,
    id: &str,
    provider: &str,
    client_id: &str,
    secrets: &[String],
    grant: NewGrant,
) -> anyhow::Result<()> {
    let client: crate::domain::names::ClientName = format!("{TENANT}/clients/{id}").parse()?;
    if let Ok(left_over) = admin.client(&client).await {
        // Of a start that was interrupted: its simulator may not know it.
        admin.delete_client(&left_over.record.name, "").await?;
    }
    admin
        .create_client(NewClient {
            name: client.clone(),
            provider: format!("providers/{provider}").parse()?,
            client_id: client_id.to_owned(),
            auth: None,
            allowed_grants: Vec::new(),
            allowed_scopes: Vec::new(),
            environment: Environment::Sandbox,
            secret: secrets.first().map(|secret| ClientSecret(Secret::new(secret.clone())).into()),
        })
        .await?;
    admin
        .create_connection(NewConnection {
            name: format!("{TENANT}/connections/{id}").parse()?,
            client,
            requested_scopes: Vec::new(),
            requested_resources: Vec::new(),
            narrowing: Narrowing::Refuse,
            labels: [("environment".to_owned(), "demo".to_owned())].into(),
            dpop_key: None,
            grant,
        })
        .await?;
    Ok(())
}

fn introduction(
    address: SocketAddr,
    monitoring: Option<SocketAddr>,
    folder: &Path,
    simulators: &Simulators,
) -> anyhow::Result<String> {
    let endpoint = match address.port() {
        7600 => String::new(),
        _ => format!(" --endpoint http://{address}"),
    };
    let probes = monitoring.map_or_else(String::new, |at| format!("http://{at}"));
    Ok(format!(
        "bursar dev: a broker with simulated providers, for this machine only\n\
         \n\
         \x20 API        http://{address}   (gRPC, with reflection)\n\
         \x20 probes     {probes}   (/livez, /readyz, /metrics)\n\
         \x20 state      {}   (store, keys, simulators; delete it to start over)\n\
         \x20 SAP Concur {}   (simulated data centre us2; control: {})\n\
         \x20 OAuth 2.0  {}   (simulated; control: {})\n\
         \x20 tokens     live {LIFETIME} s and are refreshed halfway, without anyone asking\n\
         \n\
         In another terminal:\n\
         \x20 bursar{endpoint} token get {CONCUR}\n\
         \x20 bursar{endpoint} connection list {TENANT}\n\
         \x20 grpcurl -plaintext -d '{{\"name\":\"{CONCUR}\"}}' {address} bursar.v1.TokenService/GetToken\n\
         \n\
         From a checkout, `cargo run -q --` stands for `bursar`. What happens is logged below.\n",
        folder.display(),
        simulators.concur.base_url("us2")?,
        simulators.concur.control_url(),
        simulators.oauth.base_url(oauth::SITE)?,
        simulators.oauth.control_url(),
    ))
}
