use launchway_crds::common::Span;
use serde_json::json;

use super::*;

fn source(tag: &str) -> Source {
    serde_json::from_value(json!({"artifact": {"repository": "r.example.com/wknd/artifacts", "tag": tag}})).unwrap()
}

fn watch(seconds: u64, soon: bool) -> Option<Watch> {
    Some(Watch { interval: Span::from_secs(seconds), soon })
}

fn next(sources: &Sources, key: &Key) -> Duration {
    sources.lock()[key].next.saturating_duration_since(Instant::now())
}

fn unreachable() -> Result<Option<String>, Fault> {
    Err(Fault::Unreachable("no answer".into()))
}

#[test]
fn a_source_is_asked_every_interval_give_or_take_a_tenth() {
    let (sources, key) = (Sources::default(), Key::new("wknd", "main"));
    sources.set(&key, &source("main"), watch(300, true));
    assert_eq!(next(&sources, &key), Duration::ZERO);
    let mut pauses = std::collections::BTreeSet::new();
    for _ in 0..50 {
        sources.store(&key, &source("main"), Ok(Some("a".into())));
        let pause = next(&sources, &key).as_secs_f64();
        assert!((265.0..=330.0).contains(&pause), "{pause}");
        pauses.insert(pause as u64);
        // A round of the controller in between changes nothing.
        sources.set(&key, &source("main"), watch(300, false));
    }
    assert!(pauses.len() > 10, "pipelines that began together stay together: {pauses:?}");
    sources.set(&key, &source("main"), watch(10, false));
    assert!(next(&sources, &key) <= Duration::from_secs(10), "a shorter interval begins now");
}

#[test]
fn a_thousand_sources_that_are_known_are_not_asked_at_once() {
    let sources = Sources::default();
    let keys: Vec<Key> = (0..1000).map(|number| Key::new("wknd", &format!("p{number}"))).collect();
    keys.iter().for_each(|key| sources.set(key, &source("main"), watch(300, false)));
    let early = keys.iter().filter(|key| next(&sources, key) < Duration::from_secs(1)).count();
    assert!(early < 200, "{early}");
    assert!(keys.iter().all(|key| next(&sources, key) <= SPREAD));
}

#[test]
fn failures_are_told_when_they_last_and_asked_for_ever_less_often() {
    let (sources, key) = (Sources::default(), Key::new("wknd", "main"));
    sources.set(&key, &source("main"), watch(300, true));
    let mut pauses = vec![];
    for failures in 1..=10 {
        let look = sources.store(&key, &source("main"), unreachable());
        assert_eq!(matches!(look, Look::Failed { lasting: true, .. }), failures >= LASTING);
        pauses.push(next(&sources, &key).as_secs());
    }
    assert!(pauses[0] < 20 && pauses.iter().all(|pause| *pause <= 330) && pauses[9] > 250, "{pauses:?}");
    let refused = sources.store(&key, &source("main"), Err(Fault::Refused("401".into())));
    assert!(matches!(refused, Look::Failed { lasting: true, .. }), "what a person has to repair is told at once");
    sources.store(&key, &source("main"), Ok(None));
    assert!(matches!(sources.store(&key, &source("main"), unreachable()), Look::Failed { lasting: false, .. }));
}

#[test]
fn a_bell_has_it_asked_at_once_but_not_without_pause() {
    let (sources, key) = (Sources::default(), Key::new("wknd", "main"));
    assert!(!sources.ring(&key));
    sources.set(&key, &source("main"), watch(300, true));
    sources.store(&key, &source("main"), Ok(None));
    for _ in 0..100 {
        assert!(sources.ring(&key));
    }
    let pause = next(&sources, &key);
    assert!(pause <= LEAST && pause > LEAST / 2, "{pause:?}");
}

#[test]
fn a_bell_during_a_question_is_not_lost() {
    let (sources, key) = (Sources::default(), Key::new("wknd", "main"));
    sources.set(&key, &source("main"), watch(300, true));
    sources.ring(&key);
    // The answer may have been on its way before the push.
    sources.store(&key, &source("main"), Ok(Some("a".into())));
    assert!(next(&sources, &key) <= LEAST);
    sources.store(&key, &source("main"), Ok(Some("b".into())));
    assert!(next(&sources, &key) > LEAST, "one bell, one more question");
}

#[test]
fn an_answer_about_another_source_is_not_kept() {
    let (sources, key) = (Sources::default(), Key::new("wknd", "main"));
    sources.set(&key, &source("main"), watch(300, true));
    sources.set(&key, &source("release"), watch(300, true));
    sources.store(&key, &source("main"), Ok(Some("a".into())));
    assert_eq!(sources.last(&key), Look::NotYet);
    sources.store(&key, &source("release"), Ok(Some("b".into())));
    assert_eq!(sources.last(&key), Look::Seen { revision: Some("b".into()), fresh: false });
    sources.set(&key, &source("release"), None);
    assert_eq!(sources.last(&key), Look::NotYet);
}
