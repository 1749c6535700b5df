//! A generator of archives that nobody honest writes, each with what has to become of it.

mod packages;
mod structure;

use launchway_operator::image::{Limits, Reason};

/// What has to become of an archive.
pub enum Expect {
    /// Refused with one of these codes.
    Refused(&'static [Reason]),
    /// Accepted, because this proves that no reader can be misled by it.
    Harmless(&'static str),
}

/// One archive.
pub struct Case {
    pub name: String,
    pub bytes: Vec<u8>,
    pub expect: Expect,
    /// Other bounds than the usual ones, where the real ones would need gigabytes.
    pub limits: Option<Limits>,
}

/// Collects cases.
#[derive(Default)]
pub struct Cases(pub Vec<Case>);

impl Cases {
    fn refused(&mut self, name: impl Into<String>, reasons: &'static [Reason], bytes: Vec<u8>) {
        self.0.push(Case { name: name.into(), bytes, expect: Expect::Refused(reasons), limits: None });
    }

    fn within(&mut self, name: &str, reasons: &'static [Reason], limits: Limits, bytes: Vec<u8>) {
        let limits = Some(limits);
        self.0.push(Case { name: name.to_owned(), bytes, expect: Expect::Refused(reasons), limits });
    }

    fn harmless(&mut self, name: &str, why: &'static str, bytes: Vec<u8>) {
        self.0.push(Case { name: name.to_owned(), bytes, expect: Expect::Harmless(why), limits: None });
    }
}

/// Every archive of the generator.
pub fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    structure::add(&mut cases);
    structure::names(&mut cases);
    packages::metadata(&mut cases);
    packages::large(&mut cases);
    packages::nested(&mut cases);
    packages::dispatchers(&mut cases);
    cases.0
}
