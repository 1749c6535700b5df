//! What is counted. Labels have few values: never the name of an object.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, PoisonError},
};

use launchway_crds::step::StepName;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
        info::Info,
    },
    registry::Registry,
};

/// From a look at a cache to a call that met its time-out.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 5.0, 10.0, 30.0];
/// States that get a label of their own; whatever comes after is `Other`.
const STATES_MAX: usize = 32;
const OTHER: &str = "Other";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReconcileLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EffectLabels {
    action: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ActionLabels {
    action: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    step: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PollLabels {
    source: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DriftLabels {
    reason: &'static str,
}

/// Makes the histograms of a family.
#[derive(Clone, Copy)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(SECONDS)
    }
}

/// Every metric of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Family<ControllerLabels, Histogram, Buckets>,
    effects: Family<EffectLabels, Counter>,
    effect_seconds: Family<ActionLabels, Histogram, Buckets>,
    executions: Family<StateLabels, Gauge>,
    states: Mutex<BTreeSet<String>>,
    waiting: Family<StepLabels, Gauge>,
    emergencies: Gauge,
    debt: Gauge,
    polls: Family<PollLabels, Counter>,
    webhooks: Family<ResultLabels, Counter>,
    drift: Family<DriftLabels, Counter>,
    drifted: Gauge,
    notifications: Family<ResultLabels, Counter>,
    leader: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("launchway");
        let reconciles = Family::default();
        registry.register("reconciles", "Rounds of a controller over one object, by result", reconciles.clone());
        let reconcile_seconds = Family::new_with_constructor(Buckets);
        registry.register("reconcile_seconds", "Time of one round over one object", reconcile_seconds.clone());
        let effects = Family::default();
        registry.register("effects", "Writes to the cluster and reads of registries, by result", effects.clone());
        let effect_seconds = Family::new_with_constructor(Buckets);
        registry.register("effect_seconds", "Time of one effect, time-outs included", effect_seconds.clone());
        let executions = Family::default();
        registry.register("executions", "PipelineExecutions that exist, by state", executions.clone());
        let waiting = Family::default();
        registry.register(
            "waiting_executions",
            "PipelineExecutions that wait, by the step that waits",
            waiting.clone(),
        );
        let emergencies = Gauge::default();
        registry.register(
            "emergency_executions",
            "PipelineExecutions that have not ended and leave out tests in an emergency",
            emergencies.clone(),
        );
        let debt = Gauge::default();
        registry.register("debt_steps", "Tests that emergencies left out and that are still owed", debt.clone());
        let polls = Family::default();
        registry.register("polls", "Questions to sources of pipelines that start on changes, by result", polls.clone());
        let webhooks = Family::default();
        registry.register("webhooks", "Requests to the webhook receiver, by result", webhooks.clone());
        let drift = Family::default();
        registry.register("drift", "Times that an Environment was found changed by hand", drift.clone());
        let drifted = Gauge::default();
        registry.register("drifted_environments", "Environments that are changed by hand now", drifted.clone());
        let notifications = Family::default();
        registry.register("notifications", "Tries to tell a sink of an execution, by result", notifications.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 on the replica that holds the Lease", leader.clone());
        registry.register("build", "Version of the operator", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            reconciles,
            reconcile_seconds,
            effects,
            effect_seconds,
            executions,
            states: Mutex::default(),
            waiting,
            emergencies,
            debt,
            polls,
            webhooks,
            drift,
            drifted,
            notifications,
            leader,
        }
    }

    /// A controller looked at an object.
    pub fn reconcile(&self, controller: &'static str, result: &'static str, seconds: f64) {
        self.reconciles.get_or_create(&ReconcileLabels { controller, result }).inc();
        self.reconcile_seconds.get_or_create(&ControllerLabels { controller }).observe(seconds);
    }

    /// The operator changed something, or tried to.
    pub fn effect(&self, action: &'static str, result: &'static str, seconds: f64) {
        self.effects.get_or_create(&EffectLabels { action, result }).inc();
        self.effect_seconds.get_or_create(&ActionLabels { action }).observe(seconds);
    }

    /// How many executions there are in each state; a state that is not named has none.
    pub fn executions<'a>(&self, states: impl IntoIterator<Item = &'a str>) {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let mut known = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        for state in states {
            let room = known.contains(state) || known.len() < STATES_MAX;
            let state = if room { state } else { OTHER };
            known.insert(state.to_string());
            *counts.entry(state.to_string()).or_default() += 1;
        }
        for state in known.iter() {
            let labels = StateLabels { state: state.clone() };
            self.executions.get_or_create(&labels).set(counts.get(state).copied().unwrap_or_default());
        }
    }

    /// The step of every execution that waits.
    pub fn waiting(&self, steps: impl IntoIterator<Item = StepName>) {
        let mut counts: BTreeMap<StepName, i64> = BTreeMap::new();
        for step in steps {
            *counts.entry(step).or_default() += 1;
        }
        for step in StepName::ALL {
            let labels = StepLabels { step: step.as_str() };
            self.waiting.get_or_create(&labels).set(counts.get(&step).copied().unwrap_or_default());
        }
    }

    /// How many executions that have not ended leave out tests in an emergency, and how many tests pipelines owe.
    pub fn emergencies(&self, executions: usize, debt: usize) {
        self.emergencies.set(i64::try_from(executions).unwrap_or(i64::MAX));
        self.debt.set(i64::try_from(debt).unwrap_or(i64::MAX));
    }

    /// The source of a pipeline was asked for its revision.
    pub fn poll(&self, source: &'static str, result: &'static str) {
        self.polls.get_or_create(&PollLabels { source, result }).inc();
    }

    /// The webhook receiver answered a request.
    pub fn webhook(&self, result: &'static str) {
        self.webhooks.get_or_create(&ResultLabels { result }).inc();
    }

    /// An Environment was found changed by hand, for this reason of its condition.
    pub fn drift(&self, reason: &'static str) {
        self.drift.get_or_create(&DriftLabels { reason }).inc();
    }

    /// How many Environments are changed by hand now.
    pub fn drifted(&self, count: usize) {
        self.drifted.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// It was tried to tell a sink of something.
    pub fn notification(&self, result: &'static str) {
        self.notifications.get_or_create(&ResultLabels { result }).inc();
    }

    /// Whether this replica holds the Lease.
    pub fn leader(&self, holds: bool) {
        self.leader.set(i64::from(holds));
    }

    /// Everything in OpenMetrics text.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(metrics: &Metrics, line: &str) {
        let text = metrics.text().unwrap();
        assert!(text.lines().any(|have| have == line), "no line `{line}` in\n{text}");
    }

    #[test]
    fn the_text_has_every_metric() {
        let metrics = Metrics::new();
        metrics.reconcile("execution", "ok", 0.02);
        metrics.reconcile("execution", "error", 20.0);
        metrics.effect("createJob", "conflict", 0.2);
        metrics.leader(true);
        metrics.poll("artifact", "unchanged");
        metrics.webhook("forged");
        metrics.notification("delivered");
        metrics.waiting([StepName::ApprovalProduction, StepName::ApprovalProduction]);
        has(&metrics, r#"launchway_reconciles_total{controller="execution",result="ok"} 1"#);
        has(&metrics, r#"launchway_reconcile_seconds_bucket{le="0.025",controller="execution"} 1"#);
        has(&metrics, r#"launchway_reconcile_seconds_count{controller="execution"} 2"#);
        has(&metrics, r#"launchway_effects_total{action="createJob",result="conflict"} 1"#);
        has(&metrics, r#"launchway_waiting_executions{step="approvalProduction"} 2"#);
        has(&metrics, r#"launchway_waiting_executions{step="build"} 0"#);
        has(&metrics, r#"launchway_webhooks_total{result="forged"} 1"#);
        has(&metrics, r#"launchway_polls_total{source="artifact",result="unchanged"} 1"#);
        metrics.emergencies(1, 3);
        has(&metrics, "launchway_emergency_executions 1");
        has(&metrics, "launchway_debt_steps 3");
        metrics.drift("Edited");
        metrics.drifted(3);
        has(&metrics, r#"launchway_drift_total{reason="Edited"} 1"#);
        has(&metrics, "launchway_drifted_environments 3");
        has(&metrics, r#"launchway_notifications_total{result="delivered"} 1"#);
        has(&metrics, "launchway_leader 1");
        has(&metrics, "# EOF");
    }

    #[test]
    fn a_state_that_nobody_is_in_any_more_goes_to_zero() {
        let metrics = Metrics::new();
        metrics.executions(["Running", "Running", "Waiting"]);
        metrics.executions(["Finished"]);
        has(&metrics, r#"launchway_executions{state="Running"} 0"#);
        has(&metrics, r#"launchway_executions{state="Finished"} 1"#);
    }

    #[test]
    fn states_from_outside_cannot_grow_without_end() {
        let metrics = Metrics::new();
        let states: Vec<String> = (0..1000).map(|number| format!("s{number}")).collect();
        metrics.executions(states.iter().map(String::as_str));
        let text = metrics.text().unwrap();
        let lines = text.lines().filter(|line| line.starts_with("launchway_executions{")).count();
        assert_eq!(lines, STATES_MAX + 1);
        has(&metrics, r#"launchway_executions{state="Other"} 968"#);
    }
}
