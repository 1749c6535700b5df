//! What a row says of one behaviour.

/// Where a behaviour is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Document {
    /// "Deploy your Code", Cloud Manager for Managed Services, of 2022.
    Earlier,
    /// "Code Deployment", Cloud Manager for Managed Services, today.
    Managed,
    /// "Deploy your Code", Cloud Manager for AEM as a Cloud Service.
    Cloud,
    /// A consultant's page on what immutable images mean for stage and production.
    Blog,
    /// "Stage-Only and Production-Only Pipelines".
    Split,
    /// The acceptance matrix that was gathered from all public documents of Cloud Manager.
    Matrix,
}

impl Document {
    /// Every document, in the order in which they are listed.
    pub const ALL: [Self; 6] = [Self::Earlier, Self::Managed, Self::Cloud, Self::Blog, Self::Split, Self::Matrix];

    /// The letter that stands for it in the table.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Earlier => "A",
            Self::Managed => "B",
            Self::Cloud => "C",
            Self::Blog => "D",
            Self::Split => "S",
            Self::Matrix => "M",
        }
    }

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Earlier => "Deploy your Code (Cloud Manager for Managed Services, 2022)",
            Self::Managed => "Code Deployment (Cloud Manager for Managed Services)",
            Self::Cloud => "Deploy your Code (Cloud Manager for AEM as a Cloud Service)",
            Self::Blog => "a consultant's page on deployments to AEM as a Cloud Service",
            Self::Split => "Stage-Only and Production-Only Pipelines (AEM as a Cloud Service)",
            Self::Matrix => "what all public documents of Cloud Manager say together, by feature",
        }
    }
}

/// A test: its file, from the root of the repository, and its name.
pub type Proof = (&'static str, &'static str);

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Letter of the section and number; for the matrix its own.
    pub id: &'static str,
    /// Every document that says it.
    pub documents: &'static [Document],
    /// What is said, in our words, as short as it can be.
    pub says: &'static str,
    /// What Launchway does.
    pub stance: Stance,
}

/// A row of the acceptance matrix.
pub const fn of_matrix(id: &'static str, says: &'static str, stance: Stance) -> Row {
    Row { id, documents: &[Document::Matrix], says, stance }
}

/// What Launchway does about a behaviour.
#[derive(Clone, Copy, Debug)]
pub enum Stance {
    /// The same.
    Same(&'static str, &'static [Proof]),
    /// Another thing for the same end, and why.
    Otherwise(&'static str, &'static [Proof]),
    /// Nothing, and why.
    Out(&'static str),
}

impl Stance {
    /// The word in the table.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Same(..) => "same",
            Self::Otherwise(..) => "otherwise",
            Self::Out(_) => "left out",
        }
    }

    /// What is done or why not.
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Same(text, _) | Self::Otherwise(text, _) | Self::Out(text) => text,
        }
    }

    /// The tests that show it.
    pub const fn proof(&self) -> &'static [Proof] {
        match self {
            Self::Same(_, proof) | Self::Otherwise(_, proof) => proof,
            Self::Out(_) => &[],
        }
    }
}

/// Files of tests, by what they are about.
pub mod files {
    pub const HERE: &str = "operator/tests/conformance/planner.rs";
    pub const EXECUTION: &str = "operator/src/plan/execution/tests.rs";
    pub const CHANGES: &str = "operator/src/plan/pipeline/tests.rs";
    pub const WEB_TIER: &str = "operator/src/plan/execution/tests/web_tier.rs";
    pub const SUPPLY: &str = "operator/tests/supply.rs";
    pub const KINDS: &str = "operator/src/plan/execution/tests/kinds.rs";
    pub const EMERGENCIES: &str = "operator/src/plan/execution/tests/emergencies.rs";
    pub const EDITS: &str = "operator/src/plan/execution/tests/edits.rs";
    pub const SOURCES: &str = "operator/src/plan/execution/tests/git.rs";
    pub const POM: &str = "operator/src/worker/checkout/version/tests.rs";
    pub const VERSION: &str = "crds/src/version.rs";
    pub const FLUX: &str = "operator/src/plan/execution/tests/flux.rs";
    pub const PACK: &str = "operator/src/worker/pack/tests.rs";
    pub const GIT: &str = "operator/tests/git/main.rs";
    pub const GIT_SCENARIO: &str = "e2e/tests/git/main.rs";
    pub const CONFIGURATION: &str = "operator/src/plan/environment/tests/configuration.rs";
    pub const SCANS: &str = "operator/src/plan/execution/tests/scans.rs";
    pub const SCANNERS: &str = "operator/tests/scanners.rs";
    pub const NEWS: &str = "operator/src/plan/execution/tests/news.rs";
    pub const EVENT: &str = "operator/src/notify/event.rs";
    pub const QUEUE: &str = "operator/src/notify/queue.rs";
    pub const SINKS: &str = "operator/tests/hostile_sinks.rs";
    pub const REFUSED: &str = "operator/src/plan/execution/tests/refused.rs";
    pub const PAUSES: &str = "operator/src/plan/execution/tests/pauses.rs";
    pub const GUARD: &str = "operator/src/plan/environment/tests/guard.rs";
    pub const OBJECTS: &str = "operator/src/plan/environment/tests/objects.rs";
    pub const TURNS: &str = "operator/src/plan/execution/tests/turns.rs";
    pub const APPROVALS: &str = "operator/src/plan/execution/tests/approvals.rs";
    pub const SCHEDULE: &str = "operator/src/plan/execution/schedule.rs";
    pub const RIVALS: &str = "operator/src/plan/pipeline/rivals.rs";
    pub const ROLLOUT: &str = "operator/src/plan/environment/tests.rs";
    pub const HISTORIES: &str = "operator/tests/model/random.rs";
    pub const DECISION: &str = "operator/src/gate/decision.rs";
    pub const METRIC: &str = "operator/src/gate/metric.rs";
    pub const KIND: &str = "operator/src/gate/kind.rs";
    pub const COLLECT: &str = "operator/src/worker/collect/tests.rs";
    pub const TEST_END: &str = "operator/src/observe/test_end.rs";
    pub const JOB_END: &str = "operator/src/observe/job.rs";
    pub const PODS: &str = "operator/src/observe/pods.rs";
    pub const SECURITY: &str = "operator/src/worker/security/tests.rs";
    pub const PERFORMANCE: &str = "operator/src/worker/performance/tests.rs";
    pub const MIX: &str = "operator/src/worker/performance/mix.rs";
    pub const CHECKS: &str = "operator/src/image/checks/tests.rs";
    pub const TOGETHER: &str = "operator/src/image/checks/together.rs";
    pub const CHECK_METRICS: &str = "operator/src/image/checks/metrics.rs";
    pub const ORDER: &str = "operator/src/image/order.rs";
    pub const ORACLE: &str = "operator/tests/order_oracle.rs";
    pub const IMAGE: &str = "operator/src/image/plan/tests.rs";
    pub const CLASSIFY: &str = "operator/src/image/classify.rs";
    pub const DISPATCHER: &str = "operator/src/image/dispatcher/tests.rs";
    pub const REGISTRY: &str = "operator/tests/registry.rs";
    pub const DETERMINISM: &str = "operator/tests/determinism.rs";
    pub const RENDER: &str = "operator/src/render/tests.rs";
    pub const TEST_JOB: &str = "operator/src/render/test_job.rs";
    pub const TEST_JOBS: &str = "operator/src/render/tests/test_jobs.rs";
    pub const TEST_STEPS: &str = "operator/src/plan/execution/tests/test_jobs.rs";
    pub const TREE: &str = "operator/src/cli/tree_tests.rs";
    pub const LOGS: &str = "operator/src/cli/logs.rs";
    pub const RELEASES: &str = "operator/src/cli/releases_tests.rs";
    pub const RUN: &str = "operator/src/cli/run.rs";
    pub const APPROVAL: &str = "operator/src/cli/approval.rs";
    pub const LEDGER: &str = "operator/src/plan/execution/ledger/tests.rs";
    pub const CLI_SCHEDULE: &str = "operator/src/cli/schedule.rs";
    pub const OVERRIDE: &str = "operator/src/cli/override_metrics.rs";
    pub const ROLL_BACK: &str = "operator/src/cli/roll_back.rs";
    pub const EVENTS: &str = "operator/src/effects/events.rs";
    pub const MAIN_JOB: &str = "e2e/tests/main_job.rs";
    pub const CANCEL: &str = "e2e/tests/cancel.rs";
    pub const DELETION: &str = "e2e/tests/deletion.rs";
    pub const EMERGENCY: &str = "e2e/tests/emergency.rs";
    pub const EXCLUSION: &str = "e2e/tests/exclusion.rs";
    pub const RE_EXECUTE: &str = "e2e/tests/re_execute.rs";
    pub const TIMES: &str = "e2e/tests/times.rs";
    pub const KILLS: &str = "e2e/tests/kills.rs";
    pub const RETENTION: &str = "e2e/tests/retention.rs";
    pub const SPLIT: &str = "e2e/tests/split.rs";
    pub const RESTARTS: &str = "e2e/tests/restarts.rs";
    pub const WAITING: &str = "e2e/tests/waiting_costs_nothing.rs";
    pub const BAD_INPUT: &str = "e2e/tests/bad_input.rs";
    pub const ROLLING: &str = "e2e/tests/rolling.rs";
    pub const METRIC_GUARD: &str = "e2e/tests/metric_guard.rs";
    pub const POLICY: &str = "e2e/tests/policy/requests.rs";
    pub const CRDS: &str = "crds/tests/generated.rs";
    pub const SCHEMA: &str = "e2e/tests/policy/schema.rs";
    pub const RIGHTS: &str = "e2e/tests/policy/rights.rs";
}
