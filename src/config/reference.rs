//! The page `docs/configuration.md`, written from the schema, so that it cannot differ from what is checked.

use super::schema::{ISSUER, Key, SCHEMA};
use std::fmt::Write as _;

const HEAD: &str = "\
# Configuration

<!-- Written from src/config/default.toml and issuer.toml: `UPDATE_DOCS=1 cargo test --lib the_reference_page` writes it anew. -->

`bursar serve` reads one TOML file and, over it, environment variables: each key below has one. What neither sets has
the default. `bursar serve --print-default-config` prints a file with every key and its default to start from.

- A key or `BURSAR_` variable that does not exist is a mistake, as is a value that does not fit. All mistakes are
  reported at once, each with its mend, and nothing starts. Variables that Kubernetes sets for services
  (`BURSAR_SERVICE_HOST` and the like) are ignored.
- Secrets are never written in the file or a variable: keys that end in `_file` name a file that holds one. The file must
  be closed to others: mode 0600, or, if root owns it, 0640.
- A duration is a whole number and a unit: `250ms`, `30s`, `5m`, `1h`.
- Where a type says *or empty*, the empty text means that the key is not set.
- A relative path starts at the working directory.
";

const ISSUERS: &str = "
## Files in `identity.tokens.issuers_dir`

Each is a TOML file named `NAME.toml` with these keys, and describes one issuer of callers' tokens.
[identity.md](identity.md#tokens) says what they are for.
";

/// The whole page, as Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    // Writing to a `String` does not fail.
    for key in SCHEMA.keys.iter().filter(|key| !key.name.contains('.')) {
        let _ = entry(&mut page, key);
    }
    for section in &SCHEMA.sections {
        let _ = write!(page, "\n## {}\n\n{}\n", section.name, section.meaning);
        let inside = |key: &&Key| key.name.rsplit_once('.').is_some_and(|(above, _)| above == section.name);
        for key in SCHEMA.keys.iter().filter(inside) {
            let _ = entry(&mut page, key);
        }
    }
    page.push_str(ISSUERS);
    for key in &ISSUER.keys {
        let _ = write!(page, "\n### issuer: `{}`\n\n{}\n\n", key.name, key.meaning);
        let _ = writeln!(page, "Type: {}. Default: `{}`.", key.type_words, key.written);
    }
    page
}

fn entry(page: &mut String, key: &Key) -> std::fmt::Result {
    write!(page, "\n### `{}`\n\n{}\n\n", key.name, key.meaning)?;
    writeln!(page, "Type: {}. Default: `{}`. Variable: `{}`.", key.type_words, key.written, key.variable())
}
