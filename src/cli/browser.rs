//! The browser of the person at the terminal. Never opened where nobody sits: on build machines, over a connection
//! without a display, in scripts. What is opened is a web address and nothing else, whatever a server wrote.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal},
};
use url::Url;

/// Variables that build machines set.
const AUTOMATION: &[&str] = &["CI", "BUILD_ID", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "TF_BUILD"];
/// Variables that say where windows are shown, where that is not a matter of course.
const DISPLAYS: &[&str] = &["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"];
/// Variables that say that the person sits elsewhere.
const REMOTE: &[&str] = &["SSH_CONNECTION", "SSH_TTY"];

/// Whether windows are shown only where a variable says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Desktop {
    Always,
    IfDisplay,
}

/// Who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Person {
    AtTerminal,
    Absent,
}

/// Opens the URL in the person's browser, without waiting for the browser.
pub(super) fn open(url: &str) -> io::Result<()> {
    let at_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    let person = if at_terminal { Person::AtTerminal } else { Person::Absent };
    let desktop = if cfg!(target_os = "linux") { Desktop::IfDisplay } else { Desktop::Always };
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| value != OsStr::new(""));
    if !may_open(person, desktop, set) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    open::that_detached(web_address(url)?.as_str())
}

fn may_open(person: Person, desktop: Desktop, set: impl Fn(&str) -> bool) -> bool {
    let any = |names: &[&str]| names.iter().any(|name| set(name));
    let shown = any(DISPLAYS) || (desktop == Desktop::Always && !any(REMOTE));
    person == Person::AtTerminal && shown && !any(AUTOMATION)
}

/// Programs of the system open files and start programs as gladly as web addresses.
pub(super) fn web_address(url: &str) -> io::Result<Url> {
    let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "https" | "http"));
    parsed
        .filter(Url::has_host)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a web address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_opened_only_where_somebody_can_see_it() {
        use {Desktop::*, Person::*};
        let cases: [(Person, Desktop, &[&str], bool); 9] = [
            (AtTerminal, IfDisplay, &["DISPLAY"], true),
            (AtTerminal, IfDisplay, &["WAYLAND_DISPLAY"], true),
            (AtTerminal, IfDisplay, &["WSL_DISTRO_NAME"], true),
            (AtTerminal, IfDisplay, &[], false),
            (AtTerminal, IfDisplay, &["DISPLAY", "CI"], false),
            (Absent, IfDisplay, &["DISPLAY"], false),
            (AtTerminal, Always, &[], true),
            (AtTerminal, Always, &["SSH_CONNECTION"], false),
            (AtTerminal, Always, &["GITHUB_ACTIONS"], false),
        ];
        for (person, desktop, variables, want) in cases {
            let set = |name: &str| variables.contains(&name);
            assert_eq!(may_open(person, desktop, set), want, "{person:?} {desktop:?} {variables:?}");
        }
    }

    #[test]
    fn only_web_addresses_are_opened() {
        assert!(web_address("https://login.example.com/authorize?state=1").is_ok());
        assert!(web_address("http://127.0.0.1:7620/authorize").is_ok());
        for bad in
            ["file:///etc/passwd", "javascript:alert(1)", "calc.exe", "", "--help", "https://", "mailto:a@b"]
        {
            assert!(web_address(bad).is_err(), "{bad}");
        }
    }
}
