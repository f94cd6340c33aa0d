//! What is replaced under the running process: looked at again and again, used when it was the same twice, and, where
//! it cannot be used, told of once. Knows neither what it is nor where it lies.

use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Tells one state from another. Holds no secret in the clear.
pub type Mark = Vec<u8>;

/// Something outside that may change.
#[async_trait]
pub trait Watched: Send + Sync + 'static {
    type Found: Send + 'static;

    /// What is there now. May block for as long as a file system does. The error is for people: file, problem, mend.
    fn read(&self) -> Result<Self::Found, String>;

    fn mark(found: &Self::Found) -> Mark;

    /// Puts it to use. On an error, the same kind of sentence, what was in use before stays.
    async fn take(&self, found: Self::Found) -> Result<(), String>;

    /// Called once for each trouble that lasts.
    async fn refused(&self, trouble: &str);

    /// Called at each look.
    fn looked(&self) {}
}

/// Decides when a change is used.
#[derive(Debug)]
struct Watch {
    used: Mark,
    seen: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Nothing new.
    Same,
    /// New, and perhaps not whole yet.
    Wait,
    Use,
}

impl Watch {
    fn of(used: Mark) -> Self {
        Self { seen: used.clone(), used }
    }

    fn look(&mut self, now: Mark) -> Step {
        if now == self.used {
            self.seen = now;
            return Step::Same;
        }
        if now != self.seen {
            self.seen = now;
            return Step::Wait;
        }
        self.used = now;
        Step::Use
    }
}

/// Looks until `stop`. `used` is what is in use at the beginning.
pub async fn follow<W: Watched>(watched: Arc<W>, used: Mark, every: Duration, stop: CancellationToken) {
    let mut watch = Watch::of(used);
    let mut told = None;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        watched.looked();
        let reading = watched.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || reading.read()).await else { continue };
        let trouble = match read {
            Ok(found) => match watch.look(W::mark(&found)) {
                Step::Same => None,
                Step::Wait => continue,
                Step::Use => watched.take(found).await.err(),
            },
            // What was removed or locked for a moment is told too if it stays so.
            Err(trouble) => match watch.look(trouble.clone().into_bytes()) {
                Step::Wait => continue,
                Step::Same | Step::Use => Some(trouble),
            },
        };
        match trouble {
            Some(trouble) if told.as_ref() != Some(&trouble) => {
                watched.refused(&trouble).await;
                told = Some(trouble);
            }
            Some(_) => {}
            None => told = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    const EVERY: Duration = Duration::from_secs(5);

    #[test]
    fn a_change_is_used_when_it_was_the_same_twice() {
        let mark = |text: &str| text.as_bytes().to_vec();
        let mut watch = Watch::of(mark("a"));
        for (now, want) in [
            ("a", Step::Same),
            ("b", Step::Wait),
            ("c", Step::Wait),
            ("b", Step::Wait),
            ("b", Step::Use),
            ("b", Step::Same),
            // What was only there for a moment is nothing new.
            ("a", Step::Wait),
            ("b", Step::Same),
            ("a", Step::Wait),
            ("a", Step::Use),
        ] {
            assert_eq!(watch.look(mark(now)), want, "{now}");
        }
    }

    /// A text that may change; one that begins with `bad` cannot be used, one with `gone` cannot be read.
    #[derive(Default)]
    struct Text(Mutex<(String, Vec<String>, Vec<String>)>);

    #[async_trait]
    impl Watched for Text {
        type Found = String;

        fn read(&self) -> Result<String, String> {
            let text = self.0.lock().0.clone();
            if text.starts_with("gone") { Err(text) } else { Ok(text) }
        }

        fn mark(found: &String) -> Mark {
            found.clone().into_bytes()
        }

        async fn take(&self, found: String) -> Result<(), String> {
            if found.starts_with("bad") {
                return Err(found);
            }
            self.0.lock().1.push(found);
            Ok(())
        }

        async fn refused(&self, trouble: &str) {
            self.0.lock().2.push(trouble.to_owned());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_used_is_told_once_and_changes_nothing() {
        let text = Arc::new(Text::default());
        let (stop, tasks) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
        tasks.spawn(follow(text.clone(), Vec::new(), EVERY, stop.clone()));
        tasks.close();
        for now in ["one", "bad 1", "gone", "bad 1", "two", "bad 1", "bad 2", "one"] {
            now.clone_into(&mut text.0.lock().0);
            tokio::time::sleep(EVERY * 5).await;
        }
        stop.cancel();
        tasks.wait().await;
        let (_, taken, told) = text.0.lock().clone();
        assert_eq!(taken, ["one", "two", "one"]);
        assert_eq!(told, ["bad 1", "gone", "bad 1", "bad 1", "bad 2"]);
    }
}
