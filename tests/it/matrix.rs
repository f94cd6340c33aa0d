//! Every grant with every client authentication, at authorization servers that we did not write; and the grants
//! that SAP Concur alone has, at our simulator of it. What each pair was seen to do is written into docs/matrix.md, and the page in the repository has to be what is seen now.

mod authlib;
mod cell;
mod concur;
mod idpy;
mod oidc_provider;
mod page;
mod toolkit;

use crate::support::{api::Api, driven::Driven, person::Person, pki::Pki};
use bursar::api::SigningAlgorithm;
use cell::{Cell, Outcome};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeSet, sync::Arc};

/// Connections that are under way at once: enough to keep two processors busy while some wait for their next poll.
const AT_ONCE: usize = 8;

/// A way of authenticating at the token endpoint: a column of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    ClientSecretBasic,
    ClientSecretPost,
    ClientSecretJwt,
    PrivateKeyJwt(SigningAlgorithm),
    TlsClientAuth,
    SelfSignedTlsClientAuth,
    None,
}

/// A way of obtaining an authorization: a row of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    AuthorizationCode,
    DeviceCode,
    ClientCredentials,
    RefreshToken,
    Password,
    JwtBearer,
    TokenExchange,
}

const METHODS: [Method; 9] = [
    Method::ClientSecretBasic,
    Method::ClientSecretPost,
    Method::ClientSecretJwt,
    Method::PrivateKeyJwt(SigningAlgorithm::Es256),
    Method::PrivateKeyJwt(SigningAlgorithm::Ps256),
    Method::PrivateKeyJwt(SigningAlgorithm::Eddsa),
    Method::TlsClientAuth,
    Method::SelfSignedTlsClientAuth,
    Method::None,
];
const WAYS: [Way; 7] = [
    Way::AuthorizationCode,
    Way::DeviceCode,
    Way::ClientCredentials,
    Way::RefreshToken,
    Way::Password,
    Way::JwtBearer,
    Way::TokenExchange,
];

/// What a server has to be asked, besides what the broker asks it.
#[async_trait::async_trait]
trait Site: Send + Sync {
    /// Of its profile.
    fn id(&self) -> &'static str;
    /// For the page: whose program it is.
    fn title(&self) -> &'static str;
    /// The operator's file about it; `offered` are the lines that say which grants and methods it has.
    fn profile(&self, offered: &str) -> String;
    /// Why the server does not have this pair.
    fn refuses(&self, way: Way, method: Method) -> Option<&'static str>;
    /// What connections ask for, and get.
    fn scopes(&self) -> &'static [&'static str];
    /// Makes the client known to the server, or what has become known of it since.
    async fn register(&self, client: &Registration);
    /// Of all clients.
    fn secret(&self) -> &'static str {
        SECRET
    }
    /// What a connection begins with: a refresh token as another program has obtained it, or a token to exchange.
    async fn credential(&self, client: &Registration) -> String;
    /// The one user's name and password.
    fn user(&self) -> (&'static str, &'static str);
    /// Where people find what the server shows at this address.
    fn for_people(&self, address: &str) -> String {
        address.to_owned()
    }
    /// Somebody who says yes to each question of the server's pages.
    fn person(&self) -> Person;
    /// RFC 7662, asked by an API.
    async fn introspect(&self, token: &str) -> serde_json::Value;
}

/// A client as the server knows it.
struct Registration {
    id: String,
    way: Way,
    method: Method,
    redirect_uris: Vec<String>,
    /// RFC 7517, in JSON.
    jwks: Option<serde_json::Value>,
    /// In PEM.
    certificate: Option<String>,
}

const PUBLIC_CLIENT: &str = "a public client has no credentials (RFC 6749 section 4.4)";
/// Of all clients. HTTP Basic and forms have to encode most of it, and a MAC can be made with it.
const SECRET: &str = "a+b/c=d:e&f%20g h~i?j#k;l\"m'n{o}";

/// What the server has of all that the broker speaks.
fn offered(site: &dyn Site) -> String {
    let has = |way: &Way, method: &Method| site.refuses(*way, *method).is_none();
    let ways = WAYS.into_iter().filter(|way| METHODS.iter().any(|method| has(way, method)));
    let methods = METHODS.into_iter().filter(|method| WAYS.iter().any(|way| has(way, method)));
    let ways: BTreeSet<_> = ways.map(Way::registered).collect();
    let methods: BTreeSet<_> = methods.map(Method::registered).collect();
    format!("grants = {ways:?}\nclient_auth = {methods:?}\n").replace('{', "[").replace('}', "]")
}

#[tokio::test]
async fn each_grant_works_with_each_client_authentication_that_a_foreign_server_offers() {
    let pki = Arc::new(Pki::new());
    let (oidc_provider, toolkit, authlib, idpy) = tokio::join!(
        oidc_provider::OidcProviderSite::start(&pki),
        toolkit::ToolkitSite::start(),
        authlib::AuthlibSite::start(),
        idpy::IdpySite::start(),
    );
    let sites: [Arc<dyn Site>; 4] =
        [Arc::new(oidc_provider), Arc::new(toolkit), Arc::new(authlib), Arc::new(idpy)];
    let profiles: Vec<_> = sites.iter().map(|site| site.profile(&offered(site.as_ref()))).collect();
    let broker = Driven::start_with(&profiles).await;
    let api = Api::of(broker.address);
    api.create_tenant().await;

    let cells = sites.iter().flat_map(|site| {
        let (api, pki) = (&api, &pki);
        WAYS.into_iter().flat_map(move |way| {
            METHODS.into_iter().map(move |method| Cell {
                site: Arc::clone(site),
                api: api.clone(),
                pki: Arc::clone(pki),
                way,
                method,
            })
        })
    });
    let begun = tokio::time::Instant::now();
    let outcomes: Vec<Outcome> = stream::iter(cells).map(Cell::run).buffered(AT_ONCE).collect().await;
    println!("{} pairs in {:.1?}", outcomes.len(), begun.elapsed());
    page::compare(&sites, &outcomes, &Box::pin(concur::seen()).await);
}
