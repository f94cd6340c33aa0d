//! Which request is for what. Understood with and without the path that the public address has, as ingresses may
//! leave it on or take it off.

use crate::domain::names::{ClientName, ConnectionName, Owner, TenantName};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// `/authorize/{word}`.
    Open(String),
    /// `/callback`, or `/callback/tenants/{tenant}/connections/{connection}`.
    Callback(Option<ConnectionName>),
    /// `/clients/{tenant}/{client}/jwks.json`, or `/clients/{client}/jwks.json` where the platform owns the client.
    Keys(ClientName),
    /// `/healthz`: it answers.
    Healthy,
}

pub(super) fn place(path: &str, public_path: &str) -> Option<Place> {
    let prefix = public_path.trim_end_matches('/');
    let inside = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
    match inside {
        "/callback" => Some(Place::Callback(None)),
        "/healthz" => Some(Place::Healthy),
        _ => {
            if let Some(name) = inside.strip_prefix("/callback/") {
                return name.parse().ok().map(|name| Place::Callback(Some(name)));
            }
            if let Some(name) = inside.strip_prefix("/clients/") {
                return client(name.strip_suffix("/jwks.json")?).map(Place::Keys);
            }
            let token = inside.strip_prefix("/authorize/")?;
            (!token.is_empty() && !token.contains('/')).then(|| Place::Open(token.to_owned()))
        }
    }
}

/// A tenant may be called anything, `platform` too: the number of words tells whose client it is.
fn client(words: &str) -> Option<ClientName> {
    let (owner, id) = match words.split_once('/') {
        None => (Owner::Platform, words),
        Some((tenant, id)) => (Owner::Tenant(TenantName(tenant.parse().ok()?)), id),
    };
    Some(ClientName { owner, id: id.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_behind_an_ingress_and_without_one() {
        let callback = || Some(Place::Callback(Some("tenants/t/connections/c".parse().unwrap())));
        let keys = |name: &str| Some(Place::Keys(name.parse().unwrap()));
        for (path, public, want) in [
            ("/callback", "/", Some(Place::Callback(None))),
            ("/oauth/callback", "/oauth", Some(Place::Callback(None))),
            ("/callback", "/oauth/", Some(Place::Callback(None))),
            ("/callback/tenants/t/connections/c", "/", callback()),
            ("/a/b/callback/tenants/t/connections/c", "/a/b/", callback()),
            ("/callback/tenants/t/connections/C", "/", None),
            ("/callback/", "/", None),
            ("/callback/x", "/", None),
            ("/authorize/word.t.c", "/", Some(Place::Open("word.t.c".into()))),
            ("/authorize/", "/", None),
            ("/authorize/a/b", "/", None),
            ("/oauthcallback", "/oauth", None),
            ("/clients/t/c/jwks.json", "/", keys("tenants/t/clients/c")),
            ("/oauth/clients/platform/c/jwks.json", "/oauth", keys("tenants/platform/clients/c")),
            ("/clients/c/jwks.json", "/", keys("platform/clients/c")),
            ("/clients/jwks.json", "/", None),
            ("/clients//c/jwks.json", "/", None),
            ("/clients/t/c/d/jwks.json", "/", None),
            ("/clients/t/c", "/", None),
            ("/clients/t/C/jwks.json", "/", None),
            ("/healthz", "/", Some(Place::Healthy)),
            ("/", "/", None),
            ("", "/", None),
        ] {
            assert_eq!(place(path, public), want, "{path} {public}");
        }
    }
}
