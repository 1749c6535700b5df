//! Pipelines of type WebTier, and what others leave to them (`cloud-manager.md` §1.2).

use launchway_crds::deploy::{CachePaths, Scope};

use super::*;

fn web_tier(place: &serde_json::Value) -> Pipeline {
    let mut spec = serde_json::json!({
        "type": "WebTier",
        "source": { "artifact": { "repository": "registry.example.com/wknd/artifacts" } },
        "images": { "repository": "registry.example.com/wknd/web" },
    });
    spec.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
    serde_json::from_value(serde_json::json!({
        "apiVersion": "launchway.dev/v1alpha1", "kind": "Pipeline",
        "metadata": { "name": "web", "namespace": "wknd" }, "spec": spec,
    }))
    .unwrap()
}

fn to_production() -> Pipeline {
    web_tier(&serde_json::json!({ "production": { "environment": "prod", "deploy": { "flushPaths": ["/logo.png"] } } }))
}

/// Production runs what a full-stack execution deployed.
fn running(play: &mut Play) {
    let deployed = serde_json::from_value(serde_json::json!({
        "execution": "full-1", "uid": "uid-full", "release": image('7'), "at": "2026-11-20T10:00:00Z",
        "images": { "aem": image('3'), "dispatcher": image('4') },
    }));
    play.status("prod").deployed = Some(deployed.unwrap());
}

fn web_play() -> Play {
    let mut play = Play::new();
    play.world.pipeline = Some(to_production());
    play.world.stage = None;
    play.world.web_tiers = Some([("prod".to_owned(), "web".to_owned())].into());
    running(&mut play);
    play
}

fn steps(play: &Play) -> Vec<&'static str> {
    play.world.execution.status.as_ref().unwrap().steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn the_dispatcher_alone_goes_to_production_after_its_approval() {
    let mut play = web_play();
    play.run();
    assert_eq!(steps(&play), ["validate", "build", "buildImage", "approvalProduction", "deployProduction"]);
    play.built();
    assert!(play.status("prod").target.is_none(), "nothing is touched before the approval");
    play.approved("bob");
    let target = play.status("prod").target.clone().unwrap();
    assert_eq!(target.scope, Scope::Dispatcher);
    let flush = CachePaths { flush_paths: vec!["/logo.png".into()], ..CachePaths::default() };
    assert_eq!(target.cache.map(|cache| (cache.uid, cache.paths)), Some(("uid-1".into(), flush)));
    play.deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
    let runs = play.status("prod").deployed.clone().unwrap();
    assert_eq!((runs.images.aem, runs.images.dispatcher), (image('3'), images().dispatcher));
    assert_eq!((runs.release, runs.web_tier.unwrap().release), (image('7'), image('e')));
}

#[test]
fn it_is_built_beside_the_aem_image_that_runs() {
    let mut play = web_play();
    play.run();
    play.world.jobs.clear();
    play.world.jobs.insert(StepName::BuildImage, JobFacts::Absent);
    let plan = next(&play.world);
    let [Action::CreateJob { work, .. }] = plan.actions.as_slice() else { panic!("{:?}", plan.actions) };
    let Work::BuildImage { aem, dispatcher, web_tier, .. } = work.as_ref() else { panic!() };
    assert_eq!((aem, dispatcher, *web_tier), (&image('3'), &image('2'), true));
}

#[test]
fn without_an_aem_image_or_beside_another_web_tier_pipeline_it_cannot_run() {
    let mut play = web_play();
    play.status("prod").deployed = None;
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::Validate).1, reasons::NO_RELEASE);

    let mut play = web_play();
    play.world.web_tiers = Some([("prod".to_owned(), "older".to_owned())].into());
    assert_eq!(play.run().result(), reasons::FAILED);
    assert_eq!(play.step(StepName::Validate).1, reasons::WEB_TIER_TAKEN);
}

#[test]
fn tests_of_a_web_tier_are_those_that_it_asks_for() {
    let mut play = Play::new();
    let tests = serde_json::json!({ "smoke": [{ "path": "/" }] });
    play.world.pipeline =
        Some(web_tier(&serde_json::json!({ "deployment": { "environment": "stage", "tests": tests } })));
    play.world.production = None;
    play.run();
    assert_eq!(steps(&play), ["validate", "build", "buildImage", "deploy", "smokeTest"]);
}

/// What runs while a web-tier pipeline has the dispatcher: full releases bring AEM alone, again and back.
#[test]
fn a_full_release_leaves_a_dispatcher_with_a_pipeline_of_its_own_alone() {
    for (owned, scope, dispatcher) in [
        (None, Scope::Release, images().dispatcher),
        // Others than production are not concerned.
        (Some("stage2"), Scope::Release, images().dispatcher),
        (Some("prod"), Scope::Aem, image('5')),
    ] {
        let mut play = Play::new();
        running(&mut play);
        let before = play.status("prod").deployed.as_mut().unwrap();
        before.images.dispatcher = image('5');
        before.web_tier = Some(Origin { execution: "web-1".into(), uid: "uid-web".into(), release: image('6') });
        play.world.web_tiers = Some(owned.map(|name| (name.to_owned(), "web".to_owned())).into_iter().collect());
        play.until_approval();
        assert_eq!(play.status("stage").deployed.as_ref().unwrap().images, images(), "stage has the release as it is");
        play.approved("bob");
        assert_eq!(play.status("prod").target.as_ref().unwrap().scope, scope);
        play.deployed("prod");
        assert_eq!(play.result(), reasons::FINISHED);
        let runs = play.status("prod").deployed.clone().unwrap();
        assert_eq!((runs.images.aem, runs.images.dispatcher), (images().aem, dispatcher));
        assert_eq!(runs.web_tier.is_some(), scope == Scope::Aem);
        let status = play.world.execution.status.as_ref().unwrap();
        let told = status.steps.last().unwrap().message.clone().unwrap();
        assert_eq!(told.contains("dispatchers stay on the release of execution web-1"), scope == Scope::Aem, "{told}");
    }
}

/// The way back of a web tier takes an older dispatcher, never the AEM image that was beside it then.
#[test]
fn a_web_tier_goes_back_without_taking_aem_back() {
    let mut first = web_play();
    first.run().built().approved("bob").deployed("prod");
    assert_eq!(first.result(), reasons::FINISHED);

    let mut play = web_play();
    play.world.pipeline = first.world.pipeline.clone();
    play.world.execution.metadata.name = Some("web-2".into());
    play.world.execution.metadata.uid = Some("uid-2".into());
    play.world.execution.spec.roll_back_to = Some("wknd-1".into());
    let runs = play.status("prod").deployed.as_mut().unwrap();
    (runs.images.aem, runs.release) = (image('8'), image('9'));
    play.world.artifact = None;
    play.run();
    assert_eq!(
        steps(&play),
        ["validate", "build", "deployProduction"],
        "what was approved then needs no second approval"
    );
    assert_eq!(play.status("prod").target.as_ref().unwrap().scope, Scope::Dispatcher);
    play.deployed("prod");
    assert_eq!(play.result(), reasons::FINISHED);
    let runs = play.status("prod").deployed.clone().unwrap();
    assert_eq!((runs.images.aem, runs.images.dispatcher), (image('8'), images().dispatcher));
    assert_eq!(runs.release, image('9'));
}
