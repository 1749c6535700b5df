//! The order of a Rolling rollout, by what watches of pods and of endpoints saw.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use launchway_crds::{
    environment::{RolloutState, Tier},
    names::labels,
};
use serde_json::json;

use crate::{
    Failure, Outcome,
    cluster::{call, until},
    endpoints::{Endpoints, Stay},
    failure::ensure,
    lives::{Life, Lives},
    program::Program,
    scenario::measured,
    watched::Moment,
};

/// Who looks on while an Environment is rolled.
pub struct Witness {
    environment: &'static str,
    lives: Lives,
    endpoints: Endpoints,
}

impl Witness {
    /// Looks at an Environment from now on.
    ///
    /// # Errors
    /// When the apiserver refuses.
    pub async fn of(program: &Program, environment: &'static str) -> Outcome<Self> {
        let endpoints = Endpoints::watch(program, &Program::front(environment)).await?;
        let lives = Lives::watch(program, &format!("{}={environment}", labels::ENVIRONMENT)).await?;
        Ok(Self { environment, lives, endpoints })
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen { environment: self.environment, lives: self.lives.seen(), stays: self.endpoints.seen() }
    }
}

/// What a witness saw.
#[derive(Clone, Debug)]
pub struct Seen {
    environment: &'static str,
    lives: Vec<Life>,
    /// In the Service of the dispatchers, by the pod's UID.
    stays: BTreeMap<String, Stay>,
}

/// How a pair was replaced, or added and taken away.
struct Pair {
    /// None of a pair that the rollout added.
    away: Option<Away>,
    /// The new pods, both ready.
    ready: Moment,
    /// The new dispatcher gets visitors.
    comes: Moment,
    /// None of a pair that stays.
    ends: Option<Away>,
}

/// How a pair stops to serve.
struct Away {
    /// Its dispatcher is told to end.
    told: Moment,
    /// Its dispatcher gets no visitors any more.
    leaves: Moment,
    /// Its dispatcher has answered what it had, and is gone.
    drained: Moment,
    /// Its publish is told to end.
    publish: Moment,
}

impl Away {
    /// A dispatcher is out of the Service and has drained before its publish ends.
    fn judge(&self, whose: &str) -> Outcome {
        before(&format!("{whose}'s dispatcher left the Service"), self.leaves, "it was gone", self.drained)?;
        before(&format!("{whose}'s dispatcher had drained"), self.drained, "its publish was told to end", self.publish)
    }
}

impl Seen {
    /// Fails when a rollout of so many pairs, of which a number was added meanwhile, had another order than this: the
    /// author is ready before any pair is touched; added pairs serve before one that serves is detached; a pair's
    /// dispatcher is out of the Service and gone before its publish is told to end; it is in again when both new pods are
    /// ready; no other pair is touched before; what was added goes at the end, dispatcher first. Every pod was made once.
    ///
    /// # Errors
    /// Which two events came in another order, or which pod was not seen.
    pub fn in_order(&self, pairs: i32, added: i32) -> Outcome {
        let author = self.made(Tier::Author, 0)?.ready;
        let author = author.ok_or_else(|| Failure::new("the author never became ready"))?;
        let all: Vec<(i32, Pair)> = (0..pairs + added)
            .rev()
            .map(|ordinal| Ok((ordinal, self.pair(ordinal, pairs)?)))
            .collect::<Outcome<_>>()?;
        let mut reached: Option<(String, &Pair)> = None;
        for (ordinal, pair) in &all {
            let name = format!("pair {}", ordinal + 1);
            before(&format!("{name} was ready"), pair.ready, "it was in the Service", pair.comes)?;
            if let Some(away) = &pair.away {
                before("the author was ready", author, &format!("{name} was detached"), away.told)?;
                away.judge(&name)?;
                if let Some((other, reached)) = &reached {
                    before(&format!("{other} was ready"), reached.ready, &format!("{name} was detached"), away.told)?;
                    before(
                        &format!("{other} was in the Service"),
                        reached.comes,
                        &format!("{name} left"),
                        away.leaves,
                    )?;
                }
                reached = Some((name, pair));
            }
        }
        for (ordinal, pair) in all.iter().filter(|(ordinal, _)| *ordinal >= pairs) {
            let name = format!("pair {}, which was added,", ordinal + 1);
            let end = pair.ends.as_ref().ok_or_else(|| Failure::new(format!("{name} is still there")))?;
            end.judge(&name)?;
            for (other, pair) in all.iter().filter(|(other, _)| *other < pairs) {
                let (there, serves) = (pair.comes, format!("pair {} was in the Service", other + 1));
                before(&serves, there, &format!("{name} went"), end.told)?;
            }
        }
        tell(author, &all);
        Ok(())
    }

    fn of(&self, tier: Tier, ordinal: i32, new: bool) -> Outcome<Option<&Life>> {
        let name = format!("{}-{}-{ordinal}", self.environment, tier.as_str());
        let mut found = self.lives.iter().filter(|life| life.name == name && life.made.is_some() == new);
        let first = found.next();
        let others = found.count();
        ensure(others == 0, || format!("{name} was made {} times: {:?}", others + 1, self.lives))?;
        Ok(first)
    }

    /// The pod that was made while the witness looked on.
    fn made(&self, tier: Tier, ordinal: i32) -> Outcome<&Life> {
        let tier_name = tier.as_str();
        self.of(tier, ordinal, true)?
            .ok_or_else(|| Failure::new(format!("no new {tier_name} {ordinal}: {:?}", self.lives)))
    }

    fn pair(&self, ordinal: i32, pairs: i32) -> Outcome<Pair> {
        let (publish, dispatcher) = (self.made(Tier::Publish, ordinal)?, self.made(Tier::Dispatcher, ordinal)?);
        let old = (self.of(Tier::Publish, ordinal, false)?, self.of(Tier::Dispatcher, ordinal, false)?);
        let away = match old {
            (Some(publish), Some(dispatcher)) => Some(self.away(publish, dispatcher)?),
            (None, None) if ordinal >= pairs => None,
            other => return Err(Failure::new(format!("what served as pair {} before: {other:?}", ordinal + 1))),
        };
        Ok(Pair {
            away,
            ready: at(publish, publish.ready, "ready")?.max(at(dispatcher, dispatcher.ready, "ready")?),
            comes: self.stay(dispatcher)?.came,
            ends: if ordinal >= pairs { Some(self.away(publish, dispatcher)?) } else { None },
        })
    }

    fn away(&self, publish: &Life, dispatcher: &Life) -> Outcome<Away> {
        Ok(Away {
            told: at(dispatcher, dispatcher.leaves, "told to end")?,
            leaves: at(dispatcher, self.stay(dispatcher)?.left, "out of the Service")?,
            drained: at(dispatcher, dispatcher.gone, "gone")?,
            publish: at(publish, publish.leaves, "told to end")?,
        })
    }

    fn stay(&self, dispatcher: &Life) -> Outcome<Stay> {
        let found = self.stays.get(&dispatcher.uid).copied();
        found.ok_or_else(|| Failure::new(format!("{} was never in the Service", dispatcher.name)))
    }

    /// When the dispatcher that served as one of a pair before the rollout was told to end.
    ///
    /// # Errors
    /// When the watch has not seen it.
    pub fn told(&self, ordinal: i32) -> Outcome<Timestamp> {
        let old = self.of(Tier::Dispatcher, ordinal, false)?;
        let old = old.ok_or_else(|| Failure::new(format!("no dispatcher {ordinal} ended")))?;
        at(old, old.leaves, "told to end").map(|moment| moment.at)
    }

    /// Whether the dispatcher of a pair was out of the Service and gone before its publish was told to end.
    ///
    /// # Errors
    /// When the watch has not seen both of them end.
    pub fn detached(&self, ordinal: i32) -> Outcome<bool> {
        let old = |tier: Tier| {
            let found = self.of(tier, ordinal, false)?;
            found.ok_or_else(|| Failure::new(format!("no {} {ordinal} ended", tier.as_str())))
        };
        let away = self.away(old(Tier::Publish)?, old(Tier::Dispatcher)?)?;
        Ok(away.judge("it").is_ok())
    }
}

fn at(life: &Life, moment: Option<Moment>, what: &str) -> Outcome<Moment> {
    moment.ok_or_else(|| Failure::new(format!("{} was never {what}: {life:?}", life.name)))
}

fn before(first: &str, earlier: Moment, second: &str, later: Moment) -> Outcome {
    ensure(earlier <= later, || format!("{second} at {}, although it is only at {} that {first}", later.at, earlier.at))
}

/// One line a pair, in seconds since the author was ready.
fn tell(author: Moment, all: &[(i32, Pair)]) {
    let since = |moment: Moment| format!("{:.1}", moment.at.duration_since(author.at).as_secs_f64());
    for (ordinal, pair) in all {
        let out = pair.away.as_ref().or(pair.ends.as_ref());
        let out = out.map(|away| format!("{}, publish told to end {}", since(away.leaves), since(away.publish)));
        let kind = if pair.away.is_some() { "dispatcher out" } else { "added; dispatcher out at the end" };
        measured(
            &format!("pair {}, seconds since the author was ready", ordinal + 1),
            format!("{kind} {}, both ready {}, in {}", out.unwrap_or_default(), since(pair.ready), since(pair.comes)),
        );
    }
}

impl Program {
    /// Rolls an Environment by another greeting: the same way as a release goes, without its build.
    ///
    /// # Errors
    /// When the apiserver refuses, or the rollout is not complete after `limit`.
    pub async fn greets(&self, environment: &str, greeting: &str, limit: Duration) -> Outcome {
        let change = json!({"spec": {"variables": [{"name": "DEMO_GREETING", "value": greeting}]}});
        let patch = Patch::Merge(&change);
        let changed = call(self.environments().patch(environment, &PatchParams::default(), &patch)).await?;
        until(&format!("{environment} is rolled"), limit, || async {
            let status = self.environment(environment).await?.status.unwrap_or_default();
            let over = status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Complete);
            let of_this = Some(status.observed_generation) >= changed.metadata.generation;
            Ok(if over && of_this { Ok(()) } else { Err(format!("{:?}", status.rollout)) })
        })
        .await
    }

    /// Waits until a rollout is in this phase.
    ///
    /// # Errors
    /// After `limit`.
    pub async fn reaches(&self, environment: &str, phase: &str, limit: Duration) -> Outcome {
        until(&format!("{environment} is in the phase {phase}"), limit, || async {
            let rollout = self.environment(environment).await?.status.and_then(|status| status.rollout);
            Ok(match rollout {
                Some(rollout) if rollout.phase == phase && rollout.state == RolloutState::Progressing => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
        .await
    }
}
