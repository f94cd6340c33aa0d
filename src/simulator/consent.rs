//! What a person in front of a browser sees of a simulated server: plain pages that work without scripts, with a
//! keyboard and with a screen reader; and how the browser is sent back to the client.
//! Decides nothing.

use super::exchange::{Answer, Form};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use url::Url;

/// Who answers the question whether a client may have access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// The person in front of the page.
    #[default]
    Ask,
    /// Nobody: every request is allowed at once.
    Allow,
    /// Nobody: every request is denied at once.
    Deny,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Open,
    Allowed,
    Denied,
}

impl Consent {
    /// What the form of the page says counts before the switch.
    pub(super) fn decided(self, form: &Form) -> Decision {
        match (form.get("decision"), self) {
            (Some("allow"), _) | (None, Self::Allow) => Decision::Allowed,
            (Some("deny"), _) | (None, Self::Deny) => Decision::Denied,
            (Some(_), _) | (None, Self::Ask) => Decision::Open,
        }
    }
}

/// The page that asks for consent. Its form goes to `action`.
pub(super) struct Question<'a> {
    pub(super) server: &'a str,
    pub(super) client: &'a str,
    pub(super) scopes: &'a [String],
    pub(super) action: &'a str,
    /// What else the form carries.
    pub(super) hidden: &'a [(&'a str, &'a str)],
    /// Who can consent; the first is preselected, and without any a name can be typed.
    pub(super) people: &'a [String],
}

impl Question<'_> {
    pub(super) fn page(&self) -> Answer {
        let mut body = format!(
            "<h1>Allow access?</h1>\n<p><strong>{}</strong> asks {} for:</p>\n<ul>\n",
            escaped(self.client),
            escaped(self.server)
        );
        for scope in self.scopes {
            let _ = writeln!(body, "<li>{}</li>", escaped(scope));
        }
        let _ = write!(body, "</ul>\n<form method=\"post\" action=\"{}\">\n", escaped(self.action));
        for (name, value) in self.hidden {
            let (name, value) = (escaped(name), escaped(value));
            let _ = writeln!(body, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
        }
        body.push_str("<p><label for=\"user\">On behalf of</label>\n");
        if self.people.is_empty() {
            body.push_str("<input id=\"user\" name=\"user\" value=\"demo-user\" autocomplete=\"username\">");
        } else {
            body.push_str("<select id=\"user\" name=\"user\">\n");
            for person in self.people {
                let _ = writeln!(body, "<option>{}</option>", escaped(person));
            }
            body.push_str("</select>");
        }
        body.push_str(
            "</p>\n<p><button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\n\
             <button type=\"submit\" name=\"decision\" value=\"deny\">Deny</button></p>\n</form>",
        );
        page(200, "Allow access?", &body)
    }
}

/// A page with one message.
pub(super) fn notice(status: u16, title: &str, text: &str) -> Answer {
    page(status, title, &format!("<h1>{}</h1>\n<p>{}</p>", escaped(title), escaped(text)))
}

/// `body` is HTML already.
pub(super) fn page(status: u16, title: &str, body: &str) -> Answer {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:2rem auto;padding:0 1rem}}\
         button,input,select{{font:inherit;padding:.4rem 1rem}}</style>\n</head>\n<body>\n<main>\n{body}\n\
         <p><small>A simulated server: nothing here is real.</small></p>\n</main>\n</body>\n</html>\n",
        escaped(title)
    );
    Answer::new(status, "text/html; charset=utf-8", html.into_bytes())
        .with("cache-control", "no-store".to_owned())
        .with(
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'".to_owned(),
        )
}

/// Sends the browser back, with members added to the query that is there.
pub(super) fn send_back(to: &Url, members: &[(&str, &str)]) -> Answer {
    let mut to = to.clone();
    to.query_pairs_mut().extend_pairs(members);
    Answer::text(302, "").with("location", to.into()).with("cache-control", "no-store".to_owned())
}

/// Whether a client may be sent back there: a registered address, or one that begins as one that ends in `*` does.
/// The star is this simulator's own: a broker may have a path of its own for each connection.
pub(super) fn registered(known: &[String], wanted: &str) -> Option<Url> {
    let fits = |known: &String| match known.strip_suffix('*') {
        Some(beginning) => wanted.starts_with(beginning),
        None => known == wanted,
    };
    let url = known.iter().any(fits).then(|| Url::parse(wanted).ok()).flatten()?;
    (url.fragment().is_none() && matches!(url.scheme(), "http" | "https")).then_some(url)
}

pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_wrote_is_text_on_the_page() {
        let scopes = ["<script>".to_owned()];
        let hidden = [("state", "\"><b>")];
        let people = ["o'hara".to_owned()];
        let question = Question {
            server: "AS",
            client: "<i>",
            scopes: &scopes,
            action: "/authorize?a=1&b=\"",
            hidden: &hidden,
            people: &people,
        };
        let html = String::from_utf8(question.page().body).unwrap();
        for bad in ["<script>", "<i>", "<b>", "b=\"\"", "o'hara"] {
            assert!(!html.contains(bad), "{bad}");
        }
        assert!(html.contains("<label for=\"user\">") && html.contains("<html lang=\"en\">"));
    }

    #[test]
    fn only_registered_addresses_are_sent_back_to() {
        let known = ["https://a.test/cb".to_owned(), "http://127.0.0.1:*".to_owned()];
        let good = ["https://a.test/cb", "http://127.0.0.1:7600/callback/x"];
        let bad =
            ["https://a.test/cb/", "https://a.test/cb#f", "http://127.0.0.2:1/", "http://127.0.0.1:1/#f", ""];
        assert!(good.iter().all(|url| registered(&known, url).is_some()));
        for url in bad {
            assert!(registered(&known, url).is_none(), "{url}");
        }
    }

    #[test]
    fn the_way_back_keeps_the_query_that_was_there() {
        let back = send_back(&Url::parse("https://a.test/cb?x=1").unwrap(), &[("code", "a b&c")]);
        assert_eq!(back.status, 302);
        assert!(back.headers.contains(&("location", "https://a.test/cb?x=1&code=a+b%26c".to_owned())));
    }
}
