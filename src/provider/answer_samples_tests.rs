//! Answers as the providers document them, with made-up values, through the reader: what of them is kept, what a
//! refusal means. Every built-in profile is driven, by its own table of codes.

use super::*;
use crate::{
    domain::{
        failure::{Class, Reason},
        profile::ClientAuth,
    },
    provider::{
        catalogue::Catalogue,
        rig::{self, NOW},
    },
};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn reply(status: u16, body: &Value) -> Reply {
    let body = zeroize::Zeroizing::new(body.to_string().into_bytes());
    Reply { status, headers: HeaderMap::new(), body }
}

/// What the reader makes of an answer to a refresh.
fn answered(profile: &Profile, status: u16, body: &Value) -> Result<Answer, Failure> {
    let (client, grant) = (rig::client(ClientAuth::ClientSecretPost, &["s"]), rig::refresh_token("r1"));
    let exchange = rig::ask(profile, &client, &grant);
    match Response::read(&reply(status, body), &profile.quirks, Credentials::default(), NOW).granted() {
        Ok(fields) => Ok(judged(&exchange, fields, NOW, None)),
        Err(evidence) => Err(failure(&exchange, &evidence, None)),
    }
}

/// The built-in profiles as they are used; a template with its variables filled in.
fn built_in() -> Vec<Profile> {
    let files = Catalogue::built_in_files().iter().filter(|(file, _)| *file != "generic-oauth2.toml");
    files
        .map(|(_, text)| {
            let table: toml::Table = text.parse().unwrap();
            let template = table.contains_key("template");
            let names = table
                .get("variables")
                .and_then(toml::Value::as_table)
                .into_iter()
                .flat_map(toml::Table::keys);
            let set: Vec<_> = names.filter(|_| template).map(|name| format!("{name} = \"acme\"")).collect();
            rig::profile(table["name"].as_str().unwrap(), &format!("variables = {{ {} }}", set.join(", ")))
        })
        .collect()
}

fn named(base: &str, lines: &str) -> Profile {
    rig::profile(base, lines)
}

#[test]
fn every_built_in_profile_reads_a_plain_success_and_its_own_refusals() {
    let mut codes = 0;
    for profile in built_in() {
        let name = &profile.display_name;
        let success = json!({"access_token": "at-2", "refresh_token": "rt-2", "token_type": "Bearer", "expires_in": 3600});
        let answer = answered(&profile, 200, &success).unwrap();
        assert_eq!(NOW.until(answer.access.unwrap().expires_at), HOUR, "{name}");
        assert_eq!(answer.refresh_token.unwrap().0.expose(), "rt-2", "{name}");
        let refused = answered(&profile, 400, &json!({"error": "invalid_grant"})).err().unwrap();
        assert_eq!(refused.class, Class::Suspect, "{name}");
        for (code, rule) in
            profile.errors.iter().filter(|(code, _)| *code != "*" && !code.starts_with("http_"))
        {
            codes += 1;
            let value = code.parse::<u32>().map_or_else(|_| json!(code), |number| json!(number));
            let member = match (&profile.quirks.code_field, value.is_number()) {
                (Some(field), _) => field.as_str(),
                (None, true) => "code",
                (None, false) => "error",
            };
            for status in [200, 400] {
                // Where a refusal has no `error`, only its status tells it from an answer without a token.
                if status == 200 && member != "error" {
                    continue;
                }
                let refused = answered(&profile, status, &json!({ member: value })).err().unwrap();
                assert_eq!(
                    (refused.class, refused.reason),
                    (rule.class, rule.reason),
                    "{name} {code} {status}"
                );
            }
        }
    }
    assert!(codes >= 60, "{codes}");
}

#[test]
fn slack_nests_and_refuses_with_200() {
    let bot = json!({"ok": true, "access_token": "xoxe.xoxb-1", "refresh_token": "xoxe-1", "token_type": "bot",
        "expires_in": 43200, "scope": "chat:write,users:read", "team": {"id": "T1"}});
    let answer = answered(&named("slack", ""), 200, &bot).unwrap();
    assert_eq!(answer.scopes.unwrap(), ["chat:write", "users:read"]);
    assert_eq!(NOW.until(answer.access.unwrap().expires_at), 12 * HOUR);
    let user = json!({"ok": true, "authed_user": {"id": "U1", "access_token": "xoxe.xoxp-1", "refresh_token": "xoxe-2",
        "token_type": "user", "expires_in": 43200, "scope": "search:read"}});
    let nested = answered(&named("slack", "quirks.nested_in = \"authed_user\""), 200, &user).unwrap();
    assert_eq!(nested.refresh_token.unwrap().0.expose(), "xoxe-2");
    assert_eq!(nested.access.unwrap().access_token.0.expose(), "xoxe.xoxp-1");
    // Without the quirk there is no token in it, and a word that is not listed is no bearer's.
    assert!(answered(&named("slack", ""), 200, &user).unwrap().access.is_err());
    assert!(
        answered(&named("generic-oauth2", "token_endpoint = \"https://a.example\""), 200, &bot)
            .unwrap()
            .access
            .is_err()
    );
    let refused = answered(&named("slack", ""), 200, &json!({"ok": false, "error": "invalid_refresh_token"}));
    assert_eq!(refused.err().unwrap().class, Class::Suspect);
}

#[test]
fn a_nested_object_never_hides_a_token_at_the_top() {
    let profile = named("slack", "quirks.nested_in = \"authed_user\"");
    let both = json!({"access_token": "top", "token_type": "bot", "expires_in": 60, "authed_user": {"access_token": "inner"}});
    assert_eq!(answered(&profile, 200, &both).unwrap().access.unwrap().access_token.0.expose(), "top");
}

#[test]
fn github_says_no_with_200_and_when_the_refresh_token_ends() {
    let profile = named("github-app", "");
    let success = json!({"access_token": "ghu_1", "expires_in": 28800, "refresh_token": "ghr_1",
        "refresh_token_expires_in": 15_897_600, "scope": "", "token_type": "bearer"});
    let answer = answered(&profile, 200, &success).unwrap();
    assert_eq!(NOW.until(answer.refresh_expires_at.unwrap()), 184 * DAY);
    let refused = answered(
        &profile,
        200,
        &json!({"error": "bad_refresh_token", "error_description": "wrong or expired"}),
    );
    assert_eq!(refused.err().unwrap().class, Class::Suspect);
    let client = answered(&profile, 200, &json!({"error": "incorrect_client_credentials"})).err().unwrap();
    assert_eq!(client.class, Class::Client);
}

#[test]
fn microsoft_tells_why_in_a_list_of_numbers() {
    let profile = named("microsoft-entra", "");
    let told = |codes: Value| {
        let body = json!({"error": "invalid_grant", "error_description": "AADSTS", "error_codes": codes, "correlation_id": "c-1"});
        let failure = answered(&profile, 400, &body).err().unwrap();
        (failure.class, failure.reason, failure.code.unwrap())
    };
    assert_eq!(told(json!([700_082])), (Class::Suspect, Some(Reason::Expired), "700082".to_owned()));
    assert_eq!(told(json!([50173])), (Class::Suspect, Some(Reason::Revoked), "50173".to_owned()));
    // A number that is not in the table leaves the word its meaning.
    assert_eq!(told(json!([1])).0, Class::Suspect);
    assert_eq!(told(json!([])).2, "invalid_grant");
}

#[test]
fn hubspot_has_a_word_in_status_and_intuit_its_own_name_for_the_end() {
    let refused = answered(
        &named("hubspot", ""),
        400,
        &json!({"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token", "correlationId": "c-1"}),
    );
    assert_eq!(refused.err().unwrap().class, Class::Suspect);
    let success = json!({"access_token": "a", "refresh_token": "r", "token_type": "bearer", "expires_in": 3600,
        "x_refresh_token_expires_in": 8_640_000});
    let answer = answered(&named("quickbooks", ""), 200, &success).unwrap();
    assert_eq!(NOW.until(answer.refresh_expires_at.unwrap()), 100 * DAY);
}

#[test]
fn what_an_answer_leaves_out_is_taken_from_the_profile() {
    let shop = named("shopify", "variables = { shop = \"acme\" }");
    let answer = answered(
        &shop,
        200,
        &json!({"access_token": "shpat_1", "refresh_token": "r", "scope": "read_products,write_orders"}),
    );
    assert_eq!(NOW.until(answer.unwrap().access.unwrap().expires_at), HOUR);
    // Salesforce does not say how long the session is: the careful default.
    let answer = answered(
        &named("salesforce", ""),
        200,
        &json!({"access_token": "00D!1", "instance_url": "https://acme.my.example", "issued_at": "1", "token_type": "Bearer"}),
    );
    assert_eq!(NOW.until(answer.unwrap().access.unwrap().expires_at), Duration::from_secs(300));
}
