//! What one call takes up. Given back when its last handle is dropped: work that goes on when the caller has hung up
//! holds one.

use super::{
    Bound, Full, Limits,
    callers::{Account, Taken},
    crowd::Place,
};
use crate::{access::Rate, domain::names::Owner};
use parking_lot::Mutex;
use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};
use tokio::sync::OwnedSemaphorePermit;

/// A call of which nobody knows yet whose it is.
pub struct Entered {
    pub(super) limits: Arc<Limits>,
    pub(super) room: OwnedSemaphorePermit,
}

/// A call that was let in. The default one is bound by nothing: for what the process does by itself.
#[derive(Clone, Default)]
pub struct Seat(Option<Arc<Inner>>);

/// An open stream of a caller; given back when dropped.
pub struct Stream(#[expect(dead_code, reason = "held, not looked at")] Taken);

struct Inner {
    limits: Arc<Limits>,
    account: Arc<Account>,
    held: Mutex<Held>,
    _call: Taken,
}

/// What it holds besides.
struct Held {
    /// Among the calls that wait for nothing. Left for a place among those that wait.
    room: Option<OwnedSemaphorePermit>,
    waiting: Option<(Taken, OwnedSemaphorePermit)>,
    /// Whose stores and providers it waits for: one as a rule, two where a platform's client is used.
    tenants: Vec<Place<Owner>>,
    stream: Option<Taken>,
}

impl Entered {
    /// Finds out who calls. Whoever waits for that takes one of few places, so that a slow issuer of tokens stands in
    /// the way of nobody who is known.
    pub async fn recognised<T>(&self, finding: impl Future<Output = T>) -> Result<T, Full> {
        let mut finding = pin!(finding);
        if let Poll::Ready(found) = once(finding.as_mut()).await {
            return Ok(found);
        }
        let place = self.limits.recognising.try_acquire();
        let _place = place.map_err(|_| Full::of(Bound::Recognising))?;
        Ok(finding.await)
    }
}

impl Seat {
    pub(super) fn take(entered: Entered, account: Arc<Account>, rate: Rate) -> Result<Self, Full> {
        let Entered { limits, room } = entered;
        let call = account.calls.take().ok_or_else(|| Full::of(Bound::CallsPerCaller))?;
        let held = Held { room: Some(room), waiting: None, tenants: Vec::new(), stream: None };
        let seat = Self(Some(Arc::new(Inner { limits, account, held: Mutex::new(held), _call: call })));
        match rate {
            // From memory as a rule: whoever has to wait takes a place when that turns out.
            Rate::Serve => {}
            Rate::Read | Rate::Write | Rate::Exchange => seat.wait()?,
            Rate::Watch => seat.open_stream()?,
        }
        Ok(seat)
    }

    /// To be called before anything is waited for.
    pub fn wait(&self) -> Result<(), Full> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut held = inner.held.lock();
        if held.waiting.is_none() {
            let own = inner.account.waiting.take().ok_or_else(|| Full::of(Bound::WaitingPerCaller))?;
            let of_all = inner.limits.waiting.clone().try_acquire_owned();
            held.waiting = Some((own, of_all.map_err(|_| Full::of(Bound::Waiting))?));
            held.room = None;
        }
        Ok(())
    }

    /// The same for something of a tenant's. Only for callers that policies allow it: what others ask for takes no place
    /// of the tenant's.
    pub fn wait_for(&self, owner: &Owner) -> Result<(), Full> {
        self.wait()?;
        let Some(inner) = &self.0 else { return Ok(()) };
        let mut held = inner.held.lock();
        if !held.tenants.iter().any(|place| place.key() == owner) {
            let place = inner.limits.tenants.enter(owner).ok_or_else(|| Full::of(Bound::WaitingPerTenant))?;
            held.tenants.push(place);
        }
        Ok(())
    }

    /// What can be answered from memory is answered at once; whatever cannot has to find a place first. Only for what may
    /// be dropped half way.
    pub async fn answered<T>(&self, of: Option<&Owner>, asking: impl Future<Output = T>) -> Result<T, Full> {
        let mut asking = pin!(asking);
        if let Poll::Ready(answer) = once(asking.as_mut()).await {
            return Ok(answer);
        }
        match of {
            Some(owner) => self.wait_for(owner)?,
            None => self.wait()?,
        }
        Ok(asking.await)
    }

    fn open_stream(&self) -> Result<(), Full> {
        let Some(inner) = &self.0 else { return Ok(()) };
        let stream = inner.account.streams.take().ok_or_else(|| Full::of(Bound::StreamsPerCaller))?;
        inner.held.lock().stream = Some(stream);
        Ok(())
    }

    /// The caller's open stream, to be held for as long as it is.
    pub fn stream(&self) -> Option<Stream> {
        self.0.as_ref()?.held.lock().stream.take().map(Stream)
    }
}

/// One look at it, and no waiting.
async fn once<F: Future + Unpin>(mut asking: F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut asking).poll(cx))).await
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Seat" } else { "Seat(unbounded)" })
    }
}
