//! The next step after an error, in one line: a command where there is one, otherwise what the API's own
//! documentation of the reason says to do.

use super::message;
use crate::api::ErrorReason;
use std::{collections::BTreeMap, sync::LazyLock};

/// Commands that help, with `NAME` in place of the resource that the error is about.
const COMMANDS: &[(ErrorReason, &str)] = &[
    (
        ErrorReason::NeedsReauthorization,
        "authorize it again: `bursar connection authorize NAME`, see `bursar connection authorize --help` for the ways",
    ),
    (
        ErrorReason::ConnectionPending,
        "authorize it: `bursar connection authorize NAME`, see `bursar connection authorize --help` for the ways",
    ),
    (
        ErrorReason::ConnectionRevoked,
        "authorize it again with `bursar connection authorize NAME`, or delete it",
    ),
    (
        ErrorReason::MethodNotImplemented,
        "the server at this endpoint does not do this: compare `bursar --version` with the server's, and see what \
         its release notes say about it",
    ),
    (
        ErrorReason::AuthorizationDenied,
        "if it was a mistake, begin anew with `bursar connection authorize NAME`",
    ),
    (ErrorReason::AuthorizationExpired, "begin anew with `bursar connection authorize NAME`"),
    (ErrorReason::AuthorizationNotFound, "begin anew with `bursar connection authorize NAME`"),
    (
        ErrorReason::AuthorizationPending,
        "wait for the person; see how far it is with `bursar connection show NAME`",
    ),
    (
        ErrorReason::GrantNotAllowed,
        "allow the grant with `bursar client update CLIENT --allowed-grant …`, naming all it is to have, or use another",
    ),
    (ErrorReason::GrantNotSupported, "see which grants there are with `bursar provider show`"),
    (
        ErrorReason::ScopeNotGranted,
        "add it with `bursar connection update NAME --scope …`, naming all it is to have, then authorize it again",
    ),
    (
        ErrorReason::AlreadyExists,
        "see what is there with the command's `show`; to authorize a connection that exists leave out --create",
    ),
    (ErrorReason::ConnectionDisabled, "switch it on with `bursar connection enable NAME`"),
    (ErrorReason::ConnectionNotFound, "check the name; see `bursar connection list`"),
    (ErrorReason::ClientNotFound, "check the name; see `bursar client list`"),
    (ErrorReason::ClientSecretNotFound, "see the ids of its secrets with `bursar client show`"),
    (
        ErrorReason::ClientRefused,
        "add the right secret with `bursar client secret add`; check client id and landscape",
    ),
    (ErrorReason::ProviderNotFound, "check the name; see `bursar provider list`"),
    (
        ErrorReason::ClientInUse,
        "list and delete its connections: `bursar connection list --filter 'client = \"NAME\"'`",
    ),
    (ErrorReason::LastSecret, "add another one first with `bursar client secret add`"),
    (ErrorReason::TooManySecrets, "retire the older one first with `bursar client secret retire`"),
    (ErrorReason::TenantNotFound, "check the name; see `bursar tenant list`"),
    (ErrorReason::TenantNotEmpty, "delete its connections and clients first, or add --force"),
    (ErrorReason::TenantDeleted, "restore it with `bursar tenant undelete`, if that was a mistake"),
    (ErrorReason::EtagMismatch, "look at it again and repeat the change with its present etag"),
    (ErrorReason::RevocationRefused, "revoke it at the provider, then delete it with --skip-revocation"),
    (
        ErrorReason::ScopeNotNarrowable,
        "ask without --scope, or `bursar connection update NAME --scope-narrowing serve-whole`",
    ),
];

/// Codes of providers that say more than the reason: what the client's registration lacks there, which no secret mends.
const REGISTRATION: &[(&str, &str)] = &[
    ("59", "the app is disabled at SAP Concur: have it enabled there"),
    (
        "60",
        "the app's Allowed Grants at SAP Concur lack this grant: add it there (and `refresh_token`); the secret is not \
         the matter",
    ),
    (
        "61",
        "SAP Concur does not know this client id: check it, and whether app and data center belong together",
    ),
    ("107", "the app's Allowed Grants at SAP Concur lack `refresh_token`: add it there"),
];

/// Methods of the API that its messages name, and the commands for them.
const METHODS: &[(&str, &str)] = &[
    ("StartAuthorization or CompleteAuthorization", "`bursar connection authorize`"),
    ("StartAuthorization", "`bursar connection authorize`"),
    ("CompleteAuthorization", "`bursar connection authorize`"),
    ("RefreshConnection", "`bursar connection refresh`"),
    ("EnableConnection", "`bursar connection enable`"),
    ("DisableConnection", "`bursar connection disable`"),
    ("RevokeConnection", "`bursar connection revoke`"),
    ("DeleteConnection", "`bursar connection delete`"),
    ("ListConnections", "`bursar connection list`"),
    ("GetConnection", "`bursar connection show`"),
    ("ListClients", "`bursar client list`"),
    ("GetClient", "`bursar client show`"),
    ("AddClientSecret", "`bursar client secret add`"),
    ("RetireClientSecret", "`bursar client secret retire`"),
    ("ListTenants", "`bursar tenant list`"),
    ("UndeleteTenant", "`bursar tenant undelete`"),
    ("ListProviders", "`bursar provider list`"),
    ("GetProvider", "`bursar provider show`"),
];

/// Words for people at a shell: commands in place of the methods behind them.
pub(super) fn in_commands(text: &str) -> String {
    METHODS.iter().fold(text.to_owned(), |text, (method, command)| text.replace(method, command))
}

/// What the comments of the proto say after `Do:`, by the number of the reason.
static DOCUMENTED: LazyLock<BTreeMap<i32, String>> = LazyLock::new(documented);

/// The step that a provider's own code asks for, where it says more than the reason.
pub(super) fn for_code(reason: ErrorReason, code: Option<&str>) -> Option<String> {
    let step = REGISTRATION.iter().find(|(of, _)| Some(*of) == code).map(|(_, step)| (*step).to_owned());
    step.filter(|_| reason == ErrorReason::ClientRefused)
}

/// For a caller that may not: what to run where the policies lie. The three are from the error.
pub(super) fn for_denied(
    reason: ErrorReason,
    [caller, action, resource]: [Option<&str>; 3],
) -> Option<String> {
    let safe = |given: &&str| {
        !given.is_empty() && given.bytes().all(|b| b.is_ascii_alphanumeric() || b":/._-".contains(&b))
    };
    let [caller, action, resource] = [caller, action, resource].map(|given| given.filter(safe));
    let (caller, action, resource) = (caller?, action?, resource?);
    let step = format!(
        "check the name for a slip; then `bursar policy explain --as {caller} --action {action} {resource}`, where the \
         policies lie, says what they lack"
    );
    Some(step).filter(|_| reason == ErrorReason::PermissionDenied)
}

/// `resource` is the name in the error, if any.
pub(super) fn next_step(reason: ErrorReason, resource: Option<&str>) -> Option<String> {
    let command = COMMANDS.iter().find(|(of, _)| *of == reason).map(|(_, command)| *command);
    match (command, resource.filter(|name| is_name(name))) {
        (Some(command), Some(name)) => Some(command.replace("NAME", name)),
        (Some(command), None) => Some(command.to_owned()),
        (None, _) => DOCUMENTED.get(&reason.into()).map(|step| in_commands(step)),
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
    fn no_step_names_a_method_that_has_a_command() {
        let last = i32::from(ErrorReason::Internal);
        for reason in (1..=last).map(|number| ErrorReason::try_from(number).unwrap()) {
            let step = next_step(reason, None).unwrap();
            for (method, _) in METHODS {
                assert!(!step.contains(method), "{reason:?}: {step}");
            }
        }
        let services = message::pool()
            .services()
            .flat_map(|service| service.methods().map(|method| method.name().to_owned()).collect::<Vec<_>>());
        let known: Vec<String> = services.collect();
        for (method, command) in METHODS.iter().filter(|(method, _)| !method.contains(' ')) {
            assert!(known.iter().any(|name| name == method), "{method}");
            assert!(command.starts_with("`bursar ") && command.ends_with('`'));
        }
        let told = in_commands("it is disabled: enable it with EnableConnection");
        assert_eq!(told, "it is disabled: enable it with `bursar connection enable`");
    }

    #[test]
    fn a_code_that_a_secret_does_not_mend_says_what_does() {
        let step = |code| for_code(ErrorReason::ClientRefused, code);
        assert!(step(Some("60")).unwrap().contains("Allowed Grants"));
        assert!(step(Some("invalid_client")).is_none() && step(None).is_none());
        assert!(for_code(ErrorReason::GrantRefused, Some("60")).is_none());
    }

    #[test]
    fn a_caller_that_may_not_is_told_what_explains_it() {
        let step = |caller| {
            let words = [Some(caller), Some("GetToken"), Some("tenants/a/connections/b")];
            for_denied(ErrorReason::PermissionDenied, words)
        };
        let told = step("spiffe://example.org/ns/shop/sa/web").unwrap();
        let command =
            "explain --as spiffe://example.org/ns/shop/sa/web --action GetToken tenants/a/connections/b`";
        assert!(told.contains(command), "{told}");
        assert_eq!(step("x`; rm -r ~"), None);
        let elsewhere = [Some("local"), Some("GetToken"), Some("tenants/a")];
        assert_eq!(for_denied(ErrorReason::ConnectionNotFound, elsewhere), None);
    }

    #[test]
    fn a_step_names_the_resource_but_pastes_nothing_else_into_a_command() {
        let step = |resource| next_step(ErrorReason::ConnectionDisabled, resource).unwrap();
        assert!(step(Some("tenants/a/connections/b")).contains("enable tenants/a/connections/b`"));
        assert!(step(Some("x`; rm -r ~")).contains("enable NAME`"));
    }
}
