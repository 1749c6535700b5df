//! What Jobs of tests get: the name of the site, and a user; and what is told of a Secret that is not there.

use super::*;

const MISSING: &str = "test: CreateContainerConfigError: couldn't find key password in Secret wknd/test-user";

/// A pipeline with a functional test and a user for it, at that test.
fn at_functional_test() -> Play {
    let mut play = Play::new();
    let tests = &mut play.world.pipeline.as_mut().unwrap().spec.stage.as_mut().unwrap().tests;
    tests.login_secret_ref = Some(LocalName { name: "test-user".into() });
    tests.functional = Some(serde_json::from_value(serde_json::json!({ "image": image('7') })).unwrap());
    play.until_approval();
    assert_eq!(play.step(StepName::FunctionalTest).0, StepState::Running);
    play
}

impl Play {
    /// What the Job of the step that runs does: it is made anew.
    fn job_of(&self, step: StepName) -> Work {
        let mut seen = self.seen();
        seen.jobs.insert(step, JobFacts::Absent);
        let actions = next(&seen).actions;
        let [Action::CreateJob { work, .. }] = actions.as_slice() else { panic!("{actions:?}") };
        Work::clone(work)
    }

    /// The Job of the functional test works, and its pod does this.
    fn tests_with(&mut self, pod: JobPod) -> &mut Self {
        let (name, uid) = ("wknd-1-functional-test".into(), "functional-test".into());
        self.world.jobs.insert(StepName::FunctionalTest, JobFacts::Active { name, uid, pod });
        self.run()
    }

    fn said(&self) -> String {
        let steps = &self.world.execution.status.as_ref().unwrap().steps;
        steps.iter().find(|step| step.name == StepName::FunctionalTest).unwrap().message.clone().unwrap()
    }

    fn out_of_time(&mut self) -> &mut Self {
        let message = "Job wknd-1-functional-test did not end in its time".into();
        self.job_ends(JobEnd::Failed { reason: reasons::TIMED_OUT.into(), message, report: None }).run()
    }
}

#[test]
fn the_job_of_a_test_gets_the_pipelines_user() {
    let work = at_functional_test().job_of(StepName::FunctionalTest);
    assert_eq!(work.login().map(|secret| secret.name.as_str()), Some("test-user"));
}

/// Stage is asked for by the name that visitors use: which virtual host answers depends on it.
#[test]
fn built_in_tests_get_the_first_name_of_the_route_that_is_one() {
    for (hosts, expected) in [
        (vec!["www.example.com", "example.com"], Some("www.example.com")),
        (vec!["*.example.com", "www.example.com"], Some("www.example.com")),
        (vec!["*.example.com"], None),
        (vec![], None),
    ] {
        let mut play = Play::new();
        if !hosts.is_empty() {
            let route = serde_json::json!({ "hosts": hosts });
            play.world.stage.as_mut().unwrap().spec.route = serde_json::from_value(route).unwrap();
        }
        play.run().built().deployed("stage");
        let Work::SmokeTest { site, .. } = play.job_of(StepName::SmokeTest) else { panic!() };
        assert_eq!((site.url.as_str(), site.host.as_deref()), ("http://stage-dispatcher", expected), "{hosts:?}");
    }
}

#[test]
fn a_login_that_is_not_there_is_told_with_its_remedy() {
    let mut play = at_functional_test();
    play.tests_with(JobPod::Waits { problem: MISSING.into() });
    let told = play.said();
    for part in [MISSING, "create Secret test-user with the keys username and password", "correct loginSecretRef"] {
        assert!(told.contains(part), "{told}");
    }
    let writes = play.writes;
    play.run();
    assert_eq!(play.writes, writes, "waiting costs nothing");

    // The pod is ended, and gone, and with it what it said.
    play.tests_with(JobPod::Stops { since: play.world.now });
    assert_eq!(play.writes, writes, "it says what it said");
    play.out_of_time();
    assert_eq!(play.step(StepName::FunctionalTest), (StepState::Failed, reasons::TIMED_OUT));
    let told = play.said();
    for part in ["did not end in its time", MISSING, "create Secret test-user"] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(play.result(), reasons::FAILED);
    assert!(play.status("stage").lock.is_none(), "its Environments are free");
}

#[test]
fn a_pod_that_never_ends_holds_nothing_up_for_long() {
    let mut play = at_functional_test();
    let since = play.world.now;
    play.tests_with(JobPod::Stops { since });
    assert_eq!(play.step(StepName::FunctionalTest).0, StepState::Running);
    assert_eq!(next(&play.world).wake, since.checked_add(SignedDuration::from_secs(300)).ok());
    play.world.now = since.checked_add(SignedDuration::from_secs(301)).unwrap();
    play.run();
    assert_eq!(play.step(StepName::FunctionalTest), (StepState::Failed, reasons::TIMED_OUT));
    assert!(play.said().contains("its node may be gone"), "{}", play.said());
    assert!(play.status("stage").lock.is_none(), "its Environments are free");
}

#[test]
fn another_trouble_is_told_without_a_remedy_for_logins_and_what_is_over_is_not_told_again() {
    let mut play = at_functional_test();
    play.tests_with(JobPod::Waits { problem: "test: ImagePullBackOff: no such image".into() });
    assert!(!play.said().contains("Secret"), "{}", play.said());
    play.tests_with(JobPod::Waits { problem: "test: CreateContainerConfigError: image will run as root".into() });
    assert!(!play.said().contains("create Secret"), "{}", play.said());
    play.tests_with(JobPod::Works).out_of_time();
    assert_eq!(play.said(), "Job wknd-1-functional-test did not end in its time");
}
