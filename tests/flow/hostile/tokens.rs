//! What a hostile token endpoint answers to a refresh.

use super::{
    Case, Kept, Scene, Want,
    wire::{Act, answer, html, json, ok, raw},
};
use bursar::domain::failure::Class;

const JSON: &str = "Content-Type: application/json\r\n";
const SERVED: Want = Want::Served(Kept::New);
const MALFORMED: Want = Want::Refused(Class::Malformed, Kept::New);
const LOST: Want = Want::Refused(Class::Ambiguous, Kept::Old);

const fn refused(class: Class) -> Want {
    Want::Refused(class, Kept::Old)
}

pub(super) fn cases() -> Vec<Case> {
    [lifetimes(), renewals(), access_tokens(), jwts(), errors_in_success(), bodies(), framing(), silence()]
        .into_iter()
        .flatten()
        .chain(redirects())
        .chain(refusals())
        .chain(throttling())
        .chain(echoes())
        .collect()
}

/// A case whose answer is a rotation with something besides.
fn besides(name: &'static str, act: fn(&Scene) -> Act, want: Want) -> Case {
    Case { name, act, want }
}

fn lifetimes() -> Vec<Case> {
    vec![
        besides("`expires_in` as text", |s| ok(&s.rotation(r#","expires_in":"3600""#)), SERVED),
        besides("`expires_in` left out", |s| ok(&s.rotation("")), SERVED),
        besides("`expires_in` null", |s| ok(&s.rotation(r#","expires_in":null"#)), SERVED),
        besides("`expires_in` as a fraction", |s| ok(&s.rotation(r#","expires_in":3600.5"#)), SERVED),
        besides("`expires_in` negative", |s| ok(&s.rotation(r#","expires_in":-3600"#)), MALFORMED),
        besides("`expires_in` zero", |s| ok(&s.rotation(r#","expires_in":0"#)), MALFORMED),
        besides("`expires_in` 1e300", |s| ok(&s.rotation(r#","expires_in":1e300"#)), MALFORMED),
        besides(
            "`expires_in` beyond 64 bits",
            |s| ok(&s.rotation(r#","expires_in":99999999999999999999999"#)),
            MALFORMED,
        ),
        besides("`expires_in` true", |s| ok(&s.rotation(r#","expires_in":true"#)), MALFORMED),
        besides("`expires_in` in words", |s| ok(&s.rotation(r#","expires_in":"soon""#)), MALFORMED),
        besides("`expires_in` as a list", |s| ok(&s.rotation(r#","expires_in":[3600]"#)), MALFORMED),
        besides("`expires_in` as an object", |s| ok(&s.rotation(r#","expires_in":{"s":1}"#)), MALFORMED),
        besides(
            "`expires_in` as a moment instead of a span",
            |s| ok(&s.rotation(r#","expires_in":1900000000"#)),
            MALFORMED,
        ),
        besides("`expires_in` twice", |s| ok(&s.rotation(r#","expires_in":9,"expires_in":9"#)), MALFORMED),
    ]
}

fn renewals() -> Vec<Case> {
    let kept = Want::Served(Kept::Old);
    vec![
        besides("no refresh token", |s| ok(&s.access("")), kept),
        besides("refresh token null", |s| ok(&s.access(r#","refresh_token":null"#)), kept),
        besides("refresh token empty", |s| ok(&s.access(r#","refresh_token":"""#)), kept),
        besides("refresh token as a number", |s| ok(&s.access(r#","refresh_token":7"#)), kept),
        besides("refresh token as an object", |s| ok(&s.access(r#","refresh_token":{"a":1}"#)), kept),
        besides("refresh token as a list", |s| ok(&s.access(r#","refresh_token":["a"]"#)), kept),
        besides("refresh token false", |s| ok(&s.access(r#","refresh_token":false"#)), kept),
        besides(
            "refresh token twice",
            |s| ok(&s.access(&format!(r#","refresh_token":"first","refresh_token":"{}""#, s.new))),
            MALFORMED,
        ),
        besides("no scope", |s| ok(&s.rotation("")), SERVED),
        besides("the same scope", |s| ok(&s.rotation(r#","scope":"read""#)), SERVED),
        besides("scope as a list", |s| ok(&s.rotation(r#","scope":["read"]"#)), SERVED),
        besides("scope null", |s| ok(&s.rotation(r#","scope":null"#)), SERVED),
        besides("scope as a number", |s| ok(&s.rotation(r#","scope":7"#)), SERVED),
        besides("a wider scope", |s| ok(&s.rotation(r#","scope":"read admin""#)), MALFORMED),
        besides("a wider scope in a list", |s| ok(&s.rotation(r#","scope":["read","admin"]"#)), MALFORMED),
        besides(
            "a scope behind a zero byte",
            |s| ok(&s.rotation(r#","scope":"read\u0000admin""#)),
            MALFORMED,
        ),
    ]
}

fn access_tokens() -> Vec<Case> {
    vec![
        besides("no access token", |s| ok(&s.with_access("")), MALFORMED),
        besides("access token empty", |s| ok(&s.with_access(r#","access_token":"""#)), MALFORMED),
        besides("access token null", |s| ok(&s.with_access(r#","access_token":null"#)), MALFORMED),
        besides("access token as a number", |s| ok(&s.with_access(r#","access_token":7"#)), MALFORMED),
        besides(
            "access token as an object",
            |s| ok(&s.with_access(r#","access_token":{"a":"b"}"#)),
            MALFORMED,
        ),
        besides(
            "access token twice",
            |s| ok(&s.with_access(r#","access_token":"a","access_token":"b""#)),
            MALFORMED,
        ),
        besides(
            "access token with a line break, to add a header",
            |s| ok(&s.with_access(r#","access_token":"a\r\nX-Admin: 1""#)),
            MALFORMED,
        ),
        besides(
            "access token with a zero byte",
            |s| ok(&s.with_access(r#","access_token":"a\u0000b""#)),
            MALFORMED,
        ),
        besides(
            "access token with an escape character",
            |s| ok(&s.with_access(r#","access_token":"\u001b[2J""#)),
            MALFORMED,
        ),
        besides("access token beyond ASCII", |s| ok(&s.with_access(r#","access_token":"töken""#)), MALFORMED),
        besides(
            "access token of 48 KiB",
            |s| ok(&s.with_access(&format!(r#","access_token":"{}""#, "a".repeat(48 * 1024)))),
            SERVED,
        ),
        besides("token type `mac`", |s| ok(&s.typed(r#","token_type":"mac""#)), MALFORMED),
        besides("token type `DPoP` without a proof", |s| ok(&s.typed(r#","token_type":"DPoP""#)), MALFORMED),
        besides("no token type", |s| ok(&s.typed("")), MALFORMED),
        besides("token type as a number", |s| ok(&s.typed(r#","token_type":1"#)), MALFORMED),
        besides(
            "token type twice",
            |s| ok(&s.typed(r#","token_type":"mac","token_type":"Bearer""#)),
            MALFORMED,
        ),
        besides("token type in odd letters", |s| ok(&s.typed(r#","token_type":"bEaReR""#)), SERVED),
    ]
}

/// Nothing rests on a JWT: it is a text for others, in which a nearer end is noticed.
fn jwts() -> Vec<Case> {
    vec![
        besides(
            "a JWT that has expired",
            |s| ok(&s.jwt(r#"{"alg":"RS256"}"#, r#"{"exp":1000000000}"#)),
            MALFORMED,
        ),
        besides("a JWT with `alg` none", |s| ok(&s.jwt(r#"{"alg":"none"}"#, r#"{"sub":"x"}"#)), SERVED),
        besides(
            "a JWT with an unknown `crit`",
            |s| {
                ok(&s
                    .jwt(r#"{"alg":"HS256","crit":["x"],"jku":"http://169.254.169.254/"}"#, r#"{"sub":"x"}"#))
            },
            SERVED,
        ),
        besides(
            "a JWT that ends in the year 9999999",
            |s| ok(&s.jwt(r#"{"alg":"RS256"}"#, r#"{"exp":315532800000000}"#)),
            SERVED,
        ),
        besides(
            "a JWT whose `exp` is text",
            |s| ok(&s.jwt(r#"{"alg":"RS256"}"#, r#"{"exp":"now"}"#)),
            SERVED,
        ),
        besides(
            "a JWT with a body of 200 levels",
            |s| {
                let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
                ok(&s.jwt(r#"{"alg":"RS256"}"#, &deep))
            },
            SERVED,
        ),
    ]
}

fn errors_in_success() -> Vec<Case> {
    vec![
        besides("200 with `invalid_grant`", |_| ok(r#"{"error":"invalid_grant"}"#), refused(Class::Suspect)),
        besides("200 with `invalid_client`", |_| ok(r#"{"error":"invalid_client"}"#), refused(Class::Client)),
        besides("200 with `server_error`", |_| ok(r#"{"error":"server_error"}"#), refused(Class::Down)),
        besides(
            "200 with an error and tokens",
            |s| ok(&s.rotation(r#","error":"invalid_scope""#)),
            Want::Refused(Class::Configuration, Kept::New),
        ),
        besides("200 with an error as an object", |s| ok(&s.rotation(r#","error":{"a":1}"#)), SERVED),
    ]
}

fn bodies() -> Vec<Case> {
    fn gzip(bytes: &[u8]) -> Act {
        answer("200 OK", &format!("{JSON}Content-Encoding: gzip\r\n"), bytes)
    }
    vec![
        besides("a page in HTML", |_| html("200 OK"), LOST),
        besides("an empty body", |_| ok(""), LOST),
        besides("204", |_| raw("HTTP/1.1 204 No Content\r\n\r\n"), LOST),
        besides("half a JSON object", |s| ok(&s.rotation("")[..40]), LOST),
        besides("a JSON list", |s| ok(&format!("[{}]", s.rotation(""))), LOST),
        besides("a JSON text", |_| ok("\"token\""), LOST),
        besides("JSON null", |_| ok("null"), LOST),
        besides("two JSON objects", |s| ok(&format!("{}{}", s.rotation(""), s.rotation(""))), LOST),
        besides(
            "JSON of 500 levels",
            |_| ok(&format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500))),
            LOST,
        ),
        besides("JSON behind a byte order mark", |s| ok(&format!("\u{feff}{}", s.rotation(""))), SERVED),
        besides(
            "JSON in UTF-16",
            |s| {
                let wide: Vec<u8> = s.rotation("").encode_utf16().flat_map(u16::to_le_bytes).collect();
                answer("200 OK", JSON, &[b"\xff\xfe".as_slice(), &wide].concat())
            },
            LOST,
        ),
        besides(
            "bytes that are no UTF-8 beside the tokens",
            |s| {
                let body = s.rotation(r#","note":"@""#).replace('@', "\u{1}");
                let bytes: Vec<u8> = body.bytes().map(|b| if b == 1 { 0xff } else { b }).collect();
                answer("200 OK", JSON, &bytes)
            },
            SERVED,
        ),
        besides("tokens in gzip, which nobody asked for", |s| gzip(&super::zipped(&s.rotation(""))), LOST),
        besides("a gzip bomb", |s| gzip(&super::bomb(&s.rotation(""))), LOST),
        besides(
            "JSON called text/html",
            |s| answer("200 OK", "Content-Type: text/html\r\n", s.rotation("").as_bytes()),
            SERVED,
        ),
        besides("JSON without a content type", |s| answer("200 OK", "", s.rotation("").as_bytes()), SERVED),
        besides("65 KiB of blanks", |_| ok(&" ".repeat(65 * 1024)), LOST),
        besides(
            "a body without end",
            |_| Act::Flood(b"HTTP/1.1 200 OK\r\n\r\n{\"a\":\"".to_vec(), vec![b'a'; 16 * 1024]),
            LOST,
        ),
        besides(
            "a refusal without end",
            |_| Act::Flood(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), vec![b'a'; 16 * 1024]),
            refused(Class::Configuration),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn framing() -> Vec<Case> {
    vec![
        besides(
            "a body shorter than announced",
            |s| raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{}", s.rotation(""))),
            LOST,
        ),
        besides(
            "a body longer than announced",
            |s| raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", s.rotation(""))),
            LOST,
        ),
        besides(
            "a negative content length",
            |s| raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}", s.rotation(""))),
            LOST,
        ),
        besides(
            "two content lengths",
            |s| {
                raw(&format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
                    s.rotation("")
                ))
            },
            LOST,
        ),
        besides(
            "chunks that are none",
            |_| raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
            LOST,
        ),
        besides(
            "a chunk of 2^64 bytes",
            |_| raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n"),
            LOST,
        ),
        besides(
            "chunks without an end",
            |_| raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":"),
            LOST,
        ),
        besides(
            "a body without a length, to the end of the connection",
            |s| raw(&format!("HTTP/1.0 200 OK\r\n\r\n{}", s.rotation(""))),
            SERVED,
        ),
        besides("HTTP/0.9", |s| raw(&s.rotation("")), LOST),
        besides("another protocol", |_| raw("SSH-2.0-OpenSSH_9.9\r\n"), LOST),
        besides("a status that is none", |_| raw("HTTP/1.1 OK fine\r\n\r\n"), LOST),
        besides(
            "101, as if this were a websocket",
            |_| raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
            LOST,
        ),
        besides(
            "some 100s before the answer",
            |s| {
                raw(&format!(
                    "{}HTTP/1.0 200 OK\r\n\r\n{}",
                    "HTTP/1.1 100 Continue\r\n\r\n".repeat(5),
                    s.rotation("")
                ))
            },
            SERVED,
        ),
        besides(
            "100s without end",
            |_| Act::Flood(vec![], b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
            LOST,
        ),
        besides(
            "200 header fields",
            |s| {
                let many = (0..200).map(|n| format!("X-{n}: a")).collect::<Vec<_>>().join("\r\n") + "\r\n";
                answer("200 OK", &many, s.rotation("").as_bytes())
            },
            LOST,
        ),
        besides(
            "a header field of 2 MiB",
            |s| answer("200 OK", &format!("X-Huge: {}\r\n", "a".repeat(2 << 20)), s.rotation("").as_bytes()),
            LOST,
        ),
        besides(
            "header fields without end",
            |_| Act::Flood(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: aaaaaaaaaaaaaaaa\r\n".repeat(64)),
            LOST,
        ),
    ]
}

fn silence() -> Vec<Case> {
    vec![
        besides("the connection is closed at once", |_| raw(""), LOST),
        besides("the connection is closed in the head", |_| raw("HTTP/1.1 200 OK\r\nContent-Le"), LOST),
        besides(
            "the connection is closed after the head",
            |_| raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
            LOST,
        ),
        besides(
            "the connection is closed in the body",
            |s| raw(&format!("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}", &s.rotation("")[..20])),
            LOST,
        ),
        besides("nothing comes", |_| Act::Hang(vec![]), LOST),
        besides(
            "nothing comes after the head",
            |_| Act::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".to_vec()),
            LOST,
        ),
        besides("the head drips", |_| Act::Drip(b"HTTP/1.1 200 OK\r\nX-A: ".to_vec()), LOST),
        besides(
            "the body drips",
            |_| Act::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n".to_vec()),
            LOST,
        ),
    ]
}

fn redirects() -> Vec<Case> {
    fn to(s: &Scene, status: &str) -> Act {
        answer(status, &format!("{JSON}Location: {}/token\r\n", s.elsewhere), s.rotation("").as_bytes())
    }
    vec![
        besides("301 to elsewhere", |s| to(s, "301 Moved Permanently"), refused(Class::Policy)),
        besides("302 to elsewhere", |s| to(s, "302 Found"), refused(Class::Policy)),
        besides("303 to elsewhere", |s| to(s, "303 See Other"), refused(Class::Policy)),
        besides("307 to elsewhere", |s| to(s, "307 Temporary Redirect"), refused(Class::Policy)),
        besides("308 to elsewhere", |s| to(s, "308 Permanent Redirect"), refused(Class::Policy)),
        besides("300 with choices", |s| to(s, "300 Multiple Choices"), refused(Class::Policy)),
        besides(
            "302 to the machine's metadata",
            |_| answer("302 Found", "Location: http://169.254.169.254/latest/\r\n", b""),
            refused(Class::Policy),
        ),
        besides(
            "a `Refresh` header to elsewhere",
            |s| answer("200 OK", &format!("Refresh: 0; url={}\r\n", s.elsewhere), b""),
            LOST,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn refusals() -> Vec<Case> {
    vec![
        besides(
            "400 `invalid_grant`, once",
            |_| json("400 Bad Request", r#"{"error":"invalid_grant"}"#),
            refused(Class::Suspect),
        ),
        besides("400 in HTML", |_| html("400 Bad Request"), refused(Class::Configuration)),
        besides(
            "400 with an error as a list",
            |_| json("400 Bad Request", r#"{"error":["invalid_grant"]}"#),
            refused(Class::Configuration),
        ),
        besides(
            "400 with tokens",
            |s| json("400 Bad Request", &s.rotation("")),
            refused(Class::Configuration),
        ),
        besides(
            "400 with an error of 60 KiB",
            |_| json("400 Bad Request", &format!(r#"{{"error":"{}"}}"#, "x".repeat(60_000))),
            refused(Class::Configuration),
        ),
        besides(
            "400 with an error that writes to a terminal",
            |_| json("400 Bad Request", r#"{"error":"\u001b]0;owned\u0007\r\nfake: line"}"#),
            refused(Class::Configuration),
        ),
        besides("401 in JSON with nothing in it", |_| json("401 Unauthorized", "{}"), refused(Class::Client)),
        besides(
            "401 in HTML with WWW-Authenticate",
            |_| answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"proxy\"\r\n", b"<html>"),
            refused(Class::Down),
        ),
        besides(
            "401 that asks for NTLM",
            |_| answer("401 Unauthorized", "WWW-Authenticate: NTLM\r\n", b""),
            refused(Class::Down),
        ),
        besides(
            "407, as if it were a proxy",
            |_| answer("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", b""),
            refused(Class::Configuration),
        ),
        besides("403 in HTML", |_| html("403 Forbidden"), refused(Class::Down)),
        besides("404", |_| html("404 Not Found"), refused(Class::Configuration)),
        besides(
            "408 with `invalid_grant`",
            |_| json("408 Request Timeout", r#"{"error":"invalid_grant"}"#),
            refused(Class::Down),
        ),
        besides(
            "500 with `invalid_grant`",
            |_| json("500 Internal Server Error", r#"{"error":"invalid_grant"}"#),
            refused(Class::Down),
        ),
        besides("502 in HTML", |_| html("502 Bad Gateway"), refused(Class::Down)),
        besides(
            "503 with tokens",
            |s| json("503 Service Unavailable", &s.rotation("")),
            refused(Class::Down),
        ),
        besides(
            "a DPoP nonce nobody asked for",
            |_| {
                answer(
                    "400 Bad Request",
                    "Content-Type: application/json\r\nDPoP-Nonce: abc\r\n",
                    br#"{"error":"use_dpop_nonce"}"#,
                )
            },
            refused(Class::Configuration),
        ),
        besides("status 999", |_| html("999 Odd"), refused(Class::Configuration)),
        besides(
            "a cookie",
            |s| {
                answer(
                    "200 OK",
                    "Content-Type: application/json\r\nSet-Cookie: a=b\r\n",
                    s.rotation("").as_bytes(),
                )
            },
            SERVED,
        ),
    ]
}

fn throttling() -> Vec<Case> {
    fn after(value: &str) -> Act {
        answer("429 Too Many Requests", &format!("Retry-After: {value}\r\n"), b"")
    }
    let throttled = refused(Class::Throttled);
    vec![
        besides("429 without Retry-After", |_| html("429 Too Many Requests"), throttled),
        besides("429 for a thousand years", |_| after("31536000000"), throttled),
        besides("429 with a number beyond 64 bits", |_| after("99999999999999999999999999"), throttled),
        besides("429 with a negative wait", |_| after("-1"), throttled),
        besides("429 with words", |_| after("soon"), throttled),
        besides("429 until a day that is none", |_| after("Xxx, 99 Foo 20026 99:99:99 GMT"), throttled),
        besides("429 until the year 9999", |_| after("Fri, 31 Dec 9999 23:59:59 GMT"), throttled),
        besides(
            "503 for a thousand years",
            |_| answer("503 Service Unavailable", "Retry-After: 31536000000\r\n", b""),
            refused(Class::Down),
        ),
    ]
}

/// What it was sent comes back where it would be logged.
fn echoes() -> Vec<Case> {
    vec![
        besides(
            "the refresh token as `error`",
            |s| json("400 Bad Request", &format!(r#"{{"error":"{}"}}"#, s.old)),
            refused(Class::Configuration),
        ),
        besides(
            "the client's secret as `error`",
            |s| json("400 Bad Request", &format!(r#"{{"error":"{}"}}"#, s.secret)),
            refused(Class::Configuration),
        ),
        besides(
            "a piece of the refresh token as `code`",
            |s| {
                json(
                    "400 Bad Request",
                    &format!(r#"{{"error":"invalid_grant","code":"E-{}"}}"#, &s.old[3..20]),
                )
            },
            refused(Class::Suspect),
        ),
        besides(
            "the refresh token as request id",
            |s| {
                answer(
                    "400 Bad Request",
                    &format!("{JSON}X-Request-Id: {}\r\n", s.old),
                    br#"{"error":"invalid_grant"}"#,
                )
            },
            refused(Class::Suspect),
        ),
        besides(
            "the new refresh token as request id",
            |s| answer("200 OK", &format!("{JSON}X-Request-Id: {}\r\n", s.new), s.rotation("").as_bytes()),
            SERVED,
        ),
        besides(
            "the secret in `error_description`",
            |s| {
                json(
                    "400 Bad Request",
                    &format!(r#"{{"error":"invalid_grant","error_description":"{}"}}"#, s.secret),
                )
            },
            refused(Class::Suspect),
        ),
    ]
}
