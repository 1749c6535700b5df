//! The drawing, compared with texts.

use super::*;

fn drawn(execution: &PipelineExecution, environments: &BTreeMap<String, Environment>, width: usize) -> String {
    draw(execution, environments, samples::NOW.parse().unwrap(), width).join("\n")
}

fn release() -> String {
    "ab".repeat(32)
}

#[test]
fn an_execution_that_waits() {
    let expected = format!(
        "\
wknd-42  Waiting  10m12s
pipeline wknd-production, asked by ann
release registry.example.com/wknd/images@sha256:{}
├─ ✓ validate                        1s
├─ ✓ build                           2s
├─ ✓ buildImage                     41s
├─ ✓ deployStage         stage    3m10s
├─ ✓ smokeTest           stage       4s  3 pages
├─ – functionalTest      stage           the pipeline names no functional test
├─ ◷ approvalProduction  prod     5m12s
└─ · deployProduction    prod

waits for  approval of the production deployment
since      2026-11-21 10:30:00 UTC (5m12s ago)
until      2026-12-05 10:30:00 UTC (in 13d23h)
who        whoever holds the verb approve on Environment prod
command    kubectl launchway approve wknd-42 -n wknd",
        release()
    );
    assert_eq!(drawn(&samples::waiting(), &BTreeMap::new(), 100), expected);
}

#[test]
fn a_rollout_shows_its_progress() {
    let environments = samples::production("u-42", "Progressing");
    let text = drawn(&samples::rolling(), &environments, 100);
    let tail: Vec<&str> = text.lines().rev().take(3).collect();
    assert_eq!(
        tail,
        [
            "      Pair 1  ███░░░░░░░ 1/3 pairs  1m12s  prod-publish-1: 2 of 5 packages are installed",
            "└─ ▶ deployProduction    prod     5m12s",
            "├─ ✓ approvalProduction  prod     1m02s  approved by bob",
        ]
    );
}

#[test]
fn the_rollout_of_another_execution_is_not_shown() {
    let environments = samples::production("u-41", "Progressing");
    assert!(!drawn(&samples::rolling(), &environments, 100).contains("Pair 1"));
}

#[test]
fn a_failure_is_told_whole_and_cannot_colour_the_screen() {
    let text = drawn(&samples::failed(), &samples::production("u-42", "Failed"), 72);
    let expected = "\
└─ ✗ deployProduction    prod     5m00s
      DeploymentFailed: publish-1 is not ready after 15m: failed
      wknd:ui.apps:1.0.0: [31mmissing [0m dependency; pair 0 goes on
      with the new release, pair 1 with the previous one
      Pair 1  ███░░░░░░░ 1/3 pairs  prod-publish-1: 2 of 5 packages are…

Failed: deployProduction: DeploymentFailed";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.starts_with("wknd-42  Failed  10m00s\n"), "{text}");
}

#[test]
fn what_a_step_says_is_not_said_again_at_the_end() {
    let mut execution = samples::failed();
    let status = execution.status.as_mut().unwrap();
    let message = status.steps[7].message.clone().unwrap();
    status.conditions[0].message = format!("deployProduction: {message}");
    let text = drawn(&execution, &BTreeMap::new(), 100);
    assert!(text.ends_with("\n\nFailed at deployProduction"), "{text}");
}

#[test]
fn no_line_but_the_release_and_the_command_is_wider_than_the_terminal() {
    for width in [40, 60, 80] {
        for line in drawn(&samples::waiting(), &BTreeMap::new(), width).lines() {
            let copied = line.starts_with("release ") || line.starts_with("command ");
            assert!(copied || line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_command_is_never_cut() {
    assert!(drawn(&samples::waiting(), &BTreeMap::new(), 20).contains("kubectl launchway approve wknd-42 -n wknd"));
}

#[test]
fn an_execution_that_nobody_takes_up_hints_at_the_operator() {
    assert!(drawn(&samples::unseen("2026-11-21T10:35:00Z"), &BTreeMap::new(), 80).ends_with("not begun yet"));
    let text = drawn(&samples::unseen("2026-11-21T10:30:00Z"), &BTreeMap::new(), 80);
    assert!(text.contains("not begun for 5m12s: is the operator running"), "{text}");
}

#[test]
fn spans_have_two_units() {
    for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m00s"), (7500, "2h05m"), (1_209_599, "13d23h")] {
        assert_eq!(span(Duration::from_secs(seconds)), text);
    }
}

#[test]
fn a_clock_that_is_ahead_gives_no_negative_times() {
    let now: Timestamp = samples::NOW.parse().unwrap();
    assert_eq!(span(between("2026-11-21T10:36:00Z".parse().unwrap(), now)), "0s");
}
