//! The table: who asks for what, when, and what the apiserver says.

use serde_json::{Value, json};

use crate::requests::{
    Case, DIGEST,
    Expect::{self, Admitted, Refused},
    State::{self, Approved, Ended, New, Nulls, Running, Waiting},
};

const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const REFERENCE: &str =
    "registry.example.com:5000/wknd/images@sha256:1111111111111111111111111111111111111111111111111111111111111111";

/// Requested by `ann`, with nothing asked before.
fn case(name: &'static str, state: State, who: &'static str, request: Value, expect: Expect) -> Case {
    Case { name, requested_by: "ann", given: Vec::new(), state, who, request, expect }
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

/// Every case.
pub fn table() -> Vec<Case> {
    [approvals(), changed_approvals(), rejections(), cancellations(), others()].into_iter().flatten().collect()
}

#[rustfmt::skip]
fn approvals() -> Vec<Case> {
    let signed = |by: &str| json!({"approve-production": DIGEST, "approved-by": by});
    let digest = |text: &str| json!({"approve-production": text});
    let another_release = Refused("must name the release that stage tested");
    let no_verb = Refused("may not approve for Environment 'prod'");
    let too_early = Refused("does not wait for an approval");
    vec![
        case("the right approval, stamped", Waiting, "bob", approve(), Admitted(&[("approve-production", DIGEST), ("approved-by", "bob")])),
        case("the right approval, signed", Waiting, "bob", signed("bob"), Admitted(&[("approved-by", "bob")])),
        case("an approver who also develops, but did not request", Waiting, "carol", approve(), Admitted(&[("approved-by", "carol")])),
        case("a wrong digest", Waiting, "bob", digest(OTHER), another_release),
        case("a digest's tail", Waiting, "bob", digest(&DIGEST[60..]), another_release),
        case("the whole reference", Waiting, "bob", digest(REFERENCE), another_release),
        case("`true`", Waiting, "bob", digest("true"), another_release),
        case("nothing", Waiting, "bob", digest(""), Refused("cannot be empty")),
        case("without the verb", Waiting, "dave", approve(), no_verb),
        case("with the verb on stage alone", Waiting, "erin", approve(), no_verb),
        case("a developer", Waiting, "carl", approve(), no_verb),
        case("a viewer cannot even patch", Waiting, "vera", approve(), Refused("cannot patch resource")),
        case("the requester, who is an approver", Waiting, "carol", approve(), Refused("ask another approver")).requested_by("carol"),
        case("in another's name", Waiting, "bob", signed("carol"), Refused("must be 'bob'")),
        case("before the operator saw it", New, "bob", approve(), too_early),
        case("before stage has tested", Running, "bob", approve(), too_early),
        case("after the end", Ended, "bob", approve(), Refused("it has ended")),
        case("a status of nulls", Nulls, "bob", approve(), too_early),
        case("approved and rejected at once", Waiting, "bob", json!({"approve-production": DIGEST, "reject": "no"}), Refused("was rejected already")),
        case("approved after a rejection", Waiting, "carol", approve(), Refused("was rejected already")).given("bob", reject()),
        case("approved-by without an approval", Waiting, "bob", json!({"approved-by": "bob"}), Refused("changes only together with the approval")),
    ]
}

#[rustfmt::skip]
fn changed_approvals() -> Vec<Case> {
    let fixed = Refused("cannot be changed or withdrawn");
    let signature_fixed = Refused("changes only together with the approval");
    let without = json!({"approve-production": null});
    let without_both = json!({"approve-production": null, "approved-by": null});
    [
        case("said again, the same", Waiting, "carol", approve(), Admitted(&[("approved-by", "bob")])),
        case("another digest after the approval", Waiting, "bob", json!({"approve-production": OTHER}), fixed),
        case("withdrawn by the approver", Waiting, "bob", without.clone(), fixed),
        case("withdrawn with its signature", Waiting, "dave", without_both.clone(), fixed),
        case("the approver renamed", Waiting, "carol", json!({"approved-by": "carol"}), signature_fixed),
        case("the signature alone removed", Waiting, "dave", json!({"approved-by": null}), signature_fixed),
        case("removed after the operator recorded it, as Flux does", Approved, "dave", without, Admitted(&[("approved-by", "bob")])),
        case("renamed after the operator recorded it", Approved, "dave", json!({"approved-by": "dave"}), signature_fixed),
        case("removed after the end", Ended, "dave", without_both, Admitted(&[])),
    ]
    .map(|case| case.given("bob", approve()))
    .into()
}

#[rustfmt::skip]
fn rejections() -> Vec<Case> {
    let fixed = Refused("cannot be changed or withdrawn");
    let without_both = || json!({"reject": null, "rejected-by": null});
    let signature_fixed = Refused("changes only together with the rejection");
    vec![
        case("a rejection", Waiting, "bob", reject(), Admitted(&[("reject", "broken"), ("rejected-by", "bob")])),
        case("the requester may reject, as an approver", Waiting, "carol", reject(), Admitted(&[("rejected-by", "carol")])).requested_by("carol"),
        case("a rejection without the verb", Waiting, "carl", reject(), Refused("may not reject for Environment 'prod'")),
        case("a rejection in another's name", Waiting, "bob", json!({"reject": "broken", "rejected-by": "carol"}), Refused("must be 'bob'")),
        case("a rejection of what nobody waits for", Running, "bob", reject(), Refused("nothing to reject")),
        case("a rejection after an approval", Waiting, "carol", reject(), Refused("was approved already")).given("bob", approve()),
        case("a rejection changed", Waiting, "bob", json!({"reject": "ugly"}), fixed).given("bob", reject()),
        case("a rejection withdrawn", Waiting, "bob", without_both(), fixed).given("bob", reject()),
        case("a rejection cleared after the end", Ended, "dave", without_both(), Admitted(&[])).given("bob", reject()),
        case("rejected-by alone", Waiting, "bob", json!({"rejected-by": "bob"}), signature_fixed),
        case("rejected-by changed", Waiting, "bob", json!({"rejected-by": "carol"}), signature_fixed).given("bob", reject()),
        case("a rejection without end", Waiting, "bob", json!({"reject": "x".repeat(513)}), Refused("at most 512 characters")),
    ]
}

#[rustfmt::skip]
fn cancellations() -> Vec<Case> {
    let fixed = Refused("cannot be changed or withdrawn");
    let without_both = || json!({"cancel": null, "cancelled-by": null});
    let signature_fixed = Refused("changes only together with the cancellation");
    vec![
        case("cancelled while it runs", Running, "carl", cancel(), Admitted(&[("cancel", "stop"), ("cancelled-by", "carl")])),
        case("cancelled before the operator saw it", New, "ann", cancel(), Admitted(&[("cancelled-by", "ann")])),
        case("cancelled after the approval", Waiting, "ann", cancel(), Admitted(&[("cancelled-by", "ann")])).given("bob", approve()),
        case("cancelled with a status of nulls", Nulls, "ann", cancel(), Admitted(&[("cancelled-by", "ann")])),
        case("cancelled without the verb", Running, "bob", cancel(), Refused("may not cancel executions of Pipeline 'wknd'")),
        case("cancelled in another's name", Running, "carl", json!({"cancel": "stop", "cancelled-by": "ann"}), Refused("must be 'carl'")),
        case("cancelled after the end", Ended, "ann", cancel(), Refused("there is nothing to cancel")),
        case("cancelled without a reason", Running, "ann", json!({"cancel": ""}), Refused("cannot be empty")),
        case("a cancellation changed", Running, "ann", json!({"cancel": "go"}), fixed).given("ann", cancel()),
        case("a cancellation withdrawn", Running, "ann", without_both(), fixed).given("ann", cancel()),
        case("a cancellation cleared after the end", Ended, "dave", without_both(), Admitted(&[])).given("ann", cancel()),
        case("cancelled-by alone", Running, "ann", json!({"cancelled-by": "ann"}), signature_fixed),
        case("cancelled-by changed", Running, "carl", json!({"cancelled-by": "carl"}), signature_fixed).given("ann", cancel()),
        case("a cancellation without end", Running, "ann", json!({"cancel": "x".repeat(513)}), Refused("at most 512 characters")),
    ]
}

#[rustfmt::skip]
fn others() -> Vec<Case> {
    let ticket = || json!({"example.com/ticket": "4711"});
    vec![
        case("an annotation of somebody else", Waiting, "dave", ticket(), Admitted(&[])),
        case("an annotation of somebody else, after the approval", Waiting, "dave", ticket(), Admitted(&[("approved-by", "bob")])).given("bob", approve()),
        case("an annotation of somebody else, after the end", Ended, "dave", ticket(), Admitted(&[])),
    ]
}
