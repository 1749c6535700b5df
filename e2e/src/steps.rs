//! Phases on the terminal: what is done, about how long it takes, and how long it took.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use launchway_operator::cli::times::span;

use crate::Outcome;

/// The phases of a run.
pub struct Phases {
    began: Instant,
    total: usize,
    earlier: Vec<(String, Duration)>,
    done: Vec<(String, Duration)>,
}

impl Phases {
    /// A run of this many phases.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { began: Instant::now(), total, earlier: vec![], done: vec![] }
    }

    /// Records what was done before the run began.
    pub fn before(&mut self, name: &str, took: Duration) {
        self.earlier.push((name.to_string(), took));
    }

    /// Does a phase; says what and about how long before, and how long after.
    ///
    /// # Errors
    /// The phase's own failure, with its name.
    pub async fn phase<T>(&mut self, name: &str, about: &str, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        println!("\n[{}/{}] {name}  ({about})", self.earlier.len() + self.done.len() + 1, self.total);
        let began = Instant::now();
        let result = work.await;
        let took = began.elapsed();
        self.done.push((name.to_string(), took));
        match &result {
            Ok(_) => println!("    done in {}", short(took)),
            Err(_) => println!("    FAILED after {}", short(took)),
        }
        result.map_err(|failure| failure.during(name))
    }

    /// A table of the phases and their times.
    #[must_use]
    pub fn table(&self) -> String {
        let all = || self.earlier.iter().chain(&self.done);
        let width = all().map(|(name, _)| name.chars().count()).max().unwrap_or_default().max("together".len());
        let mut lines: Vec<String> =
            all().map(|(name, took)| format!("  {name:width$}  {:>8}", short(*took))).collect();
        let together = self.began.elapsed() + self.earlier.iter().map(|(_, took)| *took).sum::<Duration>();
        lines.push(format!("  {:width$}  {:>8}", "together", short(together)));
        lines.join("\n")
    }
}

/// A time with tenths below ten seconds.
#[must_use]
pub fn short(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.1}s", time.as_secs_f32()) } else { span(time) }
}
