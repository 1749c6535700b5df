//! What an emergency left out, followed to wherever its release goes.

use launchway_crds::{environment::EmergencyMode, execution::Mode, pipeline::PipelineStatus};

use super::{
    kinds::{later, production_only, stage_only},
    *,
};

/// The security test is left out.
fn emergency(mut play: Play) -> Play {
    let tests = &mut play.world.pipeline.as_mut().unwrap().spec.stage.as_mut().unwrap().tests;
    tests.security = Some(serde_json::from_value(serde_json::json!({})).unwrap());
    for place in [&mut play.world.stage, &mut play.world.production] {
        place.as_mut().unwrap().spec.emergency_mode = EmergencyMode::Enabled;
    }
    play.world.execution.spec.mode = Mode::Emergency;
    play.world.execution.spec.reason = Some("the shop is down".into());
    play
}

fn named(mut play: Play, name: &str) -> Play {
    play.world.execution.metadata.name = Some(name.into());
    play.world.execution.metadata.uid = Some(format!("uid of {name}"));
    play
}

/// Another execution of the same pipeline, after this one.
fn next_of(play: &Play, name: &str) -> Play {
    let mut next = named(Play::new(), name);
    next.world.pipeline = play.world.pipeline.clone();
    next
}

impl Play {
    fn remembers(&self) -> &PipelineStatus {
        self.world.pipeline.as_ref().unwrap().status.as_ref().unwrap()
    }

    fn owes(&self) -> Vec<(StepName, &str)> {
        self.remembers().debt.iter().map(|debt| (debt.step, debt.execution.as_str())).collect()
    }
}

const OWED: [(StepName, &str); 1] = [(StepName::SecurityTest, "wknd-1")];

#[test]
fn an_emergency_that_failed_on_production_is_owed_there_and_done_again_still() {
    let mut first = emergency(Play::new());
    first.until_approval().approved("bob").fails_on_production();
    assert_eq!(first.result(), reasons::FAILED);
    assert_eq!(first.owes(), OWED, "a pair runs what was not tested");

    let mut again = next_of(&first, "wknd-2");
    again.world.execution.spec.re_execute = Some("wknd-1".into());
    assert_eq!(again.run().deployed("prod").result(), reasons::FINISHED);
    assert_eq!(again.owes(), OWED, "now every pair does");
}

#[test]
fn an_emergency_that_did_not_come_to_production_is_owed_nowhere() {
    let mut first = emergency(Play::new());
    first.until_approval();
    assert_eq!(first.annotate(requests::REJECT, "no").run().result(), reasons::CANCELLED);
    assert_eq!(first.owes(), []);
}

#[test]
fn the_way_back_to_an_emergency_owes_again_what_a_later_release_has_paid() {
    let mut first = emergency(Play::new());
    first.until_approval().approved("bob").deployed("prod");
    let mut usual = next_of(&first, "wknd-2");
    usual.run().built().deployed("stage").job_ends(JobEnd::Passed { message: String::new() }).run();
    usual.job_ends(JobEnd::Measured { metrics: vec![], message: "all refused".into(), report: None }).run();
    assert_eq!(usual.approved("bob").deployed("prod").result(), reasons::FINISHED);
    assert_eq!(usual.owes(), []);

    let mut back = next_of(&usual, "wknd-3");
    back.world.execution.spec.roll_back_to = Some("wknd-1".into());
    assert_eq!(back.run().deployed("prod").result(), reasons::FINISHED);
    assert_eq!(back.owes(), OWED);
    assert_eq!(
        back.remembers().ledger[0].skipped,
        [StepName::SecurityTest],
        "as it is of whoever goes back to this one"
    );
}

/// An emergency is allowed where the release goes in the end, on whichever pipeline it goes there.
#[test]
fn what_an_emergency_left_out_on_stage_comes_to_production_only_where_emergencies_are_allowed() {
    let mut stage = Play::new();
    stage.world.pipeline = Some(stage_only());
    let mut stage = emergency(stage);
    assert_eq!(stage.run().built().deployed("stage").result(), reasons::FINISHED);
    let missed = [StepName::SecurityTest];
    assert_eq!(stage.remembers().ledger[0].skipped, missed);
    assert_eq!(stage.step(StepName::FunctionalTest).1, reasons::NO_TEST, "what is not there is not owed");
    let promotes = |mode: EmergencyMode| {
        let mut play = later();
        play.world.pipeline = Some(production_only());
        play.world.source_pipeline = stage.world.pipeline.clone();
        play.world.artifact = None;
        play.world.production.as_mut().unwrap().spec.emergency_mode = mode;
        play.run();
        play
    };

    let mut refused = promotes(EmergencyMode::Disabled);
    assert_eq!(refused.result(), reasons::FAILED);
    assert_eq!(refused.step(StepName::Validate).1, reasons::EMERGENCY_NOT_ENABLED);
    assert!(refused.status("prod").lock.is_none());
    let message = refused.world.execution.status.as_ref().unwrap().steps[0].message.clone().unwrap();
    assert!(message.contains("wknd-1 of pipeline other left out securityTest in an emergency"), "{message}");

    let mut allowed = promotes(EmergencyMode::Enabled);
    let source = allowed.world.execution.status.as_ref().unwrap().source.clone().unwrap();
    assert_eq!(source.skipped, missed, "who approves is told");
    assert_eq!(allowed.approved("bob").deployed("prod").result(), reasons::FINISHED);
    assert_eq!(allowed.remembers().ledger[0].skipped, missed);
    assert_eq!(allowed.owes(), [], "this pipeline has no tests to pay with: the one that left them out owes them");
    assert_eq!(stage.owes(), OWED);
}
