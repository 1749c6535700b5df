//! The drawing, compared with texts.

use super::*;
use crate::cli::samples;

fn drawn(execution: &PipelineExecution, around: &Around, width: usize) -> String {
    draw(execution, around, samples::NOW.parse().unwrap(), Room::Whole(width)).join("\n")
}

fn on_screen(execution: &PipelineExecution, rows: usize) -> String {
    let room = Room::Screen(Size { columns: 100, rows });
    draw(execution, &samples::around(), samples::NOW.parse().unwrap(), room).join("\n")
}

fn release() -> String {
    "ab".repeat(32)
}

#[test]
fn an_execution_that_waits() {
    let expected = format!(
        "\
wknd-42  Waiting  10m12s
pipeline   wknd-production, asked by ann
release    registry.example.com/wknd/images@sha256:{}
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
    assert_eq!(drawn(&samples::waiting(), &Around::default(), 100), expected);
}

#[test]
fn a_generated_version_stands_above_the_steps() {
    let mut execution = samples::waiting();
    let digest = format!("sha256:{}", "1".repeat(64));
    let build = serde_json::json!({
        "builder": format!("registry.example.com/builder@{digest}"), "key": digest,
        "artifactsVersion": "2026.1121.102500.0000020490",
    });
    execution.status.as_mut().unwrap().build = serde_json::from_value(build).unwrap();
    let text = drawn(&execution, &Around::default(), 100);
    assert!(text.lines().any(|line| line == "version    2026.1121.102500.0000020490"), "{text}");
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
    let text = drawn(&execution, &Around::default(), 100);
    assert!(text.ends_with("\n\nFailed at deployProduction"), "{text}");
}

#[test]
fn no_line_but_the_release_and_the_command_is_wider_than_the_terminal() {
    for width in [40, 60, 80] {
        for execution in [samples::waiting(), samples::gate(), samples::emergency(), samples::promoted()] {
            for line in drawn(&execution, &samples::around(), width).lines() {
                let copied = line.starts_with("release ") || line.starts_with("command ");
                assert!(copied || line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn a_command_is_never_cut() {
    assert!(drawn(&samples::waiting(), &Around::default(), 20).contains("kubectl launchway approve wknd-42 -n wknd"));
}

#[test]
fn an_execution_that_nobody_takes_up_hints_at_the_operator() {
    assert!(drawn(&samples::unseen("2026-11-21T10:35:00Z"), &Around::default(), 80).ends_with("not begun yet"));
    let text = drawn(&samples::unseen("2026-11-21T10:30:00Z"), &Around::default(), 80);
    assert!(text.contains("not begun for 5m12s: is the operator running"), "{text}");
}

#[test]
fn a_gate_shows_its_metrics_and_marks_those_that_fail() {
    let text = drawn(&samples::gate(), &Around::default(), 80);
    let expected = "\
├─ ✓ validate          1s
├─ ✓ build             2s
├─ ◷ codeQuality   10m09s  coverage is 42.1 and must be at least 50
│     ✓ security_rating           A     ≥ B   critical
│     ✗ coverage                  42.1  ≥ 50  important
│     ✗ skipped_tests             3     < 1   important
│     ✗ duplicated_lines_density  4     < 1   informational
└─ · buildImage

waits for  coverage is 42.1 and must be at least 50
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn every_step_of_an_emergency_is_shown_with_what_it_owes() {
    let text = drawn(&samples::emergency(), &samples::around(), 100);
    let expected = format!(
        "\
wknd-42  Waiting  10m12s  EMERGENCY
pipeline   wknd-production, asked by ann
because    checkout is down
debt       securityTest since wknd-40 (3d0h ago), loadTest since wknd-41 (1h00m ago)
release    registry.example.com/wknd/images@sha256:{}
├─ ✓ validate                          40s
├─ ✓ build                             40s
├─ ✓ codeQuality                       40s  coverage is 42.1; accepted by dana
│     ✓ security_rating           A     ≥ B   critical
│     ✗ coverage                  42.1  ≥ 50  important, accepted by dana
│     ✗ skipped_tests             3     < 1   important, accepted by dana
│     ✗ duplicated_lines_density  4     < 1   informational
├─ ✓ buildImage                        40s
├─ ✓ deployStage            stage      40s
├─ ✓ approvalStage          stage      40s
├─ ✓ smokeTest              stage      40s
├─ – securityTest           stage      40s  skipped in an emergency
├─ – loadTest               stage      40s  skipped in an emergency
├─ – reportPerformanceTest  stage      40s  skipped in an emergency
├─ ✓ productTest            stage      40s
├─ ✓ functionalTest         stage      40s
├─ ✓ uiTest                 stage      40s
├─ – contentAudit           stage      40s  skipped in an emergency
├─ ◷ approvalProduction     prod    10m12s
├─ · schedule               prod
├─ · managed                prod
└─ · deployProduction       prod

",
        release()
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn a_terminal_shows_failing_metrics_alone() {
    let text = on_screen(&samples::emergency(), 60);
    assert!(text.contains("✗ coverage") && !text.contains("security_rating"), "{text}");
}

#[test]
fn steps_that_passed_share_a_row_where_the_terminal_is_low() {
    let text = on_screen(&samples::emergency(), 24);
    let expected = "
├─ ✓ 14 steps                        9m20s  validate … contentAudit
├─ ◷ approvalProduction     prod    10m12s
├─ · schedule               prod
├─ · managed                prod
└─ · deployProduction       prod
";
    assert!(text.contains(expected), "{text}");
    assert!(text.starts_with("wknd-42  Waiting") && text.lines().count() < 24, "{text}");
}

#[test]
fn steps_to_come_share_a_row_where_the_terminal_is_lower_still() {
    let text = on_screen(&samples::emergency(), 16);
    let expected = "
├─ ✓ 14 steps                        9m20s  validate … contentAudit
├─ ◷ approvalProduction     prod    10m12s
└─ · 3 steps                                schedule … deployProduction
";
    assert!(text.contains(expected) && text.lines().count() < 16, "{text}");
}

#[test]
fn digests_in_what_steps_say_are_short() {
    let mut execution = samples::waiting();
    let status = execution.status.as_mut().unwrap();
    status.steps[2].message = Some(format!("made release sha256:{}", release()));
    status.waiting_for.as_mut().unwrap().why = format!("approval of sha256:{} for prod", release());
    let text = drawn(&execution, &Around::default(), 80);
    assert!(text.contains("made release sha256:abababababab\n"), "{text}");
    assert!(text.contains("waits for  approval of sha256:abababababab for prod\n"), "{text}");
}

#[test]
fn a_narrow_terminal_keeps_times_and_leaves_environments_out() {
    let text = drawn(&samples::emergency(), &Around::default(), 40);
    assert!(text.contains("├─ ✓ deployStage                40s\n"), "{text}");
}

#[test]
fn a_promotion_names_its_source_and_its_time() {
    let text = drawn(&samples::promoted(), &Around::default(), 100);
    let expected = "\
pipeline   wknd-production, asked by ann
promotes   wknd-stage-7 of pipeline wknd-stage
time       Sat 2026-11-21 22:00 Europe/Zurich (UTC+01:00), in 10h24m, chosen by cem
release    ";
    assert!(text.contains(expected), "{text}");
}
