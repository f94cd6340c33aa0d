//! What traces tell of a request: to whom, and what came of it. Not where exactly: an address can hold what nobody else
//! should know, and a provider's own words are judged elsewhere.

use super::Reply;
use crate::{
    domain::failure::{Evidence, Trouble},
    traces::{self, Span, names},
};
use http::Method;
use url::Url;

pub(super) fn begun(method: &Method, url: &Url) -> Span {
    // Those that anything here is asked with; OpenTelemetry has a word for all others.
    let method = [Method::GET, Method::POST, Method::DELETE]
        .iter()
        .zip(["GET", "POST", "DELETE"])
        .find_map(|(known, word)| (known == method).then_some(word))
        .unwrap_or("_OTHER");
    let span = traces::named(&names::REQUEST, method);
    if span.is_recorded() {
        span.say(names::HTTP_METHOD, method);
        span.say(names::SERVER_ADDRESS, url.host_str().unwrap_or_default());
        span.count(names::SERVER_PORT, url.port_or_known_default().unwrap_or_default().into());
    }
    span
}

pub(super) fn ended(span: &Span, fate: &Result<Reply, Evidence>) {
    let status = match fate {
        Ok(reply) => Some(reply.status),
        Err(Evidence::Unreadable { status, .. } | Evidence::Redirected { status }) => Some(*status),
        Err(Evidence::Refused(refusal)) => Some(refusal.status),
        Err(
            Evidence::NotSent(_) | Evidence::Lost(_) | Evidence::HostRefused { .. } | Evidence::Unusable(_),
        ) => None,
    };
    if let Some(status) = status {
        span.count(names::HTTP_STATUS, status.into());
    }
    match fate {
        Ok(reply) if reply.status < 400 => {}
        Ok(_) | Err(Evidence::Redirected { .. } | Evidence::Refused(_)) => span.failed_with(status),
        Err(Evidence::NotSent(trouble) | Evidence::Lost(trouble) | Evidence::Unreadable { trouble, .. }) => {
            span.failed(word(*trouble));
        }
        Err(Evidence::HostRefused { .. }) => span.failed("host_refused"),
        Err(Evidence::Unusable(_)) => span.failed("unusable"),
    }
}

const fn word(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Dns => "dns",
        Trouble::Connect => "connect",
        Trouble::Tls => "tls",
        Trouble::Timeout => "timeout",
        Trouble::Reset => "reset",
        Trouble::Truncated => "truncated",
        Trouble::TooLarge => "too_large",
        Trouble::NotJson => "not_json",
        Trouble::ContentType => "content_type",
        Trouble::Other => "_OTHER",
    }
}
