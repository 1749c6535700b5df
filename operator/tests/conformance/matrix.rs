//! The acceptance matrix of all public documents: the rows that are about pipelines and executions.

use super::row::{
    Row,
    Stance::{Otherwise, Out, Same},
    files::*,
    of_matrix as row,
};

pub const ROWS: &[Row] = &[
    row(
        "P1",
        "A production pipeline needs stage and production, and there is one of it",
        Otherwise(
            "what it refers to may come later; until then it is not Ready, and executions wait a minute and fail. A second one \
             for the same production is told (PipelineExists)",
            &[
                (RIVALS, "of_two_of_one_type_for_one_environment_the_younger_is_told"),
                (EXECUTION, "missing_objects_are_waited_for_a_minute"),
                (RIGHTS, "built_in_roles_carry_running_but_never_approving"),
            ],
        ),
    ),
    row(
        "P2",
        "A non-production deployment goes to one environment that has no other full-stack pipeline",
        Same(
            "type Deployment; production is refused, a second one for the same Environment is told",
            &[
                (KINDS, "a_deployment_pipeline_has_one_environment_and_a_code_quality_pipeline_none"),
                (RIVALS, "of_two_of_one_type_for_one_environment_the_younger_is_told"),
                (EXECUTION, "environments_of_the_wrong_type_or_with_other_bases_are_refused"),
            ],
        ),
    ),
    row(
        "P3",
        "A code quality pipeline has no deployment; an important failure cannot be overridden; metrics are kept",
        Same(
            "type CodeQuality: it locks nothing and ends as Failed at an important failure",
            &[
                (KINDS, "a_code_quality_pipeline_is_not_overridden"),
                (KINDS, "a_deployment_pipeline_has_one_environment_and_a_code_quality_pipeline_none"),
            ],
        ),
    ),
    row(
        "P4",
        "Stage-only: refused while the coupled pipeline runs, and the other way round",
        Otherwise(
            "it waits its turn instead, and says for whom; `concurrency: Refuse` is for those of one pipeline",
            &[
                (HERE, "coupled_and_split_pipelines_exclude_each_other"),
                (EXECUTION, "a_taken_environment_is_waited_for"),
            ],
        ),
    ),
    row(
        "P5",
        "Production-only names its source; no stage-only yet, a newer coupled deployment, artifacts that are gone",
        Same(
            "each has its reason: SourceRefused, OlderRelease, and a record that is gone is no proof",
            &[
                (KINDS, "a_production_only_pipeline_takes_the_tested_release"),
                (KINDS, "a_release_older_than_the_one_that_production_runs_is_refused"),
                (KINDS, "a_release_whose_record_is_gone_does_not_reach_production"),
            ],
        ),
    ),
    row(
        "P6",
        "Promote Build: only the latest successful stage-only run; not when production runs something newer",
        Same(
            "`promote` refuses each of these with its reason",
            &[
                (RELEASES, "the_latest_success_is_promoted_however_it_is_named"),
                (RELEASES, "what_cannot_be_promoted_says_why_and_what_to_do"),
                (KINDS, "a_newer_tested_release_takes_nothing_away_from_the_one_that_was_taken"),
            ],
        ),
    ),
    row(
        "P7",
        "Web tier: the dispatcher alone; the full stack leaves it alone meanwhile; flexible mode only",
        Otherwise(
            "type WebTier; both layouts of dispatcher configurations are taken, not flexible mode alone. Who has the \
             dispatcher is decided when a deployment begins; the lock of the Environment keeps the two apart",
            &[
                (WEB_TIER, "the_dispatcher_alone_goes_to_production_after_its_approval"),
                (WEB_TIER, "a_full_release_leaves_a_dispatcher_with_a_pipeline_of_its_own_alone"),
                (WEB_TIER, "without_an_aem_image_or_beside_another_web_tier_pipeline_it_cannot_run"),
                (WEB_TIER, "a_web_tier_goes_back_without_taking_aem_back"),
                (SUPPLY, "a_release_of_the_dispatcher_alone_names_the_aem_image_that_runs_and_can_be_verified"),
            ],
        ),
    ),
    row(
        "P8",
        "Config pipeline: YAML for CDN, log forwarding and maintenance",
        Out("what it configures belongs to Adobe's platform; on a cluster of one's own GitOps tools apply YAML"),
    ),
    row(
        "P11",
        "On Git changes: no user; a push while busy; two pipelines on one branch",
        Same(
            "`spec.trigger: OnChange`: requested by the operator, with the revision in `spec.change`; a push while busy runs once \
             afterwards, for the newest change; stage-only wins",
            &[
                (CHANGES, "five_pushes_during_a_run_start_one_more_run_for_the_last"),
                (CHANGES, "a_crash_at_any_write_starts_exactly_one_execution"),
                (CHANGES, "of_two_pipelines_on_one_source_only_the_stage_only_one_starts"),
            ],
        ),
    ),
    row(
        "P12",
        "Manual start: busy, unknown pipeline, bad source; two starts in the same second never both run",
        Same(
            "busy waits, fails or replaces by `spec.concurrency`; the rest fails with a reason; order by time and name, locks by \
             compare-and-set",
            &[
                (KINDS, "others_of_the_pipeline_are_waited_for_refused_or_replaced"),
                (TURNS, "who_waits_for_its_turn_waits_for_an_event"),
                (EXECUTION, "missing_objects_are_waited_for_a_minute"),
                (HISTORIES, "no_history_breaks_a_promise_and_every_history_can_end"),
                (EXCLUSION, "executions_that_meet_never_share_an_environment"),
            ],
        ),
    ),
    row(
        "P13",
        "Important metrics: ask, fail, or continue; who accepted what can be seen later",
        Same(
            "`spec.gates.importantFailures`; `status.overrides` has who, when and which. So at every step that measures: code \
             quality, security, performance, and the tests of product, project and pages",
            &[
                (DECISION, "tiers_decide_as_documented"),
                (HERE, "every_gate_takes_an_override"),
                (HERE, "the_policies_admit_an_answer_to_every_wait"),
                (KINDS, "an_important_failure_is_asked_about_and_overridden_by_name"),
            ],
        ),
    ),
    row(
        "P14",
        "Edit and delete: branch, repository, environment; not while it runs",
        Otherwise(
            "every field can be edited, for a Pipeline is a file. An execution goes on with the version that it began with, and \
             says so (PipelineChanged); one whose Pipeline was deleted ends as PipelineDeleted",
            &[
                (EDITS, "an_execution_runs_the_pipeline_as_it_was_when_it_began"),
                (EDITS, "a_pipeline_that_is_gone_ends_the_execution_and_one_that_is_the_same_again_does_not"),
                (EXECUTION, "a_record_without_approval_never_deploys_to_production"),
                (DELETION, "what_is_deleted_by_a_slip_waits_and_what_is_worth_keeping_stays"),
                (SCHEMA, "schemas_refuse_what_cannot_work_and_say_why"),
            ],
        ),
    ),
    row(
        "P18",
        "Who may start, advance, approve, cancel",
        Otherwise(
            "verbs of RBAC on Pipelines and Environments: run, override, schedule, approve, manage, cancel, emergency. Whoever \
             asked for an execution does not approve it",
            &[
                (POLICY, "requests_are_admitted_from_the_right_person_at_the_right_time_only"),
                (POLICY, "executions_are_created_by_those_who_may_run_the_pipeline_in_their_own_name"),
                (RIGHTS, "built_in_roles_carry_running_but_never_approving"),
            ],
        ),
    ),
    row(
        "E1",
        "All steps are visible from the start",
        Same(
            "every step that this run has is in the first status, as NotStarted",
            &[(HERE, "every_kind_of_pipeline_has_its_steps_from_the_first_status")],
        ),
    ),
    row(
        "E2",
        "Validation names the branch or environment that is missing; one that was deleted and made again is not the same",
        Same(
            "the message names kind, name and namespace; an Environment that is made anew has no lock of this execution, which \
             then ends as EnvironmentLocked",
            &[
                (EXECUTION, "missing_objects_are_waited_for_a_minute"),
                (HERE, "an_environment_that_was_made_again_is_not_deployed_to"),
            ],
        ),
    ),
    row(
        "E3",
        "Build: three Maven commands; no pom.xml; no zip produced",
        Otherwise(
            "the commands are the pipeline's, `mvn --batch-mode clean package` unless it says otherwise; a missing pom.xml is \
             NoPom, no zip NoArtifacts, failing unit tests UnitTestsFailed",
            &[
                (PACK, "each_bad_end_has_its_own_reason"),
                (PACK, "every_zip_of_every_target_is_a_package"),
                (PACK, "failing_tests_fail_a_build_that_ignores_them"),
            ],
        ),
    ),
    row(
        "E5",
        "Version rewriting: tag and version; non-production untouched; a snapshot; a child with a version of its own; the order at \
         midnight",
        Otherwise(
            "as an option of full-stack and stage-only pipelines (`builder.projectVersion: Generate`): Cloud Manager's versions and \
             merging; a module with another version than the project is ProjectVersionInvalid; no tag is written into the \
             repository, which the operator only reads: status and the artifact have the version",
            &[
                (VERSION, "a_version_is_made_and_merged_as_cloud_manager_does"),
                (VERSION, "a_later_version_is_greater"),
                (SOURCES, "a_version_is_generated_once_and_is_that_of_the_packages"),
                (POM, "every_version_of_the_project_is_replaced_and_nothing_else"),
                (POM, "a_module_that_does_not_follow_the_project_is_named_and_nothing_is_written"),
                (SCHEMA, "schemas_refuse_what_cannot_work_and_say_why"),
            ],
        ),
    ),
    row(
        "E6",
        "The gate of code quality: actual and expected, a critical one, the same name twice, letters",
        Same(
            "metrics with three severities, letters by grade, thresholds by name",
            &[
                (METRIC, "grades_compare_by_grade"),
                (SCANS, "a_threshold_of_the_pipeline_takes_the_place_of_the_sources_own"),
                (DECISION, "one_name_of_two_severities_fails_by_each"),
                (DECISION, "tiers_decide_as_documented"),
                (TREE, "a_gate_shows_its_metrics_and_marks_those_that_fail"),
            ],
        ),
    ),
    row(
        "E7",
        "Override: all important failures in the body; one that is missing is refused; informational ones are accepted",
        Otherwise(
            "all failing important metrics by name, and nothing else: a list that names what did not fail was made for another \
             result",
            &[
                (DECISION, "an_override_lists_every_failing_important_metric"),
                (DECISION, "no_override_helps_against_a_critical_failure"),
                (OVERRIDE, "every_failing_important_metric_is_named_and_no_other"),
            ],
        ),
    ),
    row(
        "E8",
        "Reject: the execution is cancelled",
        Same(
            "at every wait for a person; the step and the execution end as Cancelled",
            &[
                (HERE, "a_rejection_ends_every_wait_for_a_person"),
                (EXECUTION, "nobody_answers_somebody_rejects_somebody_cancels"),
            ],
        ),
    ),
    row(
        "E9",
        "Build Images: errors in the log: one configuration twice, a mixed package, httpd syntax",
        Same(
            "package checks find these before the image is made; the syntax is tested in the very image",
            &[
                (TOGETHER, "configurations_clash_only_in_the_same_run_modes"),
                (CHECKS, "each_entry_is_found_with_its_place"),
                (IMAGE, "refusals"),
                (PODS, "a_configuration_that_is_refused_twice_is_hopeless"),
            ],
        ),
    ),
    row(
        "E10",
        "Stage deployment: addresses; a start that takes too long",
        Same(
            "`status.urls` of the Environment; a rollout that takes longer than `readyTimeout` fails and says which pod",
            &[
                (OBJECTS, "further_objects_are_there_before_pods_and_follow_the_spec"),
                (ROLLOUT, "a_broken_release_stops_before_a_serving_pair_is_touched"),
                (ROLLOUT, "a_package_that_failed_ends_the_wait_at_once"),
            ],
        ),
    ),
    row(
        "E11",
        "Product tests: a fault of the platform is Error, a failing test Failed",
        Same(
            "the same for every Job",
            &[
                (JOB_END, "what_a_worker_says_decides_whose_fault_it_is"),
                (TEST_END, "a_lost_result_is_an_error_and_no_pass"),
                (REFUSED, "a_job_that_nobody_makes_room_for_ends_its_step_as_an_error"),
            ],
        ),
    ),
    row(
        "E12",
        "Functional tests: a report; none is INCOMPLETE and goes on; a time-out",
        Same(
            "JUnit XML counts beside the exit code; without an image Incomplete; `timeout` ends it as TimedOut",
            &[
                (HERE, "a_step_without_a_test_is_incomplete_and_the_next_begins"),
                (COLLECT, "functional_tests_need_no_report_but_a_failing_case_counts"),
            ],
        ),
    ),
    row(
        "E13",
        "UI tests: no JUnit file is a failure; green XML passes whatever the exit code",
        Same(
            "JUnit XML alone decides; without one the step ends as Error",
            &[
                (KIND, "xml_decides_ui_tests_and_the_exit_code_does_not"),
                (COLLECT, "a_missing_or_torn_report_of_ui_tests_is_an_error"),
            ],
        ),
    ),
    row(
        "E14",
        "Audit: scores; it never blocks",
        Same(
            "its metrics are informational, and an audit that breaks is Incomplete",
            &[(KIND, "an_audit_never_blocks"), (HERE, "an_audit_that_breaks_stops_nothing")],
        ),
    ),
    row(
        "E12a",
        "Functional tests: a JAR of the build, found by its manifest; which of two runs is undefined; classes not named `…IT` do \
         not run",
        Out(
            "a test is an image that the Pipeline names by digest: there is one or none, and what it runs is its own. No JAR is \
             taken out of a build; `docs/tests.md` says how an image starts one",
        ),
    ),
    row(
        "E13a",
        "UI tests: an archive of the build that is made into an image, if it has `testing.properties`",
        Out(
            "no image is built from an archive inside of the cluster; a Pipeline that names no image for UI tests has none, and \
             the step is Incomplete",
        ),
    ),
    row(
        "E14a",
        "Audit: at most 25 paths; a site behind an allow list",
        Out(
            "which pages are rated, and how many, is the audit image's own; it asks stage inside of the cluster, where no allow \
             list stands in its way",
        ),
    ),
    row(
        "T1",
        "Programs of AEM Assets: `assetsTest` uploads images and PDFs by weight, and is judged with the load test",
        Out(
            "what an upload takes depends on the product's processing of assets, which no open runtime has. A test image can \
             upload, with the user of `tests.loginSecretRef`, and leave metrics of its own",
        ),
    ),
    row(
        "T2",
        "Tests have a user: functional and UI tests for author and publish, the performance test for pages that ask for one",
        Same(
            "`tests.loginSecretRef` and `tests.performance.loginSecretRef`: a Secret instead of secret variables of the pipeline",
            &[
                (TEST_JOBS, "a_login_is_named_in_the_job_and_only_where_the_pipeline_has_one"),
                (TEST_STEPS, "a_login_that_is_not_there_is_told_with_its_remedy"),
                (PERFORMANCE, "a_login_and_a_host_are_sent"),
                (BAD_INPUT, "bad_input_ends_with_its_reason_and_the_next_release_works"),
            ],
        ),
    ),
    row(
        "E15",
        "Approval: approve or reject; 14 days; the same user may",
        Otherwise(
            "as there, but for the last: nobody approves what they asked for, and an approval names the digest",
            &[
                (APPROVALS, "an_approval_counts_only_with_the_right_digest_the_right_person_and_the_guard"),
                (HERE, "every_wait_ends_in_the_documents_time"),
                (WAITING, "two_minutes_of_waiting_cost_no_write"),
            ],
        ),
    ),
    row(
        "E16",
        "Schedule: a date or now; a date in the past; daylight saving; cancel while waiting",
        Same(
            "the past means at once; clocks that change have one answer; cancelled like any wait",
            &[
                (SCHEDULE, "clocks_that_change_have_one_answer"),
                (SCHEDULE, "what_is_no_moment_is_refused"),
                (HERE, "a_cancellation_ends_every_step_but_a_deployment_that_began"),
                (TIMES, "times_windows_and_a_no_end_waits_as_they_say"),
            ],
        ),
    ),
    row(
        "E17",
        "CSE: a button that customers do not have",
        Same(
            "verb `manage`, in a role that joins no other",
            &[
                (POLICY, "requests_are_admitted_from_the_right_person_at_the_right_time_only"),
                (KINDS, "every_wait_of_a_pipeline_comes_in_its_order"),
            ],
        ),
    ),
    row(
        "E18",
        "Production deployment: rolling; when it fails on the way, old nodes stay",
        Same(
            "what was not reached goes on with the release before, also after a restart",
            &[
                (ROLLOUT, "a_broken_release_stops_before_a_serving_pair_is_touched"),
                (ROLLOUT, "rolling_goes_author_surge_pair_by_pair_and_never_serves_with_fewer_pairs"),
            ],
        ),
    ),
    row(
        "E19",
        "Cancel: safe until images are built; refused in a deployment",
        Otherwise(
            "every step can be cancelled, tests and waits included; a deployment that began is not cut: on stage the execution \
             ends before the next step, on production it comes too late and says so",
            &[
                (HERE, "a_cancellation_ends_every_step_but_a_deployment_that_began"),
                (EXECUTION, "a_deployment_that_began_is_not_cut_by_a_cancellation"),
                (CANCEL, "an_execution_can_be_cancelled_in_every_step"),
            ],
        ),
    ),
    row(
        "E20",
        "Re-execute: only the last execution's production deployment; not after a rollback, nor after an earlier failure",
        Same(
            "each refusal has its reason",
            &[
                (HERE, "each_refusal_of_a_re_execution_has_its_reason"),
                (RELEASES, "each_reason_against_executing_again_is_told"),
                (RE_EXECUTE, "the_last_deployment_to_production_is_done_again_and_no_other"),
            ],
        ),
    ),
    row(
        "E21",
        "Emergency: shown; tests left out; what happens where it is not enabled is unknown",
        Same(
            "where it is not enabled the execution fails with EmergencyNotEnabled; approvals stay",
            &[
                (KINDS, "an_emergency_skips_tests_keeps_approvals_and_leaves_a_debt"),
                (HERE, "an_emergency_leaves_out_these_steps_and_no_others"),
                (EMERGENCY, "an_emergency_skips_tests_keeps_the_approval_and_leaves_a_debt"),
            ],
        ),
    ),
    row(
        "E22",
        "Restore previous code: only a recent one, only on development, not while a pipeline runs",
        Otherwise(
            "`rollBackTo` any execution in the ledger that succeeded and whose images are kept, on production, under the same \
             locks, holds and windows. The approval that this very digest has counts; one that never had what the pipeline asks \
             for now waits for it",
            &[
                (KINDS, "production_goes_back_to_a_release_that_was_approved_before"),
                (KINDS, "going_back_to_an_unapproved_release_needs_the_approval_that_is_required_now"),
                (ROLL_BACK, "the_list_has_what_succeeded_and_marks_what_runs"),
                (LEDGER, "failures_push_out_neither_the_last_release_that_passed_nor_the_way_back"),
                (RETENTION, "images_go_with_the_history_and_what_is_needed_stays"),
            ],
        ),
    ),
    row(
        "E25",
        "Canary: new publishes beside the old ones, reached by a header; promoted or cancelled by a person, and promoted by \
         itself after 12 hours",
        Otherwise(
            "no header: the surge pair is there before a pair that serves is touched, and answers visitors as the others do. \
             A person looks at it where `production.pause` says so; with `rollout.guard` the visitors' own errors and times \
             decide, pair by pair, and a release that is worse stops or goes back. Nothing goes on because time is over: a \
             pause that nobody ends stops the deployment",
            &[
                (GUARD, "a_pair_that_serves_is_watched_before_the_next_is_touched"),
                (GUARD, "a_release_that_does_worse_stops_at_once_where_it_is"),
                (GUARD, "with_restore_what_ran_before_comes_back_unwatched_and_the_record_says_what_was_seen"),
                (GUARD, "with_nothing_to_judge_the_guard_says_what_follows"),
                (PAUSES, "every_way_to_start_pauses_and_no_repetition_or_way_back_does"),
                (PAUSES, "a_deployment_pauses_where_the_pipeline_says_and_goes_on_when_somebody_says_so"),
                (PAUSES, "a_deployment_that_pauses_is_stopped_by_a_word_a_cancellation_or_time"),
                (METRIC_GUARD, "visitors_decide_whether_a_release_goes_on"),
            ],
        ),
    ),
    row(
        "E26",
        "Time-outs end in CANCELLED, step by step",
        Same(
            "each wait has a clock of its own that begins with its step and survives restarts",
            &[
                (HERE, "every_wait_ends_in_the_documents_time"),
                (HISTORIES, "no_history_breaks_a_promise_and_every_history_can_end"),
                (RESTARTS, "an_operator_killed_five_times_does_nothing_twice"),
                (TIMES, "times_windows_and_a_no_end_waits_as_they_say"),
            ],
        ),
    ),
    row(
        "E27",
        "Events to subscribers: five kinds, some without a start, duplicates, retries for 24 hours",
        Otherwise(
            "signed CloudEvents of four kinds, started, waiting, expiring and ended, to HTTP sinks. Each execution has a start \
             and an end; one that is sent again has the same id, and is tried for 24 hours. A signature takes the place of the \
             challenge",
            &[
                (NEWS, "transitions_are_told_once_each_and_nothing_in_between"),
                (NEWS, "what_was_not_told_stays_until_it_was"),
                (NEWS, "what_is_too_much_to_tell_leaves_out_the_oldest_waits"),
                (EVENT, "an_id_is_the_same_at_every_try_and_another_for_everything_else"),
                (QUEUE, "pauses_grow_and_are_bounded"),
                (SINKS, "an_event_arrives_whole_and_with_a_signature_that_can_be_checked"),
            ],
        ),
    ),
];
