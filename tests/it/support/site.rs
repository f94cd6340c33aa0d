//! A broker behind TLS with everything in files that are replaced as Kubernetes does it, and callers that come and go
//! meanwhile.

use super::{
    pki::{Identity, Pki},
    process::{self, Broker},
    tell_load,
};
use bursar::api::{GetTenantRequest, tenant_service_client::TenantServiceClient};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::TLS13,
};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpStream, sync::watch, task::JoinSet, time::Instant};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// Between two calls of one caller under load; there are [`CALLERS`].
const PACE: Duration = Duration::from_millis(10);
const CALLERS: usize = 16;
/// Calls in a row over one connection, then a new one is made.
const CALLS_A_CONNECTION: usize = 25;
/// Everything, to everybody who is let in.
pub(crate) const EVERYTHING: &str = "@across(\"environments\") permit (principal, action, resource);\n";

pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new(server: &Identity, bundle: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.secret("keyset", bursar::app::generate_keyset().unwrap().expose());
        site.release("1", server, bundle);
        site.rights(1, &[("a.cedar", EVERYTHING)]);
        let at = |file: &str| site.path(file).display().to_string();
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n[unix]\npath = \"{}\"\naccess = \"group\"\n\
             [tls]\ncertificate = \"files\"\ncert_file = \"{}\"\nkey_file = \"{}\"\nreload = \"1s\"\n\
             handshake_timeout = \"1m\"\n\
             [identity.spiffe]\nbundles = \"files\"\nbundles_dir = \"{}\"\n\
             [audit]\nwrite_timeout = \"15s\"\n\
             [policy]\ndir = \"{}\"\nreload = \"1s\"\n[keys]\nkeyset_file = \"{}\"\n",
            at("data"),
            at("socket"),
            at("now/tls.crt"),
            at("now/tls.key"),
            at("now/bundles"),
            at("rights"),
            at("keyset"),
        );
        fs::write(site.path("broker.toml"), text).unwrap();
        site
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn secret(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A folder with everything, which `now` is led to in one step: so Kubernetes replaces what it mounts.
    pub(crate) fn release(&self, name: &str, server: &Identity, bundle: &str) {
        fs::create_dir_all(self.path(&format!("{name}/bundles"))).unwrap();
        fs::write(self.path(&format!("{name}/tls.crt")), &server.certificate).unwrap();
        self.secret(&format!("{name}/tls.key"), &server.key);
        fs::write(self.path(&format!("{name}/bundles/example.org.pem")), bundle).unwrap();
        self.lead("now", name);
    }

    /// A set of policies, as a ConfigMap is mounted: files are links into a folder that is swapped.
    pub(crate) fn rights(&self, number: usize, files: &[(&str, &str)]) {
        let (folder, set) = (self.path("rights"), format!("..set-{number}"));
        fs::create_dir_all(folder.join(&set)).unwrap();
        for (name, text) in files {
            fs::write(folder.join(&set).join(name), text).unwrap();
        }
        self.lead("rights/..data", &set);
        for (name, _) in files {
            if !folder.join(name).is_symlink() {
                symlink(format!("..data/{name}"), folder.join(name)).unwrap();
            }
        }
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("..") && files.iter().all(|(kept, _)| *kept != name) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// A link that leads elsewhere from one moment to the next.
    fn lead(&self, link: &str, to: &str) {
        symlink(to, self.path("next")).unwrap();
        fs::rename(self.path("next"), self.path(link)).unwrap();
    }

    pub(crate) async fn serve(&self) -> Broker {
        Broker::serve(&self.path("broker.toml")).await
    }

    /// Runs a command against the endpoint; its exit code and what it complained of.
    pub(crate) async fn command(&self, endpoint: &str, flags: &[&str]) -> (i32, String) {
        let all = ["--endpoint", endpoint, "tenant", "show", "tenants/none"];
        let all: Vec<_> = all.iter().chain(flags).copied().collect();
        let output = process::run(&all).await;
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn write(&self, name: &str, identity: &Identity) -> [String; 2] {
        let (cert, key) = (format!("{name}.crt"), format!("{name}.key"));
        fs::write(self.path(&cert), &identity.certificate).unwrap();
        self.secret(&key, &identity.key);
        [self.path(&cert).display().to_string(), self.path(&key).display().to_string()]
    }
}

/// What a client believes, and who it is.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) authority: String,
    pub(crate) identity: (String, String),
}

impl Client {
    pub(crate) fn new(authority: &Pki, identity: Identity) -> Self {
        Self { authority: authority.certificate(), identity: (identity.certificate, identity.key) }
    }

    pub(crate) fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let chain = CertificateDer::pem_slice_iter(self.identity.0.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(self.identity.1.as_bytes()).unwrap();
        let mut config = builder.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
        let connector = TlsConnector::from(Arc::new(self.config(&[&TLS13])));
        let endpoint = Endpoint::from_static("http://localhost");
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                // As tonic's own connector does: each call would wait 40 ms for an acknowledgement otherwise.
                stream.set_nodelay(true)?;
                let name = ServerName::from(address.ip());
                connector.connect(name, stream).await.map(TokioIo::new)
            }
        });
        endpoint.connect_with_connector(connect).await
    }
}

/// Asks for a tenant that is not there. A caller that was recognised is told so, or that it may not.
pub(crate) async fn ask(channel: Channel) -> Result<(), Status> {
    let request = GetTenantRequest { name: "tenants/none".into() };
    match TenantServiceClient::new(channel).get_tenant(request).await {
        Err(status) if matches!(status.code(), Code::NotFound | Code::PermissionDenied) => Ok(()),
        Err(status) => Err(status),
        Ok(_) => panic!("there is no such tenant"),
    }
}

/// Callers that call until they are stopped: each over a connection that stays and over ones that are made anew.
pub(crate) struct Load {
    stop: watch::Sender<()>,
    callers: JoinSet<usize>,
    begun: Instant,
}

impl Load {
    /// As whom new connections are made may be changed meanwhile. A failed call is the end of the test.
    pub(crate) fn start<F>(
        address: SocketAddr,
        client: &Arc<parking_lot::Mutex<Client>>,
        steady: &Channel,
        ask: impl Fn(Channel) -> F + Copy + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(());
        let callers = (0..CALLERS)
            .map(|_| load(address, client.clone(), steady.clone(), ask, stopped.clone()))
            .collect();
        Self { stop, callers, begun: Instant::now() }
    }

    /// How many calls there were.
    pub(crate) async fn stop(mut self) -> usize {
        drop(self.stop);
        let mut calls = 0;
        while let Some(caller) = self.callers.join_next().await {
            calls += caller.unwrap();
        }
        tell_load(calls, self.begun);
        calls
    }
}

async fn load<F: Future<Output = Result<(), Status>>>(
    address: SocketAddr,
    client: Arc<parking_lot::Mutex<Client>>,
    steady: Channel,
    ask: impl Fn(Channel) -> F,
    stopped: watch::Receiver<()>,
) -> usize {
    let mut calls = 0;
    let begun = Instant::now();
    while stopped.has_changed().is_ok() {
        let now = client.lock().clone();
        let channel = now.connect(address).await.unwrap();
        for _ in 0..CALLS_A_CONNECTION {
            if stopped.has_changed().is_err() {
                break;
            }
            for channel in [&channel, &steady] {
                let asked = ask(channel.clone()).await;
                asked.unwrap_or_else(|status| panic!("after {:?}: {status}", begun.elapsed()));
                calls += 1;
            }
            tokio::time::sleep(PACE).await;
        }
    }
    calls
}
