//! The code quality step with scanners, thresholds by name, and its report.

use launchway_crds::{
    digest::Sha256Digest,
    pipeline::{Gates, MetricThreshold},
};

use super::*;

fn metric(name: &str, severity: Severity, actual: &str) -> Metric {
    let passed = actual.parse::<u32>().unwrap() >= 50;
    let (expected, comparator) = ("50".into(), Comparator::Gte);
    Metric { name: name.into(), severity, comparator, expected, actual: actual.into(), passed }
}

fn threshold(name: &str, severity: Severity, expected: &str) -> MetricThreshold {
    MetricThreshold { name: name.into(), severity, comparator: Comparator::Gte, expected: expected.into() }
}

/// An execution whose packages have this coverage, by these thresholds.
fn with(thresholds: Vec<MetricThreshold>, actual: &str) -> Play {
    let mut play = Play::new();
    play.quality = vec![metric("coverage", Severity::Important, actual)];
    play.world.pipeline.as_mut().unwrap().spec.gates = Gates { thresholds, ..Gates::default() };
    play.run();
    play
}

/// `cloud-manager.md` §2.5: the tier decides, and here the pipeline says which tier and which number.
#[test]
fn a_threshold_of_the_pipeline_takes_the_place_of_the_sources_own() {
    for (thresholds, actual, state) in [
        (vec![], "48", StepState::Waiting),
        (vec![threshold("coverage", Severity::Important, "40")], "48", StepState::Finished),
        (vec![threshold("coverage", Severity::Critical, "60")], "55", StepState::Failed),
        (vec![threshold("coverage", Severity::Informational, "60")], "48", StepState::Finished),
        (
            vec![threshold("coverage", Severity::Critical, "40"), threshold("coverage", Severity::Important, "60")],
            "48",
            StepState::Waiting,
        ),
    ] {
        let told = format!("{thresholds:?}");
        let play = with(thresholds, actual);
        assert_eq!(play.step(StepName::CodeQuality).0, state, "{told}");
    }
}

#[test]
fn a_threshold_of_something_that_nobody_measured_fails_the_step_and_names_it() {
    let play = with(vec![threshold("covrage", Severity::Informational, "1")], "90");
    assert_eq!(play.step(StepName::CodeQuality), (StepState::Failed, reasons::GATE_FAILED));
    let status = play.world.execution.status.as_ref().unwrap();
    let step = status.steps.iter().find(|step| step.name == StepName::CodeQuality).unwrap();
    assert!(step.message.as_ref().unwrap().contains("spec.gates.thresholds names covrage"), "{:?}", step.message);
}

/// What was judged once is not judged again when the pipeline changes while somebody is asked.
#[test]
fn a_step_that_has_measured_keeps_its_thresholds() {
    let mut play = with(vec![threshold("coverage", Severity::Important, "60")], "55");
    assert_eq!(play.step(StepName::CodeQuality).0, StepState::Waiting);
    play.world.pipeline.as_mut().unwrap().spec.gates.thresholds.clear();
    play.run();
    assert_eq!(play.step(StepName::CodeQuality).0, StepState::Waiting);
}

#[test]
fn the_job_gets_the_scanners_and_the_step_names_its_report() {
    let mut play = Play::new();
    let scanner = serde_json::json!({ "name": "pmd", "image": image('3') });
    play.world.pipeline.as_mut().unwrap().spec.gates.scanners = vec![serde_json::from_value(scanner).unwrap()];
    play.world.execution.status = Some(next(&play.world).status);
    for environment in [&mut play.world.stage, &mut play.world.production].into_iter().flatten() {
        let lock = Lock { execution: "wknd-1".into(), uid: "uid-1".into(), since: Time(play.world.now) };
        environment.status.get_or_insert_default().lock = Some(lock);
    }
    play.world.jobs.insert(StepName::CodeQuality, JobFacts::Absent);
    // To the step, as far as the records of the steps before have to be safe.
    let plan = loop {
        let plan = next(&play.world);
        if !plan.again {
            break plan;
        }
        play.world.execution.status = Some(plan.status);
    };
    let [Action::CreateJob { step: StepName::CodeQuality, work }] = plan.actions.as_slice() else {
        panic!("{:?}", plan.actions)
    };
    let Work::CodeQuality { scanners, .. } = work.as_ref() else { panic!("{work:?}") };
    assert_eq!(scanners[0].name, "pmd");
    let report = Sha256Digest::from_bytes([7; 32]);
    play.world.execution.status = Some(plan.status);
    let ended = JobFacts::Ended {
        name: "wknd-1-code-quality".into(),
        uid: "code-quality".into(),
        end: JobEnd::Measured { metrics: vec![], message: "checked".into(), report: Some(report) },
    };
    play.world.jobs.insert(StepName::CodeQuality, ended);
    play.world.jobs.insert(StepName::BuildImage, JobFacts::Absent);
    let status = next(&play.world).status;
    let step = status.steps.iter().find(|step| step.name == StepName::CodeQuality).unwrap();
    assert_eq!(step.report.as_ref().map(ImageRef::digest), Some(report));
}
