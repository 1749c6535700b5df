//! What may be chosen anew: the time for production, and the metrics that are accepted.

use serde_json::{Value, json};

use super::{
    Case, Ended, EndedWaiting, New, Nulls, Overridden, PutOff, Refused, Running, Scheduled, Waits, admitted, case,
    reject,
};

const TIME: &str = "2026-11-21T22:00[Europe/Zurich]";

pub fn cases() -> Vec<Case> {
    [times(), schedules(), overrides(), changed_overrides(), metrics(), resumptions()].into_iter().flatten().collect()
}

fn at(text: &str) -> Value {
    json!({"schedule": text})
}

fn times() -> Vec<Case> {
    let good = [
        "now",
        TIME,
        "2026-11-21T22:00:30[Europe/Zurich]",
        "2026-11-21T22:00:30.5+01:00[Europe/Zurich]",
        "2026-11-21T22:00Z[UTC]",
        "2026-11-21T22:00[America/Argentina/Buenos_Aires]",
        "2026-11-21T22:00[Etc/GMT+5]",
    ];
    let bad = [
        "tomorrow",
        "now ",
        "now\n",
        "NOW",
        "2026-11-21",
        "2026-11-21T22:00",
        "2026-11-21T22:00Z",
        "2026-11-21T22:00+01:00",
        "2026-11-21 22:00[Europe/Zurich]",
        "2026-13-21T22:00[Europe/Zurich]",
        "2026-11-32T22:00[Europe/Zurich]",
        "2026-11-21T24:00[Europe/Zurich]",
        "2026-11-21T22:60[Europe/Zurich]",
        "2026-11-21T22:00[]",
        "2026-11-21T22:00[Europe/]",
        "2026-11-21T22:00[../etc/passwd]",
        "2026-11-21T22:00[Europe/Zurich][u-ca=hebrew]",
        "x2026-11-21T22:00[Europe/Zurich]",
        "2026-11-21T22:00[Europe/Zurich]x",
        "2026-11-21T22:00[Europe/Zurich_which_is_far_longer_than_any_zone_is]",
    ];
    let waits = Waits("schedule");
    let good = good.map(|text| {
        case("schedule", format!("`{text}`"), waits, "mia", at(text), admitted(&[("scheduled-by", "mia")]))
    });
    let refused = "must be now, or a date and time with its zone in at most 64 characters";
    let bad = bad.map(|text| case("schedule", format!("`{text}`"), waits, "mia", at(text), Refused(refused)));
    good.into_iter().chain(bad).collect()
}

#[rustfmt::skip]
fn schedules() -> Vec<Case> {
    let case = |name, state, who, request, expect| case("schedule", name, state, who, request, expect);
    let waits = Waits("schedule");
    let no_verb = || Refused("may not schedule for Environment 'prod'");
    let too_early = || Refused("does not wait for a schedule");
    let kept = || Refused("cannot be taken away");
    let signature_fixed = || Refused("scheduled-by changes only together with the schedule");
    let without_both = || json!({"schedule": null, "scheduled-by": null});
    let given = |case: Case| case.given("schedule", "mia", at(TIME));
    let mut cases = vec![
        case("signed", waits, "mia", json!({"schedule": "now", "scheduled-by": "mia"}), admitted(&[("schedule", "now")])),
        case("by the requester", waits, "mia", at("now"), admitted(&[("scheduled-by", "mia")])).requested_by("mia"),
        case("in another's name", waits, "mia", json!({"schedule": "now", "scheduled-by": "ann"}), Refused("must be 'mia'")),
        case("before the operator saw it", New, "mia", at("now"), too_early()),
        case("before its time", Running, "mia", at("now"), too_early()),
        case("while another step waits", Waits("managed"), "mia", at("now"), Refused("it waits for managed")),
        case("a status of nulls", Nulls, "mia", at("now"), too_early()),
        case("after the end", Ended, "mia", at("now"), Refused("it has ended")),
        case("after the end, when it waited for this", EndedWaiting("schedule"), "mia", at("now"), Refused("it has ended")),
        case("after a rejection", waits, "mia", at("now"), Refused("was rejected already")).given("schedule", "mia", reject()),
        case("the name alone", waits, "mia", json!({"scheduled-by": "mia"}), signature_fixed()),
        given(case("changed", waits, "mia", at("now"), admitted(&[("schedule", "now"), ("scheduled-by", "mia")]))),
        given(case("changed while the first time is awaited", Scheduled(TIME), "mia", at("now"), admitted(&[("schedule", "now")]))),
        given(case("changed by another, who is stamped", waits, "max", at("now"), admitted(&[("scheduled-by", "max")]))),
        given(case("changed by another, in their own name", waits, "max", json!({"schedule": "now", "scheduled-by": "max"}), admitted(&[("scheduled-by", "max")]))),
        given(case("changed by another, in a third one's name", waits, "max", json!({"schedule": "now", "scheduled-by": "ann"}), Refused("must be 'max'"))),
        given(case("changed without the verb", waits, "dave", at("now"), no_verb())),
        given(case("changed when nothing waits", Running, "mia", at("now"), too_early())),
        given(case("changed after the end", Ended, "mia", at("now"), Refused("it has ended"))),
        given(case("renamed", waits, "mia", json!({"scheduled-by": "ann"}), signature_fixed())),
        given(case("taken away before the operator recorded it", waits, "mia", without_both(), kept())),
        given(case("taken away without its signature", waits, "mia", json!({"schedule": null}), kept())),
        given(case("taken away while another time is recorded", Scheduled("now"), "dave", without_both(), kept())),
        given(case("removed after the operator recorded it, as Flux does", Scheduled(TIME), "dave", json!({"schedule": null}), admitted(&[("scheduled-by", "mia")]))),
        given(case("removed when its step is over", Running, "dave", without_both(), admitted(&[]))),
        given(case("removed after the end", Ended, "dave", without_both(), admitted(&[]))),
    ];
    cases.extend(["ann", "bob", "sam", "walt", "dave"].map(|who| case("without the verb", waits, who, at("now"), no_verb())));
    cases
}

#[rustfmt::skip]
fn resumptions() -> Vec<Case> {
    let case = |name: &str, state, who, request, expect| case("resume", name, state, who, request, expect);
    let waits = Waits("deployProduction");
    let go_on = || json!({"resume": "true"});
    let too_early = || Refused("does not wait for somebody who resumes it");
    let fixed = || Refused("cannot be changed or withdrawn");
    let given = |case: Case| case.given("deployProduction", "ann", go_on());
    let mut cases = vec![
        case("stamped", waits, "ann", go_on(), admitted(&[("resume", "true"), ("resumed-by", "ann")])),
        case("stopped", waits, "carl", json!({"resume": "false"}), admitted(&[("resumed-by", "carl")])),
        case("signed", waits, "ann", json!({"resume": "true", "resumed-by": "ann"}), admitted(&[("resumed-by", "ann")])),
        case("by the requester", waits, "ann", go_on(), admitted(&[("resumed-by", "ann")])).requested_by("ann"),
        case("in another's name", waits, "ann", json!({"resume": "true", "resumed-by": "bob"}), Refused("must be 'ann'")),
        case("before the operator saw it", New, "ann", go_on(), too_early()),
        case("before its time", Running, "ann", go_on(), too_early()),
        case("while a hold puts it off", PutOff("deployProduction"), "ann", go_on(), Refused("and it has paused")),
        case("while an approval is awaited", Waits("approvalProduction"), "ann", go_on(), Refused("it waits for approvalProduction")),
        case("a status of nulls", Nulls, "ann", go_on(), too_early()),
        case("after the end", Ended, "ann", go_on(), Refused("it has ended")),
        case("after the end, when it waited for this", EndedWaiting("deployProduction"), "ann", go_on(), Refused("it has ended")),
        case("the name alone", waits, "ann", json!({"resumed-by": "ann"}), Refused("resumed-by changes only together with")),
        case("after a rejection", waits, "ann", go_on(), Refused("was rejected already")).given("approvalProduction", "bob", reject()),
        given(case("changed", waits, "ann", json!({"resume": "false"}), fixed())),
        given(case("taken away", waits, "ann", json!({"resume": null, "resumed-by": null}), fixed())),
        given(case("removed after the end", Ended, "dave", json!({"resume": null, "resumed-by": null}), admitted(&[]))),
    ];
    cases.extend(["TRUE", "yes", "true ", "1"].map(|text| case("another word", waits, "ann", json!({"resume": text}), Refused("must be true, to let the deployment go on"))));
    cases.extend(["bob", "sam", "walt", "dave"].map(|who| case("without the verb", waits, who, go_on(), Refused("may not resume executions of Pipeline 'wknd'"))));
    cases
}

fn accept(text: &str) -> Value {
    json!({"override": text})
}

#[rustfmt::skip]
fn overrides() -> Vec<Case> {
    let case = |name: &str, state, who, request, expect| case("override", name, state, who, request, expect);
    let quality = || accept("codeQuality:coverage,security_rating");
    let waits = Waits("codeQuality");
    let no_verb = || Refused("may not override executions of Pipeline 'wknd'");
    let too_early = || Refused("does not wait for an override");
    let other_step = || Refused("must begin with the step that waits");
    let signature_fixed = || Refused("overridden-by changes only together with the override");
    let mut cases = vec![
        case("stamped", waits, "mia", quality(), admitted(&[("overridden-by", "mia")])),
        case("signed", waits, "mia", json!({"override": "codeQuality:coverage", "overridden-by": "mia"}), admitted(&[("overridden-by", "mia")])),
        case("of the security test", Waits("securityTest"), "mia", accept("securityTest:a.b-c"), admitted(&[("overridden-by", "mia")])),
        case("of the performance test", Waits("reportPerformanceTest"), "mia", accept("reportPerformanceTest:error_rate"), admitted(&[("overridden-by", "mia")])),
        case("of the product's tests", Waits("productTest"), "mia", accept("productTest:duration"), admitted(&[("overridden-by", "mia")])),
        case("of the functional tests", Waits("functionalTest"), "mia", accept("functionalTest:coverage"), admitted(&[("overridden-by", "mia")])),
        case("of the UI tests", Waits("uiTest"), "mia", accept("uiTest:layout_shift"), admitted(&[("overridden-by", "mia")])),
        case("of a test that has no gate", Waits("contentAudit"), "mia", accept("contentAudit:score"), too_early()),
        case("by the requester", waits, "mia", quality(), admitted(&[("overridden-by", "mia")])).requested_by("mia"),
        case("in another's name", waits, "mia", json!({"override": "codeQuality:coverage", "overridden-by": "ann"}), Refused("must be 'mia'")),
        case("of a step that does not wait", Waits("securityTest"), "mia", quality(), other_step()),
        case("of no step", waits, "mia", accept("coverage"), other_step()),
        case("of a step whose name only begins so", waits, "mia", accept("codeQualityX:coverage"), other_step()),
        case("before the operator saw it", New, "mia", quality(), too_early()),
        case("before its time", Running, "mia", quality(), too_early()),
        case("while an approval is awaited", Waits("approvalProduction"), "mia", accept("approvalProduction:coverage"), too_early()),
        case("a status of nulls", Nulls, "mia", quality(), too_early()),
        case("after the end", Ended, "mia", quality(), Refused("it has ended")),
        case("after the end, when it waited for this", EndedWaiting("codeQuality"), "mia", quality(), Refused("it has ended")),
        case("after a rejection", waits, "mia", quality(), Refused("was rejected already")).given("codeQuality", "mia", reject()),
        case("the name alone", waits, "mia", json!({"overridden-by": "mia"}), signature_fixed()),
    ];
    cases.extend(["ann", "bob", "sam", "walt", "dave"].map(|who| case("without the verb", waits, who, quality(), no_verb())));
    cases
}

#[rustfmt::skip]
fn changed_overrides() -> Vec<Case> {
    let case = |name: &str, state, who, request, expect| case("override", name, state, who, request, expect);
    let waits = Waits("codeQuality");
    let kept = || Refused("cannot be taken away");
    let without_both = || json!({"override": null, "overridden-by": null});
    let later = || accept("securityTest:xss");
    [
        case("completed", waits, "mia", accept("codeQuality:coverage,bugs"), admitted(&[("overridden-by", "mia")])),
        case("completed by another, who is stamped", waits, "max", accept("codeQuality:coverage,bugs"), admitted(&[("overridden-by", "max")])),
        case("changed without the verb", waits, "dave", accept("codeQuality:bugs"), Refused("may not override")),
        case("changed for a later step", Overridden("securityTest"), "max", later(), admitted(&[("override", "securityTest:xss"), ("overridden-by", "max")])),
        case("changed for the step before", Overridden("securityTest"), "mia", accept("codeQuality:bugs"), Refused("must begin with the step that waits, 'securityTest:'")),
        case("changed when nothing waits", Running, "mia", accept("codeQuality:bugs"), Refused("does not wait for an override")),
        case("renamed", waits, "mia", json!({"overridden-by": "max"}), Refused("changes only together with the override")),
        case("taken away before the operator recorded it", waits, "mia", without_both(), kept()),
        case("taken away without its signature", waits, "mia", json!({"override": null}), kept()),
        case("taken away while another step waits and nothing is recorded", Waits("securityTest"), "dave", without_both(), kept()),
        case("removed after the operator recorded it, as Flux does", Overridden("securityTest"), "dave", json!({"override": null}), admitted(&[("overridden-by", "mia")])),
        case("removed when its step is over", Running, "dave", without_both(), admitted(&[])),
        case("removed after the end", Ended, "dave", without_both(), admitted(&[])),
    ]
    .map(|case| case.given("codeQuality", "mia", accept("codeQuality:coverage")))
    .into()
}

fn metrics() -> Vec<Case> {
    let many = |count: usize| format!("codeQuality:{}", vec!["x".repeat(64); count].join(","));
    let waits = Waits("codeQuality");
    let good = [many(1), many(40)];
    let bad = [
        "codeQuality:".to_string(),
        "codeQuality:coverage,".into(),
        "codeQuality:,coverage".into(),
        "codeQuality:coverage, bugs".into(),
        "codeQuality:coverage;bugs".into(),
        "codeQuality:co\u{a0}verage".into(),
        "codeQuality:coverage\n".into(),
        "codeQuality:securityTest:xss".into(),
        format!("codeQuality:{}", "x".repeat(65)),
        many(41),
        many(3_000),
    ];
    let short = |text: &str| text.chars().take(60).collect::<String>();
    let good = good
        .iter()
        .map(|text| case("override", short(text), waits, "mia", accept(text), admitted(&[("overridden-by", "mia")])));
    let bad = bad.iter().map(|text| {
        case("override", short(text), waits, "mia", accept(text), Refused("must be STEP:METRIC,METRIC without blanks"))
    });
    good.chain(bad).collect()
}
