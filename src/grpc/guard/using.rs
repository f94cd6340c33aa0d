//! Clients that are used for something else: to connect with, to look at a provider with. Whether a client that the caller
//! may not see is there shows in no answer.

use super::{Call, Guard};
use crate::{
    access::{Action, Asked, ClientFacts, Denied, Facts},
    broker::admin::Kind,
    domain::names::ClientName,
    grpc::errors,
    store::StoreError,
};
use tonic::Status;

/// A client that is to be used for something else.
pub enum Use {
    Of(ClientFacts),
    OfNone(Unseen),
}

/// There is no client that the caller may see. Nothing of it is told or on record before [`Call::unseen`]: what it was
/// wanted for is judged first, and whether it was hidden or missing must not show there.
pub struct Unseen {
    client: ClientName,
    why: Why,
}

enum Why {
    Missing,
    Hidden,
    Unreadable(StoreError),
}

impl Guard {
    /// The right to use a client for something, and what is true of it.
    pub async fn use_of_client(&self, call: &Call, name: &ClientName, asked: &Asked) -> Result<Use, Status> {
        const ACTION: Action = Action::UseClient;
        let none = |why| Ok(Use::OfNone(Unseen { client: name.clone(), why }));
        let read = self.knowing.client(name).await;
        let facts = read.as_ref().unwrap_or(&Facts::Nothing);
        match (self.access.permit(&call.caller, ACTION, name.clone(), facts, asked), read) {
            (Err(Denied::Refused), _) => {
                call.note.denied(ACTION, name);
                Err(call.refused(ACTION, name))
            }
            (Err(Denied::Hidden), _) => none(Why::Hidden),
            (Ok(_), Ok(Facts::Client(facts))) => Ok(Use::Of(facts)),
            (Ok(_), Ok(Facts::Nothing | Facts::Connection(_))) => none(Why::Missing),
            (Ok(_), Err(err)) => none(Why::Unreadable(err)),
        }
    }
}

impl Call {
    /// What the caller is told of it in the end.
    pub fn unseen(&self, Unseen { client, why }: Unseen) -> Status {
        match why {
            Why::Missing => self.missing((Kind::Client, &client)),
            Why::Hidden => {
                self.note.denied(Action::UseClient, &client);
                self.told(Denied::Hidden, Action::UseClient, (Kind::Client, &client))
            }
            Why::Unreadable(err) => errors::admin(&client, err.into()),
        }
    }
}
