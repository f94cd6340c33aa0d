//! Issuers of callers' tokens: whether their keys can be had.

use super::{Check, Finding};

/// The keys of one issuer: how many there are, or why they cannot be had.
pub fn keys(name: &str, found: &Result<usize, String>) -> Finding {
    let subject = format!("issuer {name}");
    match found {
        Ok(0) => Check::Issuers.fail(
            subject,
            "has no key that tokens could be verified with",
            "compare its key set with `algorithms` of its file",
        ),
        Ok(count) => Check::Issuers.ok(subject, format!("has {count} keys")),
        Err(cause) => Check::Issuers.fail(
            subject,
            cause,
            "mend what it says; check jwks_uri or discovery in its file, and that this machine reaches the server: docs/identity.md",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn an_issuer_without_keys_fails() {
        for (found, level) in [(Ok(2), Level::Ok), (Ok(0), Level::Fail), (Err("away".into()), Level::Fail)] {
            let told = keys("corp", &found);
            assert_eq!((told.level, told.mend.is_empty()), (level, level == Level::Ok), "{told:?}");
        }
    }
}
