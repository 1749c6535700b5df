//! What names the release: approvals of stage and of production, and the managed go.

use serde_json::json;

use super::{Approved, Case, DIGEST, Ended, EndedWaiting, New, Nulls, Refused, Running, Waits, admitted, case, reject};

const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const REFERENCE: &str =
    "registry.example.com:5000/wknd/images@sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// One of the three: the same rules, other names.
struct Kind {
    key: &'static str,
    by: &'static str,
    step: &'static str,
    /// Who holds the verb, and nothing else; `carol` holds it, and runs pipelines, too.
    right: &'static str,
    /// Who holds the verb on another Environment, or other verbs.
    wrong: &'static [&'static str],
    /// What they are told.
    no_verb: &'static str,
    /// What is told to who asks at the wrong time.
    too_early: &'static str,
    alone: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind {
        key: "approve-stage",
        by: "approved-stage-by",
        step: "approvalStage",
        right: "bob",
        wrong: &["dave", "wanda", "carl", "mia", "sam"],
        no_verb: "may not approve for Environment 'stage'",
        too_early: "does not wait for an approval of stage",
        alone: "approved-stage-by changes only together with the approval",
    },
    Kind {
        key: "approve-production",
        by: "approved-by",
        step: "approvalProduction",
        right: "bob",
        wrong: &["dave", "walt", "carl", "mia", "sam"],
        no_verb: "may not approve for Environment 'prod'",
        too_early: "does not wait for an approval of production",
        alone: "approved-by changes only together with the approval",
    },
    Kind {
        key: "managed-go",
        by: "managed-go-by",
        step: "managed",
        right: "sam",
        wrong: &["dave", "walt", "carl", "mia", "bob"],
        no_verb: "may not give the managed go for Environment 'prod'",
        too_early: "does not wait for the managed go",
        alone: "managed-go-by changes only together with the managed go",
    },
];

pub fn cases() -> Vec<Case> {
    KINDS.iter().flat_map(|kind| [given(kind), changed(kind)]).flatten().collect()
}

#[rustfmt::skip]
fn given(kind: &Kind) -> Vec<Case> {
    let &Kind { key, by, step, right, .. } = kind;
    let case = |name, state, who, request, expect| case(key, name, state, who, request, expect);
    let digest = |text: &str| json!({key: text});
    let signed = |by_whom: &str| json!({key: DIGEST, by: by_whom});
    let another_release = || Refused("must name the release of this execution");
    let waits = Waits(step);
    let other_step = if step == "approvalStage" { "approvalProduction" } else { "approvalStage" };
    let mut cases = vec![
        case("stamped", waits, right, digest(DIGEST), admitted(&[(key, DIGEST), (by, right)])),
        case("signed", waits, right, signed(right), admitted(&[(by, right)])),
        case("by somebody who also develops, but did not request", waits, "carol", digest(DIGEST), admitted(&[(by, "carol")])),
        case("a wrong digest", waits, right, digest(OTHER), another_release()),
        case("a digest's tail", waits, right, digest(&DIGEST[60..]), another_release()),
        case("the whole reference", waits, right, digest(REFERENCE), another_release()),
        case("`true`", waits, right, digest("true"), another_release()),
        case("a viewer cannot even patch", waits, "vera", digest(DIGEST), Refused("cannot patch resource")),
        case("the requester, who holds the verb", waits, "carol", digest(DIGEST), Refused("ask another approver")).requested_by("carol"),
        case("in another's name", waits, right, signed("carol"), Refused("must be '")),
        case("before the operator saw it", New, right, digest(DIGEST), Refused(kind.too_early)),
        case("before its time", Running, right, digest(DIGEST), Refused(kind.too_early)),
        case("while another step waits", Waits(other_step), "carol", digest(DIGEST), Refused(kind.too_early)),
        case("after the end", Ended, right, digest(DIGEST), Refused("it has ended")),
        case("after the end, when it waited for this", EndedWaiting(step), right, digest(DIGEST), Refused("it has ended")),
        case("a status of nulls", Nulls, right, digest(DIGEST), Refused(kind.too_early)),
        case("with a rejection at once", waits, right, json!({key: DIGEST, "reject": "no"}), Refused("already: ")),
        case("after a rejection", waits, "carol", digest(DIGEST), Refused("was rejected already")).given(step, right, reject()),
        case("the name alone", waits, right, json!({by: right}), Refused(kind.alone)),
    ];
    cases.extend(kind.wrong.iter().map(|who| case("without the verb", waits, who, digest(DIGEST), Refused(kind.no_verb))));
    cases
}

#[rustfmt::skip]
fn changed(kind: &Kind) -> Vec<Case> {
    let &Kind { key, by, step, right, .. } = kind;
    let case = |name, state, who, request, expect| case(key, name, state, who, request, expect);
    let fixed = || Refused("cannot be changed or withdrawn");
    let signature_fixed = || Refused(kind.alone);
    let without = || json!({key: null});
    let without_both = || json!({key: null, by: null});
    let waits = Waits(step);
    let elsewhere = Approved(if step == "approvalStage" { "approvalProduction" } else { "approvalStage" });
    [
        case("said again, the same", waits, "carol", json!({key: DIGEST}), admitted(&[(by, right)])),
        case("another digest after it", waits, right, json!({key: OTHER}), fixed()),
        case("withdrawn by who gave it", waits, right, without(), fixed()),
        case("withdrawn with its signature", waits, "dave", without_both(), fixed()),
        case("withdrawn while only another step is approved", elsewhere, "dave", without_both(), fixed()),
        case("its giver renamed", waits, "carol", json!({by: "carol"}), signature_fixed()),
        case("the signature alone removed", waits, "dave", json!({by: null}), signature_fixed()),
        case("removed after the operator recorded it, as Flux does", Approved(step), "dave", without(), admitted(&[(by, right)])),
        case("the signature removed after the operator recorded it", Approved(step), "dave", json!({by: null}), admitted(&[(key, DIGEST)])),
        case("changed after the operator recorded it", Approved(step), right, json!({key: OTHER}), fixed()),
        case("renamed after the operator recorded it", Approved(step), "dave", json!({by: "dave"}), signature_fixed()),
        case("removed after the end", Ended, "dave", without_both(), admitted(&[])),
    ]
    .map(|case| case.given(step, right, json!({key: DIGEST})))
    .into()
}
