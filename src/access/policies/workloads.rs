//! What is said of workloads beside the policies: their groups, tenants and environments, by exact id or by the
//! beginning of one.

use super::mistake::{At, Mistake, PolicyFile};
use crate::domain::names::TenantName;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// Most `[[workload]]` entries of a set.
const WORKLOADS_MAX: usize = 10_000;
/// Longest id of a workload or name of a group, in bytes.
const WORD_MAX: usize = 2048;
const ENVIRONMENTS: [&str; 2] = ["sandbox", "production"];

/// All entries of a set.
#[derive(Debug, Default)]
pub struct Workloads {
    exact: BTreeMap<String, About>,
    /// By what ids begin with.
    beginnings: BTreeMap<String, About>,
}

/// What entries say of a workload; several say all of it together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    pub groups: BTreeSet<String>,
    /// Empty: it is bound to none.
    pub tenants: BTreeSet<TenantName>,
    pub environments: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    workload: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Spanned<String>,
    groups: Option<Vec<Spanned<String>>>,
    tenants: Option<Spanned<Vec<Spanned<String>>>>,
    environments: Option<Vec<Spanned<String>>>,
}

impl Workloads {
    /// Takes in one more file.
    pub(super) fn read(&mut self, file: &PolicyFile, mistakes: &mut Vec<Mistake>) {
        let page: Page = match toml::from_str(&file.text) {
            Ok(page) => page,
            Err(err) => {
                let at = At::of(&file.name, &file.text, err.span().map_or(0, |span| span.start));
                mistakes.push(at.mistake(err.message().trim()));
                return;
            }
        };
        for entry in page.workload {
            if self.len() >= WORKLOADS_MAX {
                // Finding a line takes reading all before it: only where it is told.
                let at = At::of(&file.name, &file.text, entry.id.span().start);
                mistakes.push(at.mistake(format!("a set has at most {WORKLOADS_MAX} workloads")));
                return;
            }
            match entry.about(file) {
                Ok((id, about)) => self.take(&id, &about),
                Err(mut found) => mistakes.append(&mut found),
            }
        }
    }

    fn take(&mut self, id: &str, about: &About) {
        let place = match id.strip_suffix('*') {
            Some(beginning) => self.beginnings.entry(beginning.to_owned()),
            None => self.exact.entry(id.to_owned()),
        };
        place.or_default().add(about);
    }

    /// What all entries that fit say of the workload.
    pub fn about(&self, id: &str) -> About {
        let mut all = self.exact.get(id).cloned().unwrap_or_default();
        // Beginnings are whole parts, or nothing at all.
        let ends = id.match_indices(['/', ':']).map(|(at, _)| at + 1);
        for about in std::iter::once(0).chain(ends).filter_map(|end| self.beginnings.get(&id[..end])) {
            all.add(about);
        }
        all
    }

    pub(super) fn has_group(&self, name: &str) -> bool {
        self.exact.values().chain(self.beginnings.values()).any(|about| about.groups.contains(name))
    }

    pub fn len(&self) -> usize {
        self.exact.len() + self.beginnings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl About {
    fn add(&mut self, more: &Self) {
        self.groups.extend(more.groups.iter().cloned());
        self.tenants.extend(more.tenants.iter().cloned());
        self.environments.extend(more.environments.iter().cloned());
    }
}

impl Entry {
    fn about(self, file: &PolicyFile) -> Result<(String, About), Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let at = |offset| At::of(&file.name, &file.text, offset);
        if let Err(problem) = id_problem(self.id.get_ref()) {
            mistakes.push(at(self.id.span().start).mistake(problem));
        }
        let mut about = About::default();
        for group in self.groups.unwrap_or_default() {
            if group.get_ref().is_empty() || group.get_ref().len() > WORD_MAX {
                let problem = format!("a group has a name of 1 to {WORD_MAX} bytes");
                mistakes.push(at(group.span().start).mistake(problem));
            }
            about.groups.insert(group.into_inner());
        }
        if let Some(tenants) = self.tenants {
            if tenants.get_ref().is_empty() {
                let problem = "`tenants` is empty: leave it out for a workload that is bound to none";
                mistakes.push(at(tenants.span().start).mistake(problem));
            }
            for tenant in tenants.into_inner() {
                match tenant.get_ref().parse::<TenantName>() {
                    Ok(name) => drop(about.tenants.insert(name)),
                    Err(err) => mistakes.push(at(tenant.span().start).mistake(err.to_string())),
                }
            }
        }
        for environment in self.environments.unwrap_or_default() {
            if ENVIRONMENTS.contains(&environment.get_ref().as_str()) {
                about.environments.insert(environment.into_inner());
            } else {
                let problem = "an environment is \"sandbox\" or \"production\"";
                mistakes.push(at(environment.span().start).mistake(problem));
            }
        }
        if mistakes.is_empty() { Ok((self.id.into_inner(), about)) } else { Err(mistakes) }
    }
}

/// A beginning ends where a part of an id ends: `spiffe://prod*` would be `spiffe://production-of-others` too.
fn id_problem(id: &str) -> Result<(), &'static str> {
    let kinds = ["spiffe://", "dns:", "oidc:", "unix:"];
    let inner = id.strip_suffix('*').unwrap_or(id);
    if id.len() > WORD_MAX || inner.contains('*') {
        return Err("an id has at most 2048 bytes, and `*` only at its end");
    }
    if id == "*" || id == "local" {
        return Ok(());
    }
    if !kinds.iter().any(|kind| inner.starts_with(kind) && inner.len() >= kind.len()) {
        return Err("is no id of a caller: these begin with spiffe://, dns:, oidc: or unix:, or are `local`");
    }
    if inner.len() < id.len() && !inner.ends_with(['/', ':']) {
        return Err("`*` stands for whole parts: write it after `/` or `:`");
    }
    if inner.len() == id.len() && kinds.contains(&id) {
        return Err("is only the beginning of an id: write `*` after it, or the rest");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Workloads, Vec<Mistake>) {
        let (mut workloads, mut mistakes) = (Workloads::default(), Vec::new());
        let file = PolicyFile { name: "workloads.toml".into(), text: text.into() };
        workloads.read(&file, &mut mistakes);
        (workloads, mistakes)
    }

    #[test]
    fn entries_that_fit_add_up() {
        let (workloads, mistakes) = read(
            "[[workload]]\nid = \"spiffe://prod.example/*\"\nenvironments = [\"production\"]\n\
             [[workload]]\nid = \"spiffe://prod.example/ns/shop/*\"\ngroups = [\"shop\"]\ntenants = [\"tenants/a\"]\n\
             [[workload]]\nid = \"spiffe://prod.example/ns/shop/sa/web\"\ngroups = [\"web\"]\n",
        );
        assert_eq!(mistakes, []);
        let web = workloads.about("spiffe://prod.example/ns/shop/sa/web");
        assert_eq!(web.groups, ["shop".to_owned(), "web".to_owned()].into());
        assert_eq!(web.tenants, ["tenants/a".parse().unwrap()].into());
        assert_eq!(web.environments, ["production".to_owned()].into());
        let other = workloads.about("spiffe://prod.example/ns/shops/sa/web");
        assert!(other.tenants.is_empty() && other.groups.is_empty());
        assert_eq!(workloads.about("spiffe://prod.example.evil/ns/shop"), About::default());
    }

    #[test]
    fn a_beginning_is_of_whole_parts_or_of_everything() {
        let (workloads, mistakes) = read(
            "[[workload]]\nid = \"*\"\ngroups = [\"all\"]\n[[workload]]\nid = \"oidc:*\"\ngroups = [\"tokens\"]\n\
             [[workload]]\nid = \"oidc:cluster:system:*\"\ngroups = [\"cluster\"]\n\
             [[workload]]\nid = \"spiffe://*\"\ngroups = [\"spiffe\"]\n",
        );
        assert_eq!(mistakes, []);
        let groups = |id: &str| workloads.about(id).groups.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(groups("local"), "all");
        assert_eq!(groups("oidc:cluster:system:x"), "all cluster tokens");
        assert_eq!(groups("oidc:clusters:system:x"), "all tokens");
        assert_eq!(groups("spiffe://a/b"), "all spiffe");
    }

    #[test]
    fn ids_groups_and_sets_have_a_bound() {
        let longest = |beginning: &str| format!("{beginning}{}", "x".repeat(WORD_MAX - beginning.len()));
        for (id, group, good) in [
            ("local".to_owned(), "g".repeat(WORD_MAX), true),
            ("local".to_owned(), "g".repeat(WORD_MAX + 1), false),
            ("local".to_owned(), String::new(), false),
            (longest("dns:"), "g".to_owned(), true),
            (format!("{}x", longest("dns:")), "g".to_owned(), false),
            ("spiffe://a/*/b".to_owned(), "g".to_owned(), false),
            ("spiffe://a/*/*".to_owned(), "g".to_owned(), false),
        ] {
            let (workloads, mistakes) = read(&format!("[[workload]]\nid = {id:?}\ngroups = [{group:?}]\n"));
            assert_eq!((mistakes.is_empty(), workloads.is_empty()), (good, !good), "{mistakes:?}");
        }
        let entry = |number| format!("[[workload]]\nid = \"unix:{number}\"\n");
        let entries: Vec<_> = (0..=WORKLOADS_MAX).map(entry).collect();
        let (workloads, mistakes) = read(&entries.concat());
        assert_eq!((workloads.len(), mistakes.len()), (WORKLOADS_MAX, 1));
        assert_eq!(mistakes[0].problem, "a set has at most 10000 workloads");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let (workloads, mistakes) = read(
            "[[workload]]\nid = \"spiffe://prod*\"\n\n[[workload]]\nid = \"billing\"\n\
             [[workload]]\nid = \"local\"\ntenants = []\n[[workload]]\nid = \"unix:1\"\ntenants = [\"acme\"]\n\
             environments = [\"staging\"]\n[[workload]]\nid = \"dns:\"\n",
        );
        assert!(workloads.is_empty());
        let lines: Vec<_> = mistakes.iter().map(|mistake| mistake.at.line).collect();
        assert_eq!(lines, [2, 5, 8, 11, 12, 14], "{mistakes:?}");
        let (_, mistakes) = read("[[workload]]\nid = \"local\"\ngroup = [\"a\"]\n");
        assert_eq!(mistakes[0].at.line, 3);
        let (_, mistakes) = read("[[workload]\n");
        assert_eq!(mistakes[0].at.line, 1);
    }
}
