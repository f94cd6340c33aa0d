//! Waits for the person. What is seen of the connection is judged by a rule without I/O; a server that is away for a
//! moment is waited for like the person.

use crate::{
    api::{Authorization, Connection, GetConnectionRequest, authorization, connection},
    cli::{
        console::Console,
        failure::{Failure, Unauthorized},
        progress::Progress,
        session::Session,
        times,
    },
};
use prost_types::Timestamp;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;

/// Before the first look; each pause is twice as long as the one before, up to the longest.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_MOST: Duration = Duration::from_secs(2);
/// What the broker may need to see that the time is over, after it is.
const GRACE: Duration = Duration::from_secs(5);
/// Longest authorization that is waited for, whatever the server says.
const OPEN_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a look at the connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Waiting,
    Granted,
    Not(Unauthorized),
}

/// Looks again and again until the authorization that has begun is over. Ctrl-C ends the waiting alone.
pub(super) async fn for_person(
    session: &Session,
    begun: &Connection,
    expires: Option<Timestamp>,
    console: &mut Console,
) -> Result<Connection, Failure> {
    let now = (console.now)();
    let open = expires.map_or(OPEN_MAX, |at| times::until(&at, &now)).min(OPEN_MAX);
    let given_up = Instant::now() + open + GRACE;
    let within = expires.map(|at| format!(", {}", times::within(&at, &now))).unwrap_or_default();
    let waiting = Progress::waiting(console, &format!("waiting for the person to consent{within}"));
    let unfinished = |why| Failure::NotAuthorized { name: begun.name.clone(), why };
    let mut pause = LOOK_FIRST;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            stopped = tokio::signal::ctrl_c() => {
                // Without a handler a Ctrl-C ends the process anyway.
                stopped.map_err(|error| Failure::Local(error.into()))?;
                return Err(Failure::StoppedWaiting { name: begun.name.clone(), until: expires });
            }
        }
        pause = (pause * 2).min(LOOK_MOST);
        let session = session.renewed();
        let request = GetConnectionRequest { name: begun.name.clone() };
        match session.wait(session.connections().get_connection(request)).await {
            Ok(seen) => {
                waiting.say("waiting for the person to consent");
                match judge(begun, &seen) {
                    Verdict::Waiting => {}
                    Verdict::Granted => return Ok(seen),
                    Verdict::Not(why) => return Err(unfinished(why)),
                }
            }
            Err(failure) if passing(&failure) => waiting.say("waiting for the server to come back"),
            Err(failure) => return Err(failure),
        }
        if Instant::now() >= given_up {
            return Err(unfinished(Unauthorized::Expired));
        }
    }
}

/// Whether the server may be there again at the next look.
fn passing(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } | Failure::NotTrusted { .. } | Failure::TimedOut { .. } => true,
        Failure::Refused(status) => matches!(status.code(), Code::Unavailable | Code::ResourceExhausted),
        Failure::Usage(_)
        | Failure::OutputClosed
        | Failure::Local(_)
        | Failure::NotAuthorized { .. }
        | Failure::StoppedWaiting { .. }
        | Failure::NotAllImported { .. } => false,
    }
}

/// What became of the authorization that `begun` shows.
fn judge(begun: &Connection, seen: &Connection) -> Verdict {
    use connection::State;
    match seen.state() {
        State::Disabled | State::Revoking | State::Revoked => return Verdict::Not(Unauthorized::Ended),
        State::Pending | State::Active | State::NeedsReauthorization | State::Unspecified => {}
    }
    let (Some(ours), Some(latest)) = (&begun.authorization, &seen.authorization) else {
        return Verdict::Waiting;
    };
    if ours.start_time != latest.start_time {
        return Verdict::Not(Unauthorized::Replaced);
    }
    stage(latest)
}

fn stage(latest: &Authorization) -> Verdict {
    use authorization::State;
    match latest.state() {
        // A stage of tomorrow's server is not the end of it.
        State::UnderWay | State::Unspecified => Verdict::Waiting,
        State::Granted => Verdict::Granted,
        State::Denied => Verdict::Not(Unauthorized::Denied),
        State::Expired => Verdict::Not(Unauthorized::Expired),
        State::Failed => Verdict::Not(Unauthorized::Failed(latest.reason())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ErrorReason;

    fn connection(state: connection::State, started: i64, latest: authorization::State) -> Connection {
        let authorization = Authorization {
            state: latest.into(),
            start_time: Some(Timestamp { seconds: started, nanos: 0 }),
            reason: ErrorReason::PrincipalMismatch.into(),
            ..Authorization::default()
        };
        Connection { state: state.into(), authorization: Some(authorization), ..Connection::default() }
    }

    #[test]
    fn the_latest_authorization_tells_how_ours_ended() {
        use authorization::State as Stage;
        use connection::State;
        let not = Verdict::Not;
        let cases = [
            (State::Pending, 1, Stage::UnderWay, Verdict::Waiting),
            // It serves with the old authorization meanwhile, and refreshes.
            (State::Active, 1, Stage::UnderWay, Verdict::Waiting),
            (State::Active, 1, Stage::Granted, Verdict::Granted),
            (State::Active, 1, Stage::Denied, not(Unauthorized::Denied)),
            (State::NeedsReauthorization, 1, Stage::Expired, not(Unauthorized::Expired)),
            (State::Pending, 1, Stage::Failed, not(Unauthorized::Failed(ErrorReason::PrincipalMismatch))),
            // Granted, and lost again before we looked: it was granted.
            (State::NeedsReauthorization, 1, Stage::Granted, Verdict::Granted),
            (State::Active, 2, Stage::Granted, not(Unauthorized::Replaced)),
            (State::Disabled, 1, Stage::UnderWay, not(Unauthorized::Ended)),
            (State::Revoked, 1, Stage::UnderWay, not(Unauthorized::Ended)),
            (State::Pending, 1, Stage::Unspecified, Verdict::Waiting),
        ];
        let begun = connection(State::Pending, 1, Stage::UnderWay);
        for (state, started, stage, want) in cases {
            let seen = connection(state, started, stage);
            assert_eq!(judge(&begun, &seen), want, "{state:?} {started} {stage:?}");
        }
    }
}
