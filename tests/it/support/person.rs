//! Somebody who consents, without a browser: follows redirects, keeps cookies, and fills in the forms of a server's own
//! pages. Much faster than a browser, and sees nothing that is not in the HTML.

use std::collections::BTreeMap;
use url::Url;

/// Pages and redirects between the first address and the last.
const STEPS_MAX: usize = 30;

pub(crate) struct Person {
    web: reqwest::Client,
    /// By host and port, then by name. Paths are not looked at.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// What to put into fields and which buttons to press, by their names.
    answers: &'static [(&'static str, &'static str)],
}

/// Where a person ends up.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) html: String,
}

impl Person {
    pub(crate) fn new(answers: &'static [(&'static str, &'static str)]) -> Self {
        // An error means that another test was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let quiet = reqwest::redirect::Policy::none();
        let web =
            reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).redirect(quiet).build().unwrap();
        Self { web, cookies: BTreeMap::new(), answers }
    }

    /// Opens the address and answers every question, until a page asks none, or until the address is one that `ends`
    /// names: that one is not opened.
    pub(crate) async fn go(&mut self, address: &str, ends: impl Fn(&Url) -> bool) -> Arrival {
        let mut url = Url::parse(address).unwrap();
        let mut form = None;
        for _ in 0..STEPS_MAX {
            if ends(&url) {
                return Arrival { url, status: 0, html: String::new() };
            }
            let answer = self.send(&url, form.take()).await;
            self.keep_cookies(&url, &answer);
            let status = answer.status().as_u16();
            if let Some(to) = answer.headers().get("location") {
                url = url.join(to.to_str().unwrap()).unwrap();
                continue;
            }
            let html = answer.text().await.unwrap().replace('\n', " ");
            let Some(question) = Form::first_of(&html).filter(|_| status == 200) else {
                return Arrival { url, status, html };
            };
            form = Some(question.answered(self.answers));
            url = url.join(&question.action).unwrap();
        }
        panic!("{STEPS_MAX} pages and no end: {url}");
    }

    async fn send(&self, url: &Url, form: Option<String>) -> reqwest::Response {
        let request = match form {
            None => self.web.get(url.clone()),
            Some(form) => {
                let request = self.web.post(url.clone()).body(form);
                let request = request.header("content-type", "application/x-www-form-urlencoded");
                request.header("origin", url.origin().ascii_serialization())
            }
        };
        let cookies = self.cookies.get(url.authority()).into_iter().flatten();
        let cookies: Vec<_> = cookies.map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) };
        request.send().await.unwrap()
    }

    fn keep_cookies(&mut self, url: &Url, answer: &reqwest::Response) {
        let kept = self.cookies.entry(url.authority().to_owned()).or_default();
        for line in answer.headers().get_all("set-cookie") {
            let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                kept.remove(name);
            } else {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// The first form of a page that is posted.
struct Form {
    action: String,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    value: String,
    kind: Kind,
}

enum Kind {
    /// Sent as it is, unless there is an answer: hidden, or filled in by the server.
    Filled,
    /// Sent where there is an answer.
    Open,
}

impl Form {
    fn first_of(html: &str) -> Option<Self> {
        let forms = html.split("<form").skip(1).map(|form| form.split("</form").next().unwrap_or(form));
        let mut posted = forms.filter(|form| {
            attribute(opening(form), "method").is_some_and(|how| how.eq_ignore_ascii_case("post"))
        });
        let form = posted.next()?;
        let inputs = form.split("<input").skip(1).map(|tag| Field::of(opening(tag), "text"));
        let buttons = form.split("<button").skip(1).map(|tag| Field::of(opening(tag), "submit"));
        let lists = form.split("<select").skip(1).map(|tag| Field::of(opening(tag), "list"));
        let fields = inputs.chain(buttons).chain(lists).flatten().collect();
        Some(Self { action: attribute(opening(form), "action").unwrap_or_default(), fields })
    }

    fn answered(&self, answers: &[(&str, &str)]) -> String {
        let mut sent = url::form_urlencoded::Serializer::new(String::new());
        for Field { name, value, kind } in &self.fields {
            match (answers.iter().find(|(asked, _)| asked == name), kind) {
                // Of several buttons with one name it is the one with the value.
                (Some((_, answer)), Kind::Open) if value.is_empty() || value == answer => {
                    sent.append_pair(name, answer);
                }
                (Some((_, answer)), Kind::Filled) => {
                    sent.append_pair(name, answer);
                }
                (None, Kind::Filled) => {
                    sent.append_pair(name, value);
                }
                (Some(_) | None, Kind::Open) => {}
            }
        }
        sent.finish()
    }
}

impl Field {
    fn of(tag: &str, usual: &str) -> Option<Self> {
        let (name, value) = (attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default());
        let kind = match attribute(tag, "type").as_deref().unwrap_or(usual) {
            "submit" | "button" | "checkbox" | "radio" | "list" => Kind::Open,
            _ if value.is_empty() => Kind::Open,
            _ => Kind::Filled,
        };
        Some(Self { name, value, kind })
    }
}

/// A tag up to its end.
fn opening(tag: &str) -> &str {
    tag.split('>').next().unwrap_or(tag)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag.get(at..)?.split('"').next()?;
    Some(
        value
            .replace("&#x27;", "'")
            .replace("&#39;", "'")
            .replace("&quot;", "\"")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&amp;", "&"),
    )
}
