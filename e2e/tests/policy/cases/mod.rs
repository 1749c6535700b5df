//! The table: who asks for what, when, and what the apiserver says.

mod choices;
mod release;

use serde_json::{Value, json};

use crate::requests::{
    Case, Creation, DIGEST,
    Expect::{self, Admitted, Refused},
    State::{self, Approved, Ended, EndedWaiting, New, Nulls, Overridden, PutOff, Running, Scheduled, Waits},
};

/// Requested by `ann`, with nothing asked before.
fn case(
    policy: &'static str,
    name: impl Into<String>,
    state: State,
    who: &'static str,
    request: Value,
    expect: Expect,
) -> Case {
    let name = format!("{policy}: {}", name.into());
    Case { name, policy, requested_by: "ann", given: Vec::new(), state, who, request, expect }
}

fn admitted(annotations: &[(&'static str, &'static str)]) -> Expect {
    Admitted(annotations.to_vec())
}

fn approve() -> Value {
    json!({"approve-production": DIGEST})
}

fn reject() -> Value {
    json!({"reject": "broken"})
}

fn cancel() -> Value {
    json!({"cancel": "stop"})
}

/// Every request by annotation.
pub fn table() -> Vec<Case> {
    [release::cases(), choices::cases(), rejections(), answers(), cancellations(), others()]
        .into_iter()
        .flatten()
        .collect()
}

const PRODUCTION: &str = "approvalProduction";

/// Every annotation of a request, each with the one that says whose it is.
#[rustfmt::skip]
const KEYS: [&str; 16] = [
    "approve-stage", "approved-stage-by", "approve-production", "approved-by", "managed-go", "managed-go-by",
    "schedule", "scheduled-by", "override", "overridden-by", "reject", "rejected-by", "resume", "resumed-by",
    "cancel", "cancelled-by",
];

#[rustfmt::skip]
fn rejections() -> Vec<Case> {
    let case = |name, state, who, request, expect| case("reject", name, state, who, request, expect);
    let fixed = || Refused("cannot be changed or withdrawn");
    let without_both = || json!({"reject": null, "rejected-by": null});
    let signature_fixed = || Refused("changes only together with the rejection");
    let waits = Waits(PRODUCTION);
    vec![
        case("stamped", waits, "bob", reject(), admitted(&[("reject", "broken"), ("rejected-by", "bob")])),
        case("signed", waits, "bob", json!({"reject": "broken", "rejected-by": "bob"}), admitted(&[("rejected-by", "bob")])),
        case("by the requester, who is an approver", waits, "carol", reject(), admitted(&[("rejected-by", "carol")])).requested_by("carol"),
        case("in another's name", waits, "bob", json!({"reject": "broken", "rejected-by": "carol"}), Refused("must be 'bob'")),
        case("of what nobody waits for", Running, "bob", reject(), Refused("nothing to reject")),
        case("before the operator saw it", New, "bob", reject(), Refused("nothing to reject")),
        case("with a status of nulls", Nulls, "bob", reject(), Refused("nothing to reject")),
        case("of a wait that no person ends", Waits("validate"), "carol", reject(), Refused("nothing to reject")),
        case("after the end", Ended, "bob", reject(), Refused("it has ended")),
        case("after the end, of what waited then", EndedWaiting(PRODUCTION), "bob", reject(), Refused("it has ended")),
        case("after an approval", waits, "carol", reject(), Refused("was approved already")).given(PRODUCTION, "bob", approve()),
        case("changed", waits, "bob", json!({"reject": "ugly"}), fixed()).given(PRODUCTION, "bob", reject()),
        case("withdrawn", waits, "bob", without_both(), fixed()).given(PRODUCTION, "bob", reject()),
        case("cleared after the end", Ended, "dave", without_both(), admitted(&[])).given(PRODUCTION, "bob", reject()),
        case("changed after the end", Ended, "bob", json!({"reject": "ugly"}), Refused("cannot be changed")).given(PRODUCTION, "bob", reject()),
        case("rejected-by alone", waits, "bob", json!({"rejected-by": "bob"}), signature_fixed()),
        case("rejected-by changed", waits, "bob", json!({"rejected-by": "carol"}), signature_fixed()).given(PRODUCTION, "bob", reject()),
        case("without end", waits, "bob", json!({"reject": "x".repeat(513)}), Refused("at most 512 characters")),
    ]
}

/// A rejection answers whatever waits: from who may answer it, and from nobody else.
#[rustfmt::skip]
fn answers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (step, right, wrong, refused) in [
        ("codeQuality", "mia", &["ann", "bob", "sam", "walt", "dave"][..], "verb override on pipelines.launchway.dev; ask for the ClusterRole launchway-deployment-manager"),
        ("securityTest", "mia", &["ann", "bob", "sam", "walt"], "may not reject executions of Pipeline 'wknd'"),
        ("reportPerformanceTest", "mia", &["ann", "bob", "sam", "walt"], "may not reject executions of Pipeline 'wknd'"),
        ("productTest", "mia", &["ann", "bob", "sam", "walt"], "may not reject executions of Pipeline 'wknd'"),
        ("functionalTest", "mia", &["ann", "bob", "sam", "walt"], "may not reject executions of Pipeline 'wknd'"),
        ("uiTest", "mia", &["ann", "bob", "sam", "walt"], "may not reject executions of Pipeline 'wknd'"),
        ("approvalStage", "bob", &["ann", "mia", "sam", "wanda"], "may not reject for Environment 'stage'"),
        (PRODUCTION, "bob", &["ann", "mia", "sam", "walt"], "may not reject for Environment 'prod'"),
        ("schedule", "mia", &["ann", "bob", "sam", "walt"], "verb schedule on environments.launchway.dev; ask for the ClusterRole launchway-deployment-manager"),
        ("managed", "sam", &["ann", "bob", "mia", "walt"], "verb manage on environments.launchway.dev; ask for the ClusterRole launchway-support"),
    ] {
        cases.push(case("reject", format!("of {step}"), Waits(step), right, reject(), Admitted(vec![("rejected-by", right)])));
        for who in wrong {
            cases.push(case("reject", format!("of {step}, without its verb"), Waits(step), who, reject(), Refused(refused)));
        }
    }
    let time = json!({"schedule": "2026-11-21T22:00[Europe/Zurich]"});
    cases.extend([
        case("reject", "of stage, approved", Waits("approvalStage"), "bob", reject(), Refused("was approved already")).given("approvalStage", "bob", json!({"approve-stage": DIGEST})),
        case("reject", "of the managed go, given", Waits("managed"), "sam", reject(), Refused("was approved already")).given("managed", "sam", json!({"managed-go": DIGEST})),
        case("reject", "of production, with stage approved before", Waits(PRODUCTION), "bob", reject(), admitted(&[("rejected-by", "bob")])).given("approvalStage", "bob", json!({"approve-stage": DIGEST})),
        case("reject", "of a time that has not come", Waits("schedule"), "mia", reject(), admitted(&[("rejected-by", "mia")])).given("schedule", "mia", time),
    ]);
    cases
}

#[rustfmt::skip]
fn cancellations() -> Vec<Case> {
    let case = |name, state, who, request, expect| case("cancel", name, state, who, request, expect);
    let fixed = || Refused("cannot be changed or withdrawn");
    let without_both = || json!({"cancel": null, "cancelled-by": null});
    let signature_fixed = || Refused("changes only together with the cancellation");
    let no_verb = || Refused("may not cancel executions of Pipeline 'wknd'");
    let given = |case: Case| case.given("validate", "ann", cancel());
    vec![
        case("while it runs", Running, "carl", cancel(), admitted(&[("cancel", "stop"), ("cancelled-by", "carl")])),
        case("before the operator saw it", New, "ann", cancel(), admitted(&[("cancelled-by", "ann")])),
        case("by a deployment manager", Running, "mia", cancel(), admitted(&[("cancelled-by", "mia")])),
        case("after the approval", Waits(PRODUCTION), "ann", cancel(), admitted(&[("cancelled-by", "ann")])).given(PRODUCTION, "bob", approve()),
        case("with a status of nulls", Nulls, "ann", cancel(), admitted(&[("cancelled-by", "ann")])),
        case("without the verb", Running, "bob", cancel(), no_verb()),
        case("with the verb on another pipeline", Running, "walt", cancel(), no_verb()),
        case("in another's name", Running, "carl", json!({"cancel": "stop", "cancelled-by": "ann"}), Refused("must be 'carl'")),
        case("after the end", Ended, "ann", cancel(), Refused("there is nothing to cancel")),
        given(case("changed", Running, "ann", json!({"cancel": "go"}), fixed())),
        given(case("withdrawn", Running, "ann", without_both(), fixed())),
        given(case("cleared after the end", Ended, "dave", without_both(), admitted(&[]))),
        case("cancelled-by alone", Running, "ann", json!({"cancelled-by": "ann"}), signature_fixed()),
        given(case("cancelled-by changed", Running, "carl", json!({"cancelled-by": "carl"}), signature_fixed())),
        case("without end", Running, "ann", json!({"cancel": "x".repeat(513)}), Refused("at most 512 characters")),
    ]
}

#[rustfmt::skip]
fn others() -> Vec<Case> {
    let case = |name: &str, state, who, request, expect| case("", name, state, who, request, expect);
    let ticket = || json!({"example.com/ticket": "4711"});
    let empty = || Refused("cannot be empty");
    let mut cases = vec![
        case("an annotation of somebody else", Waits(PRODUCTION), "dave", ticket(), admitted(&[])),
        case("an annotation of somebody else, after the approval", Waits(PRODUCTION), "dave", ticket(), admitted(&[("approved-by", "bob")])).given(PRODUCTION, "bob", approve()),
        case("an annotation of somebody else, after the end", Ended, "dave", ticket(), admitted(&[])),
    ];
    for key in KEYS {
        cases.push(case(&format!("an empty {key}"), Waits(PRODUCTION), "carol", json!({key: ""}), empty()));
    }
    cases
}

/// Every creation.
#[rustfmt::skip]
pub fn creations() -> Vec<Creation> {
    let annotated = |key: &str, value: &str| json!({"metadata": {"annotations": {format!("launchway.dev/{key}"): value}}});
    let by = |name: &str| json!({"spec": {"requestedBy": name}});
    let emergency = json!({"spec": {"mode": "Emergency", "reason": "the site is down"}});
    let change = json!({"spec": {"change": "sha256:abc"}});
    let create = |name: &str, who, change, expect| Creation { name: name.into(), who, change, expect };
    let created_already = "cannot be created approved";
    let mut cases = vec![
        create("stamped", "ann", json!({}), admitted(&[])),
        create("by a deployment manager", "mia", json!({}), admitted(&[])),
        create("signed", "ann", by("ann"), admitted(&[])),
        create("an explicit null is stamped too", "ann", json!({"spec": {"requestedBy": null}}), admitted(&[])),
        create("in another's name", "ann", by("bob"), Refused("spec.requestedBy is 'bob', but the request comes from 'ann'")),
        create("without the verb", "dave", json!({}), Refused("needs the verb run on pipelines.launchway.dev")),
        create("with the verb on another pipeline", "walt", json!({}), Refused("may not run Pipeline 'wknd'")),
        create("in an emergency", "emma", emergency.clone(), admitted(&[])),
        create("in an emergency, without the verb", "ann", emergency.clone(), Refused("needs the verb emergency on pipelines.launchway.dev, too")),
        create("in an emergency, with the verb on another pipeline", "edda", emergency, Refused("with spec.mode Emergency")),
        create("for a change of the source, by who has the verb", "otto", change.clone(), admitted(&[])),
        create("for a change of the source, by a person", "ann", change.clone(), Refused("leave out spec.change")),
        create("for a change of the source, with the verb on another pipeline", "walt", change, Refused("may not run Pipeline 'wknd'")),
        create("in Mode Normal", "ann", json!({"spec": {"mode": "Normal"}}), admitted(&[])),
        create("with an annotation of somebody else", "ann", json!({"metadata": {"annotations": {"example.com/ticket": "4711"}}}), admitted(&[])),
        create("with a status of its own", "ann", json!({"status": {"waitingFor": {"step": "approvalProduction", "why": "x", "since": "2026-11-21T10:00:00Z"}}}), admitted(&[])),
    ];
    for key in KEYS {
        for value in ["x", ""] {
            cases.push(create(&format!("with {key} `{value}`"), "ann", annotated(key, value), Refused(created_already)));
        }
    }
    cases
}
