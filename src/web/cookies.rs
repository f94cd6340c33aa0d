//! The one cookie of a consent: read and written, never kept.

use crate::{
    broker::admin::consent::redirects::{COOKIE_PREFIX, Cookies},
    domain::token::Secret,
};
use http::{HeaderMap, HeaderValue, header};
use std::time::Duration;
use url::Url;

/// Binds a cookie to this host, over TLS, for every path (RFC 6265bis §4.1.3.2).
const HOST_PREFIX: &str = "__Host-";
/// Most cookies of ours that are looked at: consents that one browser has begun.
const COOKIES_MAX: usize = 32;
/// Longest value, in bytes.
const VALUE_MAX: usize = 64;

/// Those of ours, without their prefix. Another site below the same domain may write a cookie of the same name on plain
/// HTTP only: where there is TLS, one without the prefix is none of ours.
pub(super) fn read(headers: &HeaderMap, public_url: &Url) -> Cookies {
    let prefix = prefix(public_url);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)))
        .filter(|(name, value)| name.starts_with(COOKIE_PREFIX) && value.len() <= VALUE_MAX)
        .take(COOKIES_MAX)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Not for scripts, and not sent along with what other sites post or embed; it is sent when a provider's page leads
/// back here (`Lax`). On plain HTTP, which is for this machine only, browsers refuse `Secure` and the prefix.
pub(super) fn written(name: &str, value: &Secret, age: Duration, public_url: &Url) -> Option<HeaderValue> {
    let prefix = prefix(public_url);
    let secure = if prefix.is_empty() { "" } else { "; Secure" };
    let line = format!(
        "{prefix}{name}={}; Path=/; Max-Age={}{secure}; HttpOnly; SameSite=Lax",
        value.expose(),
        age.as_secs()
    );
    let mut line = HeaderValue::try_from(line).ok()?;
    line.set_sensitive(true);
    Some(line)
}

fn prefix(public_url: &Url) -> &'static str {
    match public_url.scheme() {
        "https" => HOST_PREFIX,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_bound_to_its_host_and_read_back() {
        let age = Duration::from_secs(900);
        let set = |url: &str| {
            let url = Url::parse(url).unwrap();
            written("bursar-1", &Secret::new("w"), age, &url).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(
            set("https://broker.example/x"),
            "__Host-bursar-1=w; Path=/; Max-Age=900; Secure; HttpOnly; SameSite=Lax"
        );
        assert_eq!(set("http://127.0.0.1:7680"), "bursar-1=w; Path=/; Max-Age=900; HttpOnly; SameSite=Lax");
        let mut headers = HeaderMap::new();
        let long = "x".repeat(VALUE_MAX + 1);
        let line =
            format!("other=1; __Host-bursar-1=w; bursar-2=v ;bursar-1=x; __Host-bursar-3={long}; broken");
        headers.insert(header::COOKIE, HeaderValue::try_from(line).unwrap());
        let found = |url: &str| read(&headers, &Url::parse(url).unwrap()).into_iter().collect::<Vec<_>>();
        // Who may write cookies for the whole domain does not choose which browser a consent is bound to.
        assert_eq!(found("https://broker.example/"), [("bursar-1".into(), "w".into())]);
        let plain = [("bursar-1".into(), "x".into()), ("bursar-2".into(), "v".into())];
        assert_eq!(found("http://127.0.0.1:7680"), plain);
    }
}
