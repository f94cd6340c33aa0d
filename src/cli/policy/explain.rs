//! `bursar policy explain`: what a set answers to a call, and why.

use super::{Console, Failure, Format, load, plain, plain_lines};
use crate::{
    access::{
        Action, Asked, Caller, ClientFacts, ConnectionFacts, Facts, Identity, Target, Transport,
        policies::{
            Outcome, Policies, Question,
            explaining::{Deciding, Explained, Says},
            naming,
        },
        rpcs,
    },
    domain::{
        client::Environment,
        names::{ClientName, Id, Owner, ProviderName, TenantName},
    },
};
use clap::Args;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::PathBuf,
};

/// What stands for the provider and the client that nobody named.
const NOT_GIVEN: &str = "not-given";

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// What it is to be done to: a name as in the API; left out for what belongs to no tenant
    #[arg(value_name = "NAME", default_value = "platform")]
    name: String,
    /// Who calls: spiffe://…, dns:NAME, oidc:ISSUER:SUBJECT, unix:UID or `local`
    #[arg(long = "as", value_name = "ID")]
    caller: Identity,
    /// What is called, as `GetToken`; `bursar policy actions` lists them
    #[arg(long, value_parser = parse_action)]
    action: Action,
    /// Folder of the set, or its files
    #[arg(long, env = "BURSAR_POLICY_DIR", value_name = "PATH", default_value = "/etc/bursar/policies")]
    policies: Vec<PathBuf>,
    /// Environment of the connection's client, or of the client; left out, each is explained
    #[arg(long, value_enum)]
    environment: Option<Place>,
    /// There is no such thing yet, or any more
    #[arg(long, conflicts_with_all = ["environment", "labels", "client", "provider"])]
    absent: bool,
    /// A label of the connection
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// The connection's client
    #[arg(long, value_name = "NAME")]
    client: Option<ClientName>,
    /// The provider of the connection or client
    #[arg(long, value_name = "NAME")]
    provider: Option<ProviderName>,
    /// A scope that is asked for
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Whom the token is for
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    audience: String,
    /// For whom the caller says that it works
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    on_behalf_of: String,
    /// UseClient: whose connection the client is for
    #[arg(long, value_name = "NAME")]
    for_tenant: Option<TenantName>,
    /// How the call comes in: loopback, unix, tls or mtls; left out, as such callers do
    #[arg(long, value_parser = parse_transport)]
    transport: Option<Transport>,
    /// A group that the caller's token brings
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    /// Group of a Unix user; left out, it has the user's number
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    Sandbox,
    Production,
}

/// One answer as JSON and YAML have it.
#[derive(Serialize)]
struct Answer {
    caller: String,
    action: &'static str,
    resource: String,
    /// Of the resource: `sandbox`, `production`, `absent`; nothing where it has none.
    environment: Option<&'static str>,
    outcome: &'static str,
    /// What a caller is told that may not: a reason of the API.
    told: Option<&'static str>,
    decided_by: Vec<Policy>,
    nearest: Vec<Near>,
    groups: Vec<String>,
    tenants: Vec<String>,
    environments: Vec<String>,
}

#[derive(Serialize)]
struct Policy {
    id: String,
    says: &'static str,
    /// Where it stands; `built in` for the walls.
    at: String,
    reason: Option<String>,
}

#[derive(Serialize)]
struct Near {
    id: String,
    at: String,
    lacks: Vec<String>,
}

fn parse_action(word: &str) -> Result<Action, String> {
    let closest = || {
        let all = rpcs::actions().map(Action::word);
        all.max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)))
    };
    rpcs::by_word(word).ok_or_else(|| match closest() {
        Some(alike) => format!("no such action; `bursar policy actions` lists them. Did you mean {alike}?"),
        None => "no such action".to_owned(),
    })
}

fn parse_transport(word: &str) -> Result<Transport, String> {
    let found = Transport::ALL.into_iter().find(|transport| transport.word() == word);
    found.ok_or_else(|| format!("one of {}", Transport::ALL.map(Transport::word).join(", ")))
}

fn parse_label(given: &str) -> Result<(String, String), String> {
    let pair = given.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

impl ExplainArgs {
    pub(super) fn run(self, format: Format, console: &mut Console) -> Result<(), Failure> {
        let target = naming::target(self.action, &self.name)
            .map_err(|err| Failure::Usage(format!("`{}` {err}", plain(&self.name))))?;
        let checked = load(&self.policies)?;
        let Some(policies) = checked.policies else {
            let all: Vec<_> = checked.mistakes.iter().map(ToString::to_string).collect();
            console.complain(&(plain_lines(&all.join("\n")) + "\n"));
            return super::refuse(&checked.mistakes);
        };
        let caller = self.caller();
        let answers: Vec<_> = self
            .states(&target)
            .into_iter()
            .map(|(environment, facts)| self.answer(&policies, &caller, (&target, &facts), environment))
            .collect();
        if format != Format::Table {
            return console.data(&answers, format);
        }
        let mut text: String = answers.iter().map(Answer::to_text).collect::<Vec<_>>().join("\n");
        let _ = write!(text, "{}", self.assumed(&target));
        console.print(&text)
    }

    fn caller(&self) -> Caller {
        let identity = match (&self.caller, self.gid) {
            (Identity::Unix { uid, .. }, Some(gid)) => Identity::Unix { uid: *uid, gid },
            (identity, _) => identity.clone(),
        };
        let transport = self.transport.unwrap_or_else(|| identity.usual_transport());
        Caller::new(identity, transport, self.groups.iter().cloned().collect::<BTreeSet<_>>())
    }

    /// The states of the target that are asked about, each with a word for it.
    fn states(&self, target: &Target) -> Vec<(Option<&'static str>, Facts)> {
        let facts = |environment| match target {
            Target::Connection(name) => {
                let owner = Owner::Tenant(name.tenant.clone());
                let client = || Some(ClientName { owner, id: NOT_GIVEN.parse().ok()? });
                Some(Facts::Connection(Box::new(ConnectionFacts {
                    record: None,
                    provider: self.provider()?,
                    client: self.client.clone().or_else(client)?,
                    environment: Some(environment),
                    labels: self.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
                })))
            }
            Target::Client(_) => Some(Facts::Client(ClientFacts { provider: self.provider()?, environment })),
            Target::Deployment | Target::Provider(_) | Target::Tenant(_) | Target::KeyChain(_) => None,
        };
        let all = [(Place::Sandbox, Environment::Sandbox), (Place::Production, Environment::Production)];
        let wanted = all.into_iter().filter(|(place, _)| self.environment.is_none_or(|only| only == *place));
        let states: Vec<_> = wanted
            .filter(|_| !self.absent)
            .filter_map(|(_, environment)| Some((Some(environment.word()), facts(environment)?)))
            .collect();
        if states.is_empty() {
            let word = matches!(target, Target::Connection(_) | Target::Client(_)).then_some("absent");
            return vec![(word, Facts::Nothing)];
        }
        states
    }

    fn provider(&self) -> Option<ProviderName> {
        self.provider.clone().or_else(|| NOT_GIVEN.parse::<Id>().ok().map(ProviderName))
    }

    fn answer(
        &self,
        policies: &Policies,
        caller: &Caller,
        (target, facts): (&Target, &Facts),
        environment: Option<&'static str>,
    ) -> Answer {
        let asked = Asked {
            scopes: self.scopes.clone(),
            audience: self.audience.clone(),
            on_behalf_of: self.on_behalf_of.clone(),
            tenant: self.for_tenant.clone(),
        };
        let question = Question { caller, action: self.action, target, facts, asked: &asked };
        let Explained { ruling, deciding, near, about } = policies.explain(&question);
        let mut groups = about.groups;
        groups.extend(caller.groups().iter().cloned());
        Answer {
            caller: caller.id().to_owned(),
            action: self.action.word(),
            resource: target.to_string(),
            environment,
            outcome: ruling.outcome.word(),
            told: told(self.action, ruling.outcome),
            decided_by: deciding.into_iter().map(Policy::of).collect(),
            nearest: near
                .into_iter()
                .map(|near| Near {
                    id: near.id,
                    at: near.at.to_string(),
                    lacks: near.lacks.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            groups: groups.into_iter().collect(),
            tenants: about.tenants.iter().map(ToString::to_string).collect(),
            environments: about.environments.into_iter().collect(),
        }
    }

    /// What was taken for granted, where it can matter.
    fn assumed(&self, target: &Target) -> String {
        let mut missing = Vec::new();
        if !self.absent
            && matches!(target, Target::Connection(_) | Target::Client(_))
            && self.provider.is_none()
        {
            missing.push("--provider");
        }
        if !self.absent && matches!(target, Target::Connection(_)) {
            missing.extend(self.client.is_none().then_some("--client"));
            missing.extend(self.labels.is_empty().then_some("--label"));
        }
        if missing.is_empty() {
            return String::new();
        }
        format!("\nWhere policies look at more of it, say it: {}.\n", missing.join(", "))
    }
}

/// The reason in the error of a caller that may not.
fn told(action: Action, outcome: Outcome) -> Option<&'static str> {
    let is_new = matches!(action, Action::CreateConnection | Action::CreateClient | Action::CreateTenant);
    match outcome {
        Outcome::Allowed => None,
        Outcome::Hidden if !is_new => Some("NOT_FOUND"),
        Outcome::Hidden | Outcome::Refused => Some("PERMISSION_DENIED"),
    }
}

impl Policy {
    fn of(deciding: Deciding) -> Self {
        let built_in = deciding.id.starts_with(crate::access::policies::written::BUILT_IN);
        Self {
            id: deciding.id,
            says: match deciding.says {
                Says::Permit => "permit",
                Says::Forbid => "forbid",
            },
            at: if built_in { "built in".to_owned() } else { deciding.at.to_string() },
            reason: deciding.reason,
        }
    }
}

impl Answer {
    fn to_text(&self) -> String {
        let Self { caller, action, resource, outcome, .. } = self;
        let environment = self.environment.map(|word| format!(" ({word})")).unwrap_or_default();
        let mut lines =
            vec![format!("{}: {caller} {action} {resource}{environment}", outcome.to_uppercase())];
        let known = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(" ") };
        lines.push(format!(
            "  the caller: groups {}; tenants {}; environments {}",
            known(&self.groups),
            if self.tenants.is_empty() { "any".to_owned() } else { known(&self.tenants) },
            known(&self.environments)
        ));
        for Policy { id, says, at, reason } in &self.decided_by {
            let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            lines.push(format!("  decided by {says} {id} ({at}){reason}"));
        }
        if self.told.is_some() && (self.decided_by.is_empty() || !self.nearest.is_empty()) {
            lines.push("  no policy allows it".to_owned());
        }
        for Near { id, at, lacks } in &self.nearest {
            lines.push(format!("  not by {id} ({at}): {}", lacks.join(", ")));
        }
        match self.told {
            Some("NOT_FOUND") => {
                lines.push("  the caller is told NOT_FOUND, as if there were no such thing".to_owned());
            }
            Some(reason) => {
                lines.push(format!("  the caller is told {reason}, whether or not there is such a thing"));
            }
            None => {}
        }
        lines.iter().map(|line| plain(line) + "\n").collect()
    }
}
