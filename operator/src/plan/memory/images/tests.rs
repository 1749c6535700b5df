//! Which images go, and above all which do not.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const IMAGES: &str = "registry.example.com/wknd/images";

/// Parts of the release of an execution by number.
#[derive(Clone, Copy)]
enum Part {
    Release,
    Aem,
    Dispatcher,
    Provenance,
}

fn digest(part: Part, number: u8) -> Sha256Digest {
    let kind = match part {
        Part::Release => 1,
        Part::Aem => 2,
        Part::Dispatcher => 3,
        Part::Provenance => 4,
    };
    let mut bytes = [number; 32];
    bytes[0] = kind;
    Sha256Digest::from_bytes(bytes)
}

fn image(part: Part, number: u8) -> String {
    format!("{IMAGES}@{}", digest(part, number))
}

fn parts(number: u8) -> [Sha256Digest; 4] {
    [Part::Provenance, Part::Release, Part::Aem, Part::Dispatcher].map(|part| digest(part, number))
}

fn at(number: u8) -> String {
    format!("2026-11-21T10:{number:02}:00Z")
}

/// What a pipeline remembers of its execution of a number.
fn entry(number: u8) -> LedgerEntry {
    serde_json::from_value(json!({
        "name": format!("wknd-{number}"), "uid": format!("uid-{number}"), "specHash": "0", "result": reasons::FINISHED,
        "release": image(Part::Release, number), "at": at(number),
        "images": { "aem": image(Part::Aem, number), "dispatcher": image(Part::Dispatcher, number) },
    }))
    .unwrap()
}

fn marked(number: u8, state: ImagesState) -> LedgerEntry {
    LedgerEntry { images_state: Some(state), ..entry(number) }
}

fn due_entry(number: u8) -> LedgerEntry {
    marked(number, ImagesState::LetGo)
}

/// A pipeline; its ledger is given oldest first.
fn pipeline(namespace: &str, name: &str, type_: &str, ledger: &[LedgerEntry]) -> Pipeline {
    let source = match type_ {
        "ProductionOnly" => json!({ "pipeline": "wknd" }),
        _ => json!({ "artifact": { "repository": "registry.example.com/wknd/artifacts" } }),
    };
    let mut spec = json!({ "type": type_, "source": source, "history": { "images": "Delete" } });
    if type_ != "ProductionOnly" {
        spec["images"] = json!({ "repository": IMAGES });
    }
    let newest_first: Vec<&LedgerEntry> = ledger.iter().rev().collect();
    serde_json::from_value(json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": name, "namespace": namespace, "uid": name, "generation": 3 },
        "spec": spec, "status": { "ledger": newest_first },
    }))
    .unwrap()
}

fn execution(namespace: &str, pipeline: &str, spec: &Value, status: &Value) -> PipelineExecution {
    let mut whole = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "PipelineExecution",
        "metadata": { "name": "runs", "namespace": namespace, "uid": "uid-runs", "creationTimestamp": at(30) },
        "spec": { "pipelineRef": { "name": pipeline } }, "status": status,
    });
    whole["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

fn environment(namespace: &str, name: &str, spec: &Value, status: &Value) -> Environment {
    let mut whole = json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Environment",
        "metadata": { "name": name, "namespace": namespace }, "spec": { "type": "Stage" }, "status": status,
    });
    whole["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

/// What runs on an Environment: the release of one execution, with the dispatcher of another one.
fn deployed(number: u8, dispatcher: u8) -> Value {
    json!({ "deployed": {
        "execution": format!("wknd-{number}"), "uid": format!("uid-{number}"), "release": image(Part::Release, number),
        "images": { "aem": image(Part::Aem, number), "dispatcher": image(Part::Dispatcher, dispatcher) }, "at": at(0),
    }})
}

/// A pipeline that remembers this, in a cluster with nothing else in it.
fn world(ledger: &[LedgerEntry]) -> World {
    let own = pipeline("wknd", "wknd", "StageOnly", ledger);
    World {
        pipelines: vec![own.clone()],
        pipeline: own,
        environments: vec![],
        running: vec![],
        there: There::default(),
        builds: BTreeSet::new(),
        pods: BTreeSet::new(),
    }
}

/// A registry that was asked about everything that is due, and where nobody has tags.
fn found(world: &World) -> Found {
    let of = |release: &Sha256Digest| {
        let number = (0..40).find(|number| digest(Part::Release, *number) == *release).unwrap();
        (*release, vec![digest(Part::Provenance, number)])
    };
    Found { named: BTreeSet::new(), documents: due_releases(world).iter().map(of).collect() }
}

fn names(uids: &BTreeSet<String>) -> Vec<&str> {
    uids.iter().map(|uid| uid.trim_start_matches("uid-")).collect()
}

#[test]
fn history_lets_go_of_what_is_gone_and_nobody_may_take() {
    let five = || world(&[entry(1), entry(2), entry(3), entry(4), entry(5)]);
    assert_eq!(names(&let_go(&five())), ["1", "2", "3", "4"], "5 is the last, which can be promoted");
    let mut there = five();
    let is = |namespace: &str, name: &str, uid: &str| (namespace.to_owned(), name.to_owned(), uid.to_owned());
    let again = [is("wknd", "any", "uid-1"), is("wknd", "wknd-3", "uid-again"), is("other", "wknd-2", "uid-other")];
    there.there = There::of(again.into_iter());
    assert_eq!(
        names(&let_go(&there)),
        ["2", "4"],
        "1 is there, and 3 was created again; names are those of a namespace"
    );
    let mut keeps = five();
    keeps.pipeline.spec.history.images = HistoryImages::Keep;
    assert!(let_go(&keeps).is_empty() && !has_work(&keeps.pipeline, &keeps.there));
    let mut runs = five();
    runs.environments = vec![environment("wknd", "stage", &json!({}), &deployed(2, 2))];
    assert_eq!(names(&let_go(&runs)), ["1", "3", "4"]);
    let mut web_tier = deployed(2, 3);
    web_tier["deployed"]["webTier"] =
        json!({ "execution": "wknd-3", "uid": "uid-3", "release": image(Part::Release, 3) });
    runs.environments = vec![environment("wknd", "stage", &json!({}), &web_tier)];
    assert_eq!(names(&let_go(&runs)), ["1", "4"], "the dispatcher came with 3");
    let mut failed = five();
    let last = LedgerEntry { result: reasons::FAILED.into(), ..entry(6) };
    failed.pipeline = pipeline("wknd", "wknd", "StageOnly", &[entry(4), entry(5), last]);
    failed.pipelines = vec![failed.pipeline.clone()];
    assert_eq!(names(&let_go(&failed)), ["4"], "5 can be promoted, 6 executed again");
    let nothing = LedgerEntry { release: None, ..entry(1) };
    assert!(!has_work(&world(&[nothing, marked(2, ImagesState::Deleted)]).pipeline, &There::default()));
}

#[test]
fn who_has_not_ended_keeps_what_it_names_or_may_take() {
    let with = |execution: PipelineExecution| {
        let mut world = world(&[entry(1), entry(2), entry(3), entry(4), entry(5)]);
        world.pipelines.push(pipeline("wknd", "production", "ProductionOnly", &[]));
        world.running = vec![execution];
        names(&let_go(&world)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for field in ["sourceExecution", "rollBackTo", "reExecute"] {
        let asks = execution("wknd", "production", &json!({ field: "wknd-2" }), &Value::Null);
        assert_eq!(with(asks), ["1", "3", "4"], "{field}");
    }
    let source = json!({ "pipeline": "wknd", "execution": "wknd-3", "uid": "uid-3" });
    let took = json!({ "state": "Running", "steps": [], "source": source });
    assert_eq!(with(execution("wknd", "production", &json!({}), &took)), ["1", "2", "4"]);
    // Names are those of a namespace.
    let elsewhere = execution("other", "production", &json!({ "sourceExecution": "wknd-2" }), &Value::Null);
    assert_eq!(with(elsewhere), ["1", "2", "3", "4"]);
    // One that builds takes nothing.
    assert_eq!(with(execution("wknd", "wknd", &json!({}), &Value::Null)), ["1", "2", "3", "4"]);
    // One that names nothing takes the last success of the moment: any that came since it is there, and the one before.
    let mut waits = execution("wknd", "production", &json!({}), &Value::Null);
    waits.metadata.creation_timestamp = Some(serde_json::from_value(json!(at(3))).unwrap());
    assert_eq!(with(waits.clone()), ["1"], "at 3 it was 2 or 3");
    waits.spec.pipeline_ref.name = "not-there-yet".into();
    assert_eq!(with(waits.clone()), ["1"]);
    waits.metadata.creation_timestamp = None;
    assert!(with(waits).is_empty());
}

/// What is deleted of the due entries of a world, and who waits.
fn swept(world: &World, found: &Found) -> (Vec<Sha256Digest>, Vec<String>) {
    let sweep = sweep(world, found);
    let last: usize = sweep.removals.iter().filter(|removal| removal.is_last).count();
    assert_eq!(last + sweep.waits.len(), due(&world.pipeline).count(), "each is done or waits");
    (sweep.removals.into_iter().flat_map(|removal| removal.digests).collect(), sweep.waits)
}

#[test]
fn a_release_goes_with_what_is_attached_first_and_its_images_last() {
    let world = world(&[due_entry(1), due_entry(2), entry(3)]);
    let (deleted, waits) = swept(&world, &found(&world));
    assert_eq!(deleted, [parts(1), parts(2)].concat());
    assert!(waits.is_empty());
}

#[test]
fn whatever_anybody_names_stays() {
    type Change = fn(&mut World, &mut Found);
    let [provenance, release, aem, dispatcher] = parts(1);
    let all = [provenance, release, aem, dispatcher];
    let rows: [(&str, Change, &[Sha256Digest], bool); 13] = [
        ("nothing", |_, _| {}, &all, true),
        (
            "an Environment of another namespace runs the release",
            |world, _| world.environments.push(environment("other", "dev", &json!({}), &deployed(1, 1))),
            &[],
            false,
        ),
        (
            "an Environment runs its dispatcher beside another release",
            |world, _| world.environments.push(environment("wknd", "dev", &json!({}), &deployed(9, 1))),
            &[provenance, release, aem],
            false,
        ),
        (
            "an Environment has its image as base",
            |world, _| {
                let spec = json!({ "runtime": { "aem": image(Part::Aem, 1) } });
                world.environments.push(environment("other", "dev", &spec, &json!({})));
            },
            &[provenance, release, dispatcher],
            false,
        ),
        (
            "a pod of a rollout that failed has its image",
            |world, _| world.pods.extend([digest(Part::Aem, 1)]),
            &[provenance, release, dispatcher],
            false,
        ),
        (
            "an execution that runs mentions the release, in whichever field",
            |world, _| {
                let spec = json!({ "reason": format!("as {} was", image(Part::Release, 1)) });
                world.running.push(execution("other", "wknd", &spec, &Value::Null));
            },
            &[],
            false,
        ),
        (
            "a pipeline of another namespace remembers the release",
            |world, _| world.pipelines.push(pipeline("other", "wknd", "StageOnly", &[entry(1)])),
            &[],
            false,
        ),
        (
            "that one has let go of it, too",
            |world, _| world.pipelines.push(pipeline("other", "wknd", "StageOnly", &[due_entry(1)])),
            &all,
            true,
        ),
        (
            "a pipeline tests with its image",
            |world, _| {
                let mut other = pipeline("other", "wknd", "StageOnly", &[]);
                let test = json!({ "image": image(Part::Dispatcher, 1) });
                let stage = json!({ "environment": "stage", "tests": { "ui": test } });
                other.spec.stage = Some(serde_json::from_value(stage).unwrap());
                world.pipelines.push(other);
            },
            &[provenance, release, aem],
            false,
        ),
        ("somebody has a tag on it", |_, found| found.named.extend(parts(1)), &[], false),
        (
            "a release that is used has its image",
            |_, found| found.named.extend([digest(Part::Aem, 1)]),
            &[provenance, release, dispatcher],
            false,
        ),
        ("it was let go of after the registry was asked", |_, found| found.documents.clear(), &[], false),
        (
            "images are built by somebody who has not said which",
            |world, _| {
                world.running.push(execution("other", "wknd", &json!({}), &json!({ "state": "Running", "steps": [] })));
                world.builds.insert("uid-runs".into());
            },
            &[],
            false,
        ),
    ];
    for (what, change, deleted, is_done) in rows {
        let mut world = world(&[due_entry(1), entry(9)]);
        let mut found = found(&world);
        change(&mut world, &mut found);
        let (found, waits) = swept(&world, &found);
        assert_eq!(found, deleted, "{what}");
        assert_eq!(waits.is_empty(), is_done, "{what}");
    }
}

#[test]
fn a_build_that_said_what_it_made_is_in_nobodys_way() {
    let mut world = world(&[due_entry(1), entry(2)]);
    let release = |number| json!({ "state": "Running", "steps": [], "release": image(Part::Release, number) });
    world.builds.insert("uid-runs".into());
    world.running = vec![execution("wknd", "wknd", &json!({}), &release(2))];
    assert_eq!(swept(&world, &found(&world)).0, parts(1));
    world.running = vec![];
    assert_eq!(swept(&world, &found(&world)).0, parts(1), "it ended, and its Job is still there");
}

#[test]
fn who_shares_an_image_answers_for_it() {
    let shared = |mut entry: LedgerEntry| {
        entry.images.as_mut().unwrap().dispatcher = image(Part::Dispatcher, 9).parse().unwrap();
        entry
    };
    // A release that is kept has it: it goes when that one goes.
    let kept = world(&[shared(due_entry(1)), shared(entry(2))]);
    let (deleted, waits) = swept(&kept, &found(&kept));
    assert_eq!((deleted, waits.len()), (parts(1)[..3].to_vec(), 0));
    // Both go: it is deleted once, with the first.
    let both = world(&[shared(due_entry(1)), shared(due_entry(2)), entry(3)]);
    let (deleted, waits) = swept(&both, &found(&both));
    let expected = [&parts(1)[..3], &[digest(Part::Dispatcher, 9)], &parts(2)[..3]].concat();
    assert_eq!((deleted, waits.len()), (expected, 0));
    // Both are let go of and an Environment has it: the newer one remembers that it is still there.
    let mut runs = both;
    runs.environments = vec![environment("wknd", "stage", &json!({}), &deployed(3, 9))];
    let (deleted, waits) = swept(&runs, &found(&runs));
    assert_eq!((deleted, waits), ([&parts(1)[..3], &parts(2)[..3]].concat(), vec!["wknd-2".to_owned()]));
    // The same release again: the newer entry has it.
    let again = LedgerEntry { uid: "uid-again".into(), ..entry(1) };
    let twice = world(&[due_entry(1), again]);
    assert_eq!(swept(&twice, &found(&twice)), (vec![], vec![]));
}

#[test]
fn what_is_in_another_repository_is_not_touched_and_many_take_several_turns() {
    let mut moved = world(&[due_entry(1), entry(2)]);
    moved.pipeline.spec.images.as_mut().unwrap().repository = "registry.example.com/new/images".into();
    assert!(due_releases(&moved).is_empty() && sweep(&moved, &Found::default()).removals.is_empty());
    let many: Vec<LedgerEntry> = (1..=12).map(due_entry).chain([entry(13)]).collect();
    let many = world(&many);
    let sweep = sweep(&many, &found(&many));
    assert_eq!((sweep.removals.len(), sweep.soon), (ROUND / 4, true));
    // What stays for long is in nobody's way.
    let mut stay = many.clone();
    stay.pods = (1..=11).flat_map(parts).collect();
    assert_eq!(swept(&stay, &found(&stay)).0, parts(12));
    assert_eq!(
        (sweep.removals[0].uid.as_str(), sweep.waits),
        ("uid-1", vec!["wknd-11".to_owned(), "wknd-12".to_owned()])
    );
}

#[test]
fn digests_are_found_in_texts_and_own_tags_by_their_form() {
    let mut all = BTreeSet::new();
    let [one, two, ..] = parts(1);
    digests_in(&format!("a@{one} sha256:12 {two}sha256:{} sha256:ü", "g".repeat(64)), &mut all);
    assert_eq!(all, [one, two].into());
    let hex = "0123456789abcdef".repeat(4);
    for tag in ["release-0123456789ab", "report-0123456789ab", "newest-0123456789ab"] {
        assert!(is_own_tag(tag), "{tag}");
    }
    assert!(is_own_tag(&format!("sha256-{hex}")) && is_own_tag(&format!("build-{hex}")));
    let foreign =
        ["latest", "release-1", "release-0123456789AB", "release-0123456789abc", "v1-0123456789ab", "sha256-00"];
    for tag in foreign.map(str::to_owned).into_iter().chain([format!("sha256-{hex}.sig")]) {
        assert!(!is_own_tag(&tag), "{tag}");
    }
}

#[test]
fn what_is_said_stays_while_it_is_the_same() {
    let now = |minute| serde_json::from_value(json!(at(minute))).unwrap();
    let mut status = PipelineStatus { ledger: vec![entry(2), entry(1)], ..PipelineStatus::default() };
    let own = ["uid-1".to_owned()].into();
    assert!(mark(&mut status, &own, ImagesState::LetGo) && !mark(&mut status, &own, ImagesState::LetGo));
    assert_eq!((status.ledger[0].images_state, status.ledger[1].images_state), (None, Some(ImagesState::LetGo)));
    assert!(status.ledger[0].has_passed() && !status.ledger[1].has_passed());
    let refused = |message: &str| Outcome::Refused { reason: reasons::REGISTRY_CANNOT_DELETE, message: message.into() };
    let waits = |count: u8| Outcome::Waits((0..count).map(|number| format!("wknd-{number}")).collect());
    let mut said = |outcome: &Outcome| {
        let news = tell(&mut status, &now(1), Some(3), outcome);
        let found = conditions::get(&status.conditions, types::IMAGES_DELETED).unwrap();
        (news, found.status.clone(), found.reason.clone(), found.message.clone())
    };
    let first = said(&refused("405"));
    assert_eq!(first, (true, "False".into(), reasons::REGISTRY_CANNOT_DELETE.into(), "405".into()));
    assert_eq!(said(&refused("405 in other words")), (false, first.1.clone(), first.2.clone(), first.3.clone()));
    assert!(said(&waits(2)).0 && !said(&waits(2)).0);
    let many = said(&waits(9));
    assert!(many.0 && many.3.contains("wknd-4 and 4 more stay"), "{}", many.3);
    let done = said(&Outcome::NothingLeft);
    assert_eq!((done.0, done.1.as_str(), done.2.as_str()), (true, "True", reasons::NOTHING_LEFT));
    assert!(!said(&Outcome::NothingLeft).0);
}

proptest! {
    /// Whatever is let go of and whoever has which digest: nothing that is held is deleted, nothing is deleted twice, and
    /// when nobody holds anything any more everything is.
    #[test]
    fn nothing_that_is_held_is_deleted_and_all_else_goes_in_the_end(
        states in prop::collection::vec(prop::sample::select(vec![None, Some(ImagesState::LetGo), Some(ImagesState::Deleted)]), 1..30),
        dispatchers in prop::collection::vec(0..4_u8, 30),
        has in prop::collection::btree_set((0..4_u8, 0..30_u8), 0..12),
    ) {
        let entries: Vec<LedgerEntry> = states.iter().zip(0..).map(|(state, number)| {
            let mut entry = LedgerEntry { images_state: *state, ..entry(number) };
            entry.images.as_mut().unwrap().dispatcher = image(Part::Dispatcher, dispatchers[usize::from(number)]).parse().unwrap();
            entry
        }).collect();
        let mut world = world(&entries);
        let part = |kind| [Part::Release, Part::Aem, Part::Dispatcher, Part::Provenance][usize::from(kind)];
        world.pods = has.iter().map(|(kind, number)| digest(part(*kind), *number)).collect();
        let kept: BTreeSet<Sha256Digest> = entries.iter().filter(|entry| entry.images_state.is_none())
            .flat_map(|entry| own_digests(entry, &world.pipeline)).collect();
        let mut deleted = BTreeSet::new();
        for turn in 0..20 {
            if turn == 10 {
                world.pods.clear();
            }
            let sweep = sweep(&world, &found(&world));
            let mut done = BTreeSet::new();
            for removal in sweep.removals {
                for digest in removal.digests {
                    prop_assert!(!world.pods.contains(&digest) && !kept.contains(&digest));
                    deleted.insert(digest);
                }
                if removal.is_last {
                    done.insert(removal.uid);
                }
            }
            mark(world.pipeline.status.as_mut().unwrap(), &done, ImagesState::Deleted);
            world.pipelines = vec![world.pipeline.clone()];
        }
        prop_assert!(due(&world.pipeline).next().is_none());
        for entry in entries.iter().filter(|entry| entry.images_state == Some(ImagesState::LetGo)) {
            for digest in own_digests(entry, &world.pipeline) {
                prop_assert!(deleted.contains(&digest) || kept.contains(&digest));
            }
        }
    }
}
