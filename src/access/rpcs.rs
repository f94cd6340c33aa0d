//! The one table of methods: what each is called in policies, how it counts against limits, how it is put on record.
//! A method that is not here is not served.

/// What a method does, by its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    GetToken,
    WatchToken,
    ReportRejectedToken,
    CreateConnection,
    GetConnection,
    ListConnections,
    UpdateConnection,
    DeleteConnection,
    StartAuthorization,
    CompleteAuthorization,
    RefreshConnection,
    DisableConnection,
    EnableConnection,
    RevokeConnection,
    WatchConnections,
    CreateClient,
    GetClient,
    ListClients,
    UpdateClient,
    DeleteClient,
    AddClientSecret,
    RetireClientSecret,
    RotateClientSecret,
    CreateTenant,
    GetTenant,
    ListTenants,
    UpdateTenant,
    DeleteTenant,
    UndeleteTenant,
    GetProvider,
    ListProviders,
    CheckProvider,
    GetKeyChain,
    WatchKeyChain,
    RotateTenantKey,
    RotateRootKey,
    RotateKek,
    RetireKeyVersion,
    /// No method: asked beside those that use a client for something else.
    UseClient,
}

/// Which budget of calls a method is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Tokens, from memory as a rule.
    Serve,
    /// Reads of the store.
    Read,
    /// Writes to the store.
    Write,
    /// Asks a provider too.
    Exchange,
    /// Opens a stream, which lasts.
    Watch,
}

/// How a method is put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditClass {
    /// Lets a token out.
    Release,
    /// Changes something.
    Change,
    /// Shows something.
    Read,
}

/// One method.
#[derive(Debug, PartialEq, Eq)]
pub struct Rpc {
    /// As in the request: `/package.Service/Method`.
    pub path: &'static str,
    pub action: Action,
    pub rate: Rate,
    pub audit: AuditClass,
}

pub const RPCS: &[Rpc] = &[
    rpc("/bursar.v1.TokenService/GetToken", Action::GetToken, Rate::Serve, AuditClass::Release),
    rpc("/bursar.v1.TokenService/WatchToken", Action::WatchToken, Rate::Watch, AuditClass::Release),
    rpc(
        "/bursar.v1.TokenService/ReportRejectedToken",
        Action::ReportRejectedToken,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/CreateConnection",
        Action::CreateConnection,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc("/bursar.v1.ConnectionService/GetConnection", Action::GetConnection, Rate::Read, AuditClass::Read),
    rpc(
        "/bursar.v1.ConnectionService/ListConnections",
        Action::ListConnections,
        Rate::Read,
        AuditClass::Read,
    ),
    rpc(
        "/bursar.v1.ConnectionService/UpdateConnection",
        Action::UpdateConnection,
        Rate::Write,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/DeleteConnection",
        Action::DeleteConnection,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/StartAuthorization",
        Action::StartAuthorization,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/CompleteAuthorization",
        Action::CompleteAuthorization,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/RefreshConnection",
        Action::RefreshConnection,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/DisableConnection",
        Action::DisableConnection,
        Rate::Write,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/EnableConnection",
        Action::EnableConnection,
        Rate::Write,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/RevokeConnection",
        Action::RevokeConnection,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ConnectionService/WatchConnections",
        Action::WatchConnections,
        Rate::Watch,
        AuditClass::Read,
    ),
    rpc("/bursar.v1.ClientService/CreateClient", Action::CreateClient, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.ClientService/GetClient", Action::GetClient, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.ClientService/ListClients", Action::ListClients, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.ClientService/UpdateClient", Action::UpdateClient, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.ClientService/DeleteClient", Action::DeleteClient, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.ClientService/AddClientSecret", Action::AddClientSecret, Rate::Write, AuditClass::Change),
    rpc(
        "/bursar.v1.ClientService/RetireClientSecret",
        Action::RetireClientSecret,
        Rate::Write,
        AuditClass::Change,
    ),
    rpc(
        "/bursar.v1.ClientService/RotateClientSecret",
        Action::RotateClientSecret,
        Rate::Exchange,
        AuditClass::Change,
    ),
    rpc("/bursar.v1.TenantService/CreateTenant", Action::CreateTenant, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.TenantService/GetTenant", Action::GetTenant, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.TenantService/ListTenants", Action::ListTenants, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.TenantService/UpdateTenant", Action::UpdateTenant, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.TenantService/DeleteTenant", Action::DeleteTenant, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.TenantService/UndeleteTenant", Action::UndeleteTenant, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.ProviderService/GetProvider", Action::GetProvider, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.ProviderService/ListProviders", Action::ListProviders, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.ProviderService/CheckProvider", Action::CheckProvider, Rate::Exchange, AuditClass::Read),
    rpc("/bursar.v1.KeyService/GetKeyChain", Action::GetKeyChain, Rate::Read, AuditClass::Read),
    rpc("/bursar.v1.KeyService/WatchKeyChain", Action::WatchKeyChain, Rate::Watch, AuditClass::Read),
    rpc("/bursar.v1.KeyService/RotateTenantKey", Action::RotateTenantKey, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.KeyService/RotateRootKey", Action::RotateRootKey, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.KeyService/RotateKek", Action::RotateKek, Rate::Write, AuditClass::Change),
    rpc("/bursar.v1.KeyService/RetireKeyVersion", Action::RetireKeyVersion, Rate::Write, AuditClass::Change),
];

/// The row of the method that is called by this path.
pub fn by_path(path: &str) -> Option<&'static Rpc> {
    RPCS.iter().find(|rpc| rpc.path == path)
}

/// Every action that policies know.
pub fn actions() -> impl Iterator<Item = Action> {
    RPCS.iter().map(|rpc| rpc.action).chain([Action::UseClient])
}

/// The action of this name.
pub fn by_word(word: &str) -> Option<Action> {
    actions().find(|action| action.word() == word)
}

impl Action {
    /// As policies and the audit trail write it: the method's name.
    pub fn word(self) -> &'static str {
        let method = RPCS.iter().find(|rpc| rpc.action == self).and_then(|rpc| rpc.path.rsplit('/').next());
        method.unwrap_or("UseClient")
    }
}

const fn rpc(path: &'static str, action: Action, rate: Rate, audit: AuditClass) -> Rpc {
    Rpc { path, action, rate, audit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_their_path_and_actions_by_their_word() {
        for rpc in RPCS {
            assert_eq!(by_path(rpc.path), Some(rpc));
            assert!(rpc.path.ends_with(&format!("/{}", rpc.action.word())), "{rpc:?}");
        }
        for action in actions() {
            assert_eq!(by_word(action.word()), Some(action));
        }
        assert_eq!((actions().count(), by_word("UseClient")), (RPCS.len() + 1, Some(Action::UseClient)));
        for unknown in ["", "gettoken", "/bursar.v1.TokenService/GetToken"] {
            assert_eq!(by_word(unknown), None);
        }
        for unknown in ["", "GetToken", "/bursar.v1.TokenService/", "/bursar.v1.TokenService/GetTokens"] {
            assert_eq!(by_path(unknown), None);
        }
    }
}
