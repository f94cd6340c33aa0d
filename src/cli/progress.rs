//! What is shown while something takes time: a spinner or a bar on a terminal, lines elsewhere.

use super::console::{Console, Screen};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(120);

/// Something under way. Its line is gone when it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Waits for something of unknown length: a spinner beside the text, or the text once.
    pub(super) fn waiting(console: &mut Console, text: &str) -> Self {
        let bar = match console.screen {
            Screen::Terminal => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            Screen::Lines => {
                console.complain(&format!("{text}\n"));
                ProgressBar::hidden()
            }
        };
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(text.to_owned());
        if console.screen == Screen::Terminal {
            bar.enable_steady_tick(TICK);
        }
        Self(bar)
    }

    /// So many things to do, one after the other.
    pub(super) fn steps(console: &Console, steps: usize) -> Self {
        let length = Some(steps as u64);
        let bar = match console.screen {
            Screen::Terminal => ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()),
            Screen::Lines => ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden()),
        };
        // The template is a constant; what it gives otherwise is good enough.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len}  {msg}  {eta} left") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// One of the steps is done.
    pub(super) fn step(&self, text: String) {
        self.0.set_message(text);
        self.0.inc(1);
    }

    /// Something that changed while it waits: beside the spinner, or a line of its own.
    pub(super) fn tell(&self, console: &mut Console, text: String) {
        match console.screen {
            Screen::Terminal => self.0.set_message(text),
            Screen::Lines => console.complain(&format!("{text}\n")),
        }
    }

    /// What it waits for now.
    pub(super) fn say(&self, text: &'static str) {
        self.0.set_message(text);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
