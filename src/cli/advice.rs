//! The next step after an error, in one line: a command where there is one, otherwise what the API's own
//! documentation of the reason says to do.

use super::message;
use crate::api::ErrorReason;
use std::{collections::BTreeMap, sync::LazyLock};

/// Commands that help, with `NAME` in place of the resource that the error is about.
const COMMANDS: &[(ErrorReason, &str)] = &[
    (
        ErrorReason::NeedsReauthorization,
        "authorize it again: `bursar connection authorize NAME GRANT`, see `bursar connection authorize --help`",
    ),
    (
        ErrorReason::ConnectionPending,
        "authorize it: `bursar connection authorize NAME GRANT`, see `bursar connection authorize --help`",
    ),
    (
        ErrorReason::ConnectionRevoked,
        "authorize it again with `bursar connection authorize NAME GRANT`, or delete it",
    ),
    (ErrorReason::ConnectionDisabled, "switch it on with `bursar connection enable NAME`"),
    (ErrorReason::ConnectionNotFound, "check the name; see `bursar connection list`"),
    (ErrorReason::ClientNotFound, "check the name; see `bursar client list`"),
    (ErrorReason::ClientSecretNotFound, "see the ids of its secrets with `bursar client show`"),
    (
        ErrorReason::ClientRefused,
        "add the right secret with `bursar client secret add`; check client id and landscape",
    ),
    (
        ErrorReason::ClientInUse,
        "list and delete its connections: `bursar connection list --filter 'client = \"NAME\"'`",
    ),
    (ErrorReason::LastSecret, "add another one first with `bursar client secret add`"),
    (ErrorReason::TooManySecrets, "retire the older one first with `bursar client secret retire`"),
    (ErrorReason::TenantNotFound, "check the name; see `bursar tenant list`"),
    (ErrorReason::TenantNotEmpty, "delete its connections and clients first, or add --force"),
    (ErrorReason::TenantDeleted, "restore it with `bursar tenant undelete`, if that was a mistake"),
    (ErrorReason::ProviderNotFound, "check the name; see `bursar provider list`"),
    (ErrorReason::EtagMismatch, "look at it again and repeat the change with its present etag"),
    (ErrorReason::RevocationRefused, "revoke it at the provider, then delete it with --skip-revocation"),
    (
        ErrorReason::ScopeNotNarrowable,
        "ask without --scope, or `bursar connection update NAME --scope-narrowing serve-whole`",
    ),
];

/// What the comments of the proto say after `Do:`, by the number of the reason.
static DOCUMENTED: LazyLock<BTreeMap<i32, String>> = LazyLock::new(documented);

/// `resource` is the name in the error, if any.
pub(super) fn next_step(reason: ErrorReason, resource: Option<&str>) -> Option<String> {
    let command = COMMANDS.iter().find(|(of, _)| *of == reason).map(|(_, command)| *command);
    match (command, resource.filter(|name| is_name(name))) {
        (Some(command), Some(name)) => Some(command.replace("NAME", name)),
        (Some(command), None) => Some(command.to_owned()),
        (None, _) => DOCUMENTED.get(&reason.into()).cloned(),
    }
}

/// Only what looks like a resource name goes into a line that somebody may paste into a shell.
fn is_name(given: &str) -> bool {
    given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-/".contains(&b))
}

fn documented() -> BTreeMap<i32, String> {
    let mut steps = BTreeMap::new();
    let Some(reasons) = message::pool().get_enum_by_name("bursar.v1.ErrorReason") else { return steps };
    let file = reasons.parent_file();
    let Some(comments) = &file.file_descriptor_proto().source_code_info else { return steps };
    for value in reasons.values() {
        let location = comments.location.iter().find(|each| each.path == value.path());
        let comment =
            location.map(|each| each.leading_comments().split_whitespace().collect::<Vec<_>>().join(" "));
        if let Some((_, step)) = comment.as_deref().and_then(|comment| comment.split_once(" Do: ")) {
            steps.insert(value.number(), step.trim_end_matches('.').to_owned());
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_next_step_in_one_line() {
        let last = i32::from(ErrorReason::Internal);
        for reason in (1..=last).map(|number| ErrorReason::try_from(number).unwrap()) {
            let step = next_step(reason, None).unwrap_or_else(|| panic!("{reason:?}"));
            assert!(!step.is_empty() && !step.contains('\n'), "{reason:?}: {step}");
        }
        assert!(ErrorReason::try_from(last + 1).is_err(), "a reason after the last one is not tested");
    }

    #[test]
    fn a_step_without_a_command_is_what_the_api_documents() {
        let step = next_step(ErrorReason::Overloaded, None);
        assert_eq!(step.as_deref(), Some("add replicas, if it lasts"));
    }

    #[test]
    fn a_step_names_the_resource_but_pastes_nothing_else_into_a_command() {
        let step = |resource| next_step(ErrorReason::ConnectionDisabled, resource).unwrap();
        assert!(step(Some("tenants/a/connections/b")).contains("enable tenants/a/connections/b`"));
        assert!(step(Some("x`; rm -r ~")).contains("enable NAME`"));
    }
}
