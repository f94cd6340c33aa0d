//! Connections in JSON: our own fields, and what other systems give.

use super::entry::{FIELDS, Place, Raw, Shape, is_label};
use crate::domain::token::Secret;
use serde_json::{Map, Value};

/// An object and where it stands.
type Placed = (Place, Map<String, Value>);

/// Our own fields: an array of objects, or an object after the other.
pub(super) fn plain(text: &str) -> Result<Vec<Raw>, String> {
    objects(text, "connections")?
        .into_iter()
        .map(|(place, object)| {
            if !object.keys().all(|key| FIELDS.contains(&key.as_str())) {
                return Err(format!("{place} has a field that is none: use {}", FIELDS.join(", ")));
            }
            let mut raw = Raw::at(place);
            raw.connection = text_of(&object, "connection");
            raw.client = text_of(&object, "client");
            raw.refresh_token = token(&object, "refresh_token");
            raw.api_base_url = text_of(&object, "api_base_url");
            raw.expire_time = text_of(&object, "refresh_token_expire_time");
            raw.scopes = scopes(object.get("scopes"));
            raw.labels = labels(object.get("labels"));
            Ok(raw)
        })
        .collect()
}

/// What Nango's `GET /connections/{id}` answers with, one after the other or in an array: `connection_id`,
/// `provider_config_key` and `credentials` with `type`, `refresh_token`. Its list of connections has no credentials.
/// Connections are unique there by both ids together.
pub(super) fn nango(text: &str) -> Result<Vec<Raw>, String> {
    let read = |(place, object): Placed| {
        let mut raw = Raw::at(place);
        let (integration, id) = (text_of(&object, "provider_config_key"), text_of(&object, "connection_id"));
        if id.is_empty() || integration.is_empty() {
            return Err(format!(
                "{place} has no connection_id or no provider_config_key: is it a connection of Nango?"
            ));
        }
        raw.connection = slug(&format!("{integration}-{id}"));
        raw.labels = label("nango-connection", &id);
        raw.shape = Shape::Foreign { key: integration };
        let Some(credentials) = object.get("credentials").and_then(Value::as_object) else {
            return Err(format!(
                "{place} has no credentials: ask Nango for each connection with GET /connections/{{id}} and \
                 refresh_token=true; its list has none"
            ));
        };
        match text_of(credentials, "type").as_str() {
            "OAUTH2" => raw.refresh_token = token(credentials, "refresh_token"),
            other => raw.left_out = Some(format!("its credentials are {}, not OAUTH2", word(other))),
        }
        Ok(raw)
    };
    objects(text, "connections")?.into_iter().map(read).collect()
}

/// What vault-plugin-secrets-oauthapp keeps for a credential: `refresh_token`, `auth_server_name`, and `user_error`
/// once it has given it up. An array with `name`, or an object from names to entries; each entry may be wrapped as
/// Vault's raw reads wrap it (`data.value`, text).
pub(super) fn vault_oauthapp(text: &str) -> Result<Vec<Raw>, String> {
    let named = |(place, object): Placed| (place, text_of(&object, "name"), object);
    let entries: Vec<_> = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(map)) if map.values().all(Value::is_object) && !map.contains_key("data") => map
            .into_iter()
            .zip(1..)
            .filter_map(|((name, value), number)| match value {
                Value::Object(object) => Some((Place::Entry(number), name, object)),
                _ => None,
            })
            .collect(),
        _ => objects(text, "creds")?.into_iter().map(named).collect(),
    };
    entries.into_iter().map(|(place, name, object)| vault_entry(place, &name, object)).collect()
}

fn vault_entry(place: Place, name: &str, object: Map<String, Value>) -> Result<Raw, String> {
    let object = unwrapped(place, object)?;
    let name = if name.is_empty() { text_of(&object, "name") } else { name.to_owned() };
    if name.is_empty() {
        return Err(format!(
            "{place} has no name: give an object from names to entries, or add the field name"
        ));
    }
    // The plugin keeps credentials under a hash of the name; `creds/` in front is the path.
    let name = name.trim_matches('/').trim_start_matches("creds/");
    let mut raw = Raw::at(place);
    raw.connection = slug(name);
    raw.labels = label("vault-credential", name);
    let server = text_of(&object, "auth_server_name");
    raw.shape = Shape::Foreign { key: if server.is_empty() { text_of(&object, "server") } else { server } };
    raw.refresh_token = token(&object, "refresh_token");
    if !text_of(&object, "user_error").is_empty() {
        raw.left_out = Some("Vault has given it up (user_error)".into());
    } else if raw.refresh_token.is_none() && !text_of(&object, "access_token").is_empty() {
        raw.left_out = Some("it has an access token only".into());
    }
    Ok(raw)
}

/// `{"data": {"value": "{…}"}}` and `{"data": {…}}` are what Vault puts around an entry.
fn unwrapped(place: Place, mut object: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let Some(data) = object.remove("data") else { return Ok(object) };
    let Value::Object(mut data) = data else { return Err(format!("{place}: data is not an object")) };
    for (key, value) in object {
        data.entry(key).or_insert(value);
    }
    match data.remove("value") {
        None => Ok(data),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(mut inner)) => {
                for (key, value) in data {
                    inner.entry(key).or_insert(value);
                }
                Ok(inner)
            }
            _ => Err(format!("{place}: data.value is not JSON of an entry")),
        },
        Some(_) => Err(format!("{place}: data.value is not text")),
    }
}

/// An array, an object with one array in it, or objects one after the other.
fn objects(text: &str, list: &str) -> Result<Vec<Placed>, String> {
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        // The parser's own words may hold a piece of the text.
        let value = value.map_err(|error| {
            format!(
                "not JSON at line {} column {}: an array of objects was expected",
                error.line(),
                error.column()
            )
        })?;
        match value {
            Value::Array(items) => found.extend(items),
            Value::Object(mut object) => match object.remove(list) {
                Some(Value::Array(items)) => found.extend(items),
                _ => found.push(Value::Object(object)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err("an array of objects was expected".into());
            }
        }
    }
    let numbered = found.into_iter().zip(1..).map(|(value, number)| match value {
        Value::Object(object) => Ok((Place::Entry(number), object)),
        _ => Err(format!("{} is not an object", Place::Entry(number))),
    });
    numbered.collect()
}

fn text_of(object: &Map<String, Value>, field: &str) -> String {
    object.get(field).and_then(Value::as_str).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn token(object: &Map<String, Value>, field: &str) -> Option<Secret> {
    let text = object.get(field).and_then(Value::as_str).map(str::trim)?;
    (!text.is_empty()).then(|| Secret::new(text.to_owned()))
}

fn scopes(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn labels(value: Option<&Value>) -> Vec<(String, String)> {
    let Some(Value::Object(labels)) = value else { return Vec::new() };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    labels.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

/// The name in the other system, where a label can hold it.
fn label(key: &str, value: &str) -> Vec<(String, String)> {
    is_label(value).then(|| (key.to_owned(), value.to_owned())).into_iter().collect()
}

/// As an id may be: lower case, everything else a dash.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// One of another system's words, if it looks like one.
fn word(text: &str) -> &str {
    let plain =
        !text.is_empty() && text.len() <= 32 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain { text } else { "of an unknown kind" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(raw: &Raw) -> &str {
        match &raw.shape {
            Shape::Foreign { key } => key,
            Shape::Own => panic!("own"),
        }
    }

    #[test]
    fn our_own_fields_come_in_an_array_or_one_after_the_other() {
        let one =
            r#"{"connection": "a", "refresh_token": "t1", "scopes": ["x", "y"], "labels": {"team": "pay"}}"#;
        let two = r#"{"connection": "b", "refresh_token": "t2", "scopes": "x y", "refresh_token_expire_time": "2027-01-31T00:00:00Z"}"#;
        for text in [
            format!("[{one}, {two}]"),
            format!("{one}\n{two}\n"),
            format!("{{\"connections\": [{one},{two}]}}"),
        ] {
            let entries = plain(&text).unwrap();
            assert_eq!(entries.len(), 2, "{text}");
            assert_eq!(entries[0].labels, [("team".to_owned(), "pay".to_owned())]);
            assert_eq!(entries[0].scopes, entries[1].scopes);
            assert_eq!(entries[1].place, Place::Entry(2));
            assert_eq!(entries[1].refresh_token.as_ref().unwrap().expose(), "t2");
        }
    }

    #[test]
    fn what_is_not_a_list_of_objects_is_refused_without_repeating_it() {
        for text in
            ["[\"canary\"]", "\"canary\"", "[{\"canary\": 1}]", "[{canary", "[{\"connection\": \"canary\","]
        {
            let wrong = plain(text).map(|_| ()).unwrap_err();
            assert!(!wrong.contains("canary"), "{wrong}");
        }
    }

    #[test]
    fn connections_of_nango_are_named_by_integration_and_connection() {
        let text = r#"[{"id": 1, "connection_id": "Customer_7", "provider_config_key": "hubspot-eu", "provider": "hubspot",
            "metadata": null, "connection_config": {"portalId": 1}, "credentials": {"type": "OAUTH2",
            "access_token": "at", "refresh_token": "rt", "expires_at": "2027-01-01T00:00:00Z", "raw": {"refresh_token": "rt"}}},
            {"connection_id": "k", "provider_config_key": "stripe", "credentials": {"type": "API_KEY", "apiKey": "s"}}]"#;
        let entries = nango(text).unwrap();
        assert_eq!(entries[0].connection, "hubspot-eu-customer-7");
        assert_eq!(
            (key(&entries[0]), entries[0].refresh_token.as_ref().unwrap().expose()),
            ("hubspot-eu", "rt")
        );
        assert_eq!(entries[0].labels[0].1, "Customer_7");
        assert!(entries[0].left_out.is_none());
        assert!(entries[1].left_out.as_ref().unwrap().contains("API_KEY"));
        let listed = r#"{"connections": [{"connection_id": "a", "provider_config_key": "b"}]}"#;
        assert!(nango(listed).map(|_| ()).unwrap_err().contains("refresh_token=true"));
        assert!(nango("[{}]").is_err());
    }

    #[test]
    fn credentials_of_vault_come_bare_or_wrapped() {
        let entry = r#"{"access_token": "at", "token_type": "Bearer", "refresh_token": "rt", "expiry": "2027-01-01T00:00:00Z",
            "auth_server_name": "github"}"#;
        let raw_read = serde_json::json!({ "name": "my-user", "data": { "value": entry } }).to_string();
        let named = format!("[{}]", entry.replacen('{', "{\"name\": \"my-user\",", 1));
        for text in [format!("{{\"creds/my-user\": {entry}}}"), named, raw_read] {
            let entries = vault_oauthapp(&text).unwrap();
            assert_eq!(entries.len(), 1, "{text}");
            let raw = &entries[0];
            assert_eq!((raw.connection.as_str(), key(raw)), ("my-user", "github"), "{text}");
            assert_eq!(raw.refresh_token.as_ref().unwrap().expose(), "rt");
            assert!(raw.left_out.is_none());
        }
        let given_up = entry.replacen('{', "{\"user_error\": \"x\",", 1);
        let entries =
            vault_oauthapp(&format!("{{\"a\": {given_up}, \"b\": {{\"access_token\": \"at\"}}}}")).unwrap();
        assert!(entries.iter().all(|raw| raw.left_out.is_some()));
        assert!(vault_oauthapp(&format!("[{entry}]")).map(|_| ()).unwrap_err().contains("name"));
    }

    #[test]
    fn names_of_other_systems_become_ids() {
        for (name, id) in
            [("Customer_7", "customer-7"), ("--a..b--", "a-b"), ("Ä", ""), ("0190B7A2-7c41", "0190b7a2-7c41")]
        {
            assert_eq!(slug(name), id);
        }
    }
}
