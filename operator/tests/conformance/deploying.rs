//! What the pages about deploying say, from the first click to production.

use super::row::{
    Document::{Blog, Cloud, Earlier, Managed},
    Row,
    Stance::{Otherwise, Out, Same},
    files::*,
};

pub const ROWS: &[Row] = &[
    Row {
        id: "D1",
        documents: &[Earlier, Managed, Cloud],
        says: "Once the pipeline is configured, Deploy and then Build start it",
        stance: Same(
            "`kubectl launchway run` creates one object, a PipelineExecution; so does any tool that may",
            &[
                (RUN, "an_artifact_is_a_digest_or_a_tag"),
                (MAIN_JOB, "two_releases_reach_production_as_they_were_tested"),
            ],
        ),
    },
    Row {
        id: "D2",
        documents: &[Earlier, Managed, Cloud],
        says: "It goes through stage deployment, stage testing and production deployment, in this order",
        stance: Same(
            "the order of the steps is the order of one enumeration; every step is in status from the first write on",
            &[
                (HERE, "every_kind_of_pipeline_has_its_steps_from_the_first_status"),
                (HISTORIES, "no_history_breaks_a_promise_and_every_history_can_end"),
            ],
        ),
    },
    Row {
        id: "D3",
        documents: &[Earlier, Managed, Cloud],
        says: "Logs of the steps and results of the tests can be looked at",
        stance: Same(
            "`kubectl launchway logs NAME STEP` and `report NAME STEP`; metrics are in status",
            &[
                (LOGS, "the_pods_are_those_of_the_very_job"),
                (TREE, "a_gate_shows_its_metrics_and_marks_those_that_fail"),
            ],
        ),
    },
    Row {
        id: "D4",
        documents: &[Earlier, Managed, Cloud],
        says: "Validation: the pipeline uses resources that are there, such as its environments",
        stance: Same(
            "`validate` looks for the Pipeline and its Environments, their types and their base images; what is missing is \
             waited for a minute, for GitOps tools apply in any order",
            &[
                (EXECUTION, "missing_objects_are_waited_for_a_minute"),
                (EXECUTION, "environments_of_the_wrong_type_or_with_other_bases_are_refused"),
            ],
        ),
    },
    Row {
        id: "D5",
        documents: &[Earlier, Managed, Cloud],
        says: "Validation: the configured branch exists",
        stance: Same(
            "`validate` asks the Git server for the branch or tag of `spec.source.git`, once, and writes the commit down; \
             where an object of Flux stands for the source, it has to be there and Ready; packages that come as an OCI \
             artifact have a tag that has to exist",
            &[
                (SOURCES, "a_commit_is_resolved_once_and_built"),
                (SOURCES, "each_fault_of_a_git_server_has_its_own_end"),
                (FLUX, "each_fault_of_flux_has_its_own_reason_and_a_bounded_wait"),
                (GIT, "the_operator_asks_what_a_ref_is"),
            ],
        ),
    },
    Row {
        id: "D6",
        documents: &[Earlier, Managed, Cloud],
        says: "Build and unit testing: a containerised build of the source",
        stance: Same(
            "a Job of `spec.source.git.builder` checks the commit out, runs the commands, counts unit tests and coverage, and \
             pushes the packages; `kubectl launchway push` sends what any other build made",
            &[
                (GIT, "a_build_becomes_an_artifact_with_a_record"),
                (SOURCES, "failing_unit_tests_are_counted"),
                (SOURCES, "the_same_build_is_not_done_twice_unless_asked_for"),
            ],
        ),
    },
    Row {
        id: "D7",
        documents: &[Earlier, Managed, Cloud],
        says: "Code scanning evaluates the quality of the code",
        stance: Same(
            "`codeQuality`: our package checks and any scanner image, as metrics with thresholds",
            &[
                (CHECK_METRICS, "severities_turn_into_gates_as_in_cloud_manager"),
                (SCANNERS, "checks_and_scanners_are_one_result_and_one_report"),
                (KINDS, "an_important_failure_is_asked_about_and_overridden_by_name"),
            ],
        ),
    },
    Row {
        id: "D8",
        documents: &[Cloud],
        says: "Build Images turns content and dispatcher packages into images and Kubernetes configuration, and has a log",
        stance: Same(
            "`buildImage`: two images and the release that names both; StatefulSets and Services are rendered from it",
            &[
                (REGISTRY, "push_build_and_read_back"),
                (RENDER, "workloads_are_restricted_and_pinned_and_belong_to_their_environment"),
                (LOGS, "the_pods_are_those_of_the_very_job"),
            ],
        ),
    },
    Row {
        id: "D9",
        documents: &[Earlier, Managed],
        says: "Security testing evaluates the impact of the code on the environment",
        stance: Same(
            "`securityTest`: requests that must be refused, sent through stage's dispatchers",
            &[
                (SECURITY, "each_hole_is_found_by_its_check"),
                (SECURITY, "a_tight_site_passes_every_check"),
                (SECURITY, "silence_is_not_safety"),
            ],
        ),
    },
    Row {
        id: "D10",
        documents: &[Earlier, Managed],
        says: "Performance testing evaluates the performance of the code",
        stance: Same(
            "`loadTest` and `reportPerformanceTest`: three sets of pages by weight, thresholds from the Pipeline",
            &[
                (PERFORMANCE, "a_slow_site_fails_by_its_response_time_and_not_by_errors"),
                (PERFORMANCE, "one_page_of_fifty_that_fails_is_two_percent_and_critical"),
                (MIX, "sets_come_by_weight_and_pages_in_turn"),
            ],
        ),
    },
    Row {
        id: "D11",
        documents: &[Cloud],
        says: "Product functional tests run against stage",
        stance: Same(
            "`productTest`: an image that finds stage's addresses in its environment",
            &[
                (KIND, "functional_tests_pass_by_exit_code_and_cases"),
                (TEST_JOB, "names_of_ours_win_over_the_pipelines"),
            ],
        ),
    },
    Row {
        id: "D12",
        documents: &[Cloud],
        says: "Custom functional testing is always there, cannot be skipped, and passes when there is no test",
        stance: Same(
            "`functionalTest` is a step of every tested release; without an image it ends as Incomplete and the execution \
             goes on. Only an emergency of a stage-only pipeline leaves it out",
            &[
                (HERE, "a_step_without_a_test_is_incomplete_and_the_next_begins"),
                (EXECUTION, "a_release_goes_through_stage_tests_and_approval_to_production"),
            ],
        ),
    },
    Row {
        id: "D13",
        documents: &[Earlier, Managed],
        says: "Application for approval, if enabled, comes before production",
        stance: Same(
            "`approvalProduction`, required unless the Pipeline says otherwise. The apiserver judges who approves, and \
             nobody approves their own execution",
            &[
                (APPROVALS, "an_approval_counts_only_with_the_right_digest_the_right_person_and_the_guard"),
                (POLICY, "requests_are_admitted_from_the_right_person_at_the_right_time_only"),
                (EXECUTION, "a_record_without_approval_never_deploys_to_production"),
            ],
        ),
    },
    Row {
        id: "D14",
        documents: &[Earlier, Managed],
        says: "Schedule production deployment, if enabled: a date and time in the user's time zone, or now",
        stance: Same(
            "`schedule` reads `now`, or a date and time with its IANA zone; times that clocks skip or repeat have one answer",
            &[
                (SCHEDULE, "a_time_is_read_in_its_own_zone"),
                (SCHEDULE, "clocks_that_change_have_one_answer"),
                (CLI_SCHEDULE, "a_date_is_on_the_clocks_of_the_zone_that_is_said_or_of_this_machine"),
                (KINDS, "every_wait_of_a_pipeline_comes_in_its_order"),
            ],
        ),
    },
    Row {
        id: "D15",
        documents: &[Earlier, Managed],
        says: "CSE support, if enabled: the customer success engineer lets production begin",
        stance: Same(
            "`managed`, with a verb and a role of its own",
            &[
                (KINDS, "every_wait_of_a_pipeline_comes_in_its_order"),
                (RIGHTS, "built_in_roles_carry_running_but_never_approving"),
            ],
        ),
    },
    Row {
        id: "D16",
        documents: &[Earlier],
        says: "Each of these waits ends after 14 days: code quality, security, performance, approval, schedule, CSE support",
        stance: Same(
            "14 days by default for the gates, the approval of production, the schedule and the managed go; each can be set",
            &[(HERE, "every_wait_ends_in_the_documents_time")],
        ),
    },
    Row {
        id: "D17",
        documents: &[Managed],
        says: "7 days for code quality, security, performance and the approval of stage; 14 for the approval of production, \
               the schedule and the managed deployment",
        stance: Otherwise(
            "7 days for the approval of stage and 14 for the rest. The documents contradict each other about the gates: the \
             longer time is the default, and `spec.gates.timeout` sets another",
            &[(HERE, "every_wait_ends_in_the_documents_time")],
        ),
    },
    Row {
        id: "D18",
        documents: &[Earlier, Managed, Cloud],
        says: "All `target/*.zip` are stored, and the deployments take them from there",
        stance: Same(
            "one OCI artifact, one layer a zip, resolved to a digest once; deployments take the release made of it",
            &[(REGISTRY, "push_build_and_read_back"), (REGISTRY, "partial_artifacts")],
        ),
    },
    Row {
        id: "D19",
        documents: &[Earlier, Managed, Cloud],
        says: "Elsewhere than on production the goal is to be quick: everything is deployed to all nodes at the same time",
        stance: Same(
            "strategy AllAtOnce is the default of Stage and Development",
            &[(ROLLOUT, "all_at_once_replaces_every_pod"), (ROLLOUT, "the_first_release_starts_everything_together")],
        ),
    },
    Row {
        id: "D20",
        documents: &[Earlier, Managed, Cloud],
        says: "Each artifact is found to be an AEM package or a dispatcher package",
        stance: Same(
            "by its content: conf.d with conf.dispatcher.d is a dispatcher configuration, and what is neither is told",
            &[(CLASSIFY, "kinds"), (CLASSIFY, "refused_kinds")],
        ),
    },
    Row {
        id: "D21",
        documents: &[Earlier, Managed, Cloud],
        says: "All dispatchers leave the load balancer first and come back when everything is deployed; dev and stage may skip \
               this",
        stance: Same(
            "the Service of the dispatchers is the load balancer: they drain and are gone before publishes are replaced, and \
             come back when all of them are ready. `deploy.detach: false` of a place where releases are tested leaves them in",
            &[
                (ROLLOUT, "dispatchers_leave_before_publishes_are_replaced_and_come_back_when_all_are_ready"),
                (ROLLOUT, "without_detaching_every_pod_is_replaced_in_one_go"),
            ],
        ),
    },
    Row {
        id: "D22",
        documents: &[Earlier, Managed, Cloud],
        says: "AEM packages are installed on each instance by the Package Manager, in the order of their dependencies",
        stance: Otherwise(
            "they are in the image, in that order, and the runtime installs what its image has: no instance is changed by hand, \
             so a new one is like the others",
            &[
                (ORDER, "dependencies_first_whatever_the_input_order"),
                (ORACLE, "our_answers_are_those_of_filevault_and_of_the_java_zip_readers"),
                (ORDER, "cycles_are_named"),
            ],
        ),
    },
    Row {
        id: "D23",
        documents: &[Earlier, Managed, Cloud],
        says: "All AEM packages go to author and publish; run modes tell them apart",
        stance: Same(
            "one AEM image for both; run modes are `author` or `publish`, and `dev`, `stage` or `prod`",
            &[
                (RENDER, "variables_and_volumes_go_to_the_services_that_they_are_for"),
                (TOGETHER, "configurations_clash_only_in_the_same_run_modes"),
            ],
        ),
    },
    Row {
        id: "D24",
        documents: &[Earlier, Managed, Cloud],
        says: "The dispatcher's configuration is backed up and everything but immutable files is deleted, so that nothing is \
               orphaned",
        stance: Otherwise(
            "each release has the folders of its own configuration and nothing of an earlier one; the release before stays in \
             the registry and in the pods not yet reached",
            &[(DISPATCHER, "keeps_links_and_drops_immutable_files"), (IMAGE, "real_dispatcher_configurations")],
        ),
    },
    Row {
        id: "D25",
        documents: &[Earlier, Managed, Cloud],
        says: "Immutable files are not overwritten; changes of them are ignored",
        stance: Same(
            "the base's file stays, and the build tells of it; which files these are the base image states",
            &[(DISPATCHER, "keeps_links_and_drops_immutable_files")],
        ),
    },
    Row {
        id: "D26",
        documents: &[Earlier, Managed, Cloud],
        says: "Apache tests the configuration; on an error the one before is restored and the error is reported",
        stance: Otherwise(
            "the test runs in the very image before httpd starts. A configuration that fails never serves, its words are in \
             the step, and pods not yet reached keep the release that they have",
            &[
                (PODS, "a_configuration_that_is_refused_twice_is_hopeless"),
                (ROLLOUT, "a_broken_release_stops_before_a_serving_pair_is_touched"),
            ],
        ),
    },
    Row {
        id: "D27",
        documents: &[Earlier, Managed, Cloud],
        says: "Each path of the pipeline's configuration is invalidated or flushed from the dispatcher's cache",
        stance: Same(
            "`deploy.invalidatePaths` and `deploy.flushPaths`: before it serves, a dispatcher drops them and proves it by a \
             request. A new pod's cache is empty in any case; where nothing else changes, dispatchers are replaced for it",
            &[
                (RENDER, "dispatchers_get_what_they_drop_from_their_caches_and_workloads_tell_of_it"),
                (ROLLOUT, "the_same_release_again_replaces_nothing_unless_caches_are_to_be_emptied"),
            ],
        ),
    },
    Row {
        id: "D28",
        documents: &[Earlier, Managed, Cloud],
        says: "A dispatcher package has the complete set of files; missing ones fail the deployment",
        stance: Same(
            "the build refuses it as DispatcherIncomplete and names what is missing, before anything is deployed",
            &[
                (DISPATCHER, "incomplete_and_clashing"),
                (BAD_INPUT, "bad_input_ends_with_its_reason_and_the_next_release_works"),
            ],
        ),
    },
    Row {
        id: "D29",
        documents: &[Earlier, Managed, Cloud],
        says: "Production rolls: author first, then pair after pair: detach the dispatcher, deploy publish and dispatcher in \
               parallel with an empty cache, attach, next",
        stance: Same(
            "the same, driven by the partition of StatefulSets; with a surge pair first, so that the release proves itself \
             before anything that serves is touched",
            &[
                (ROLLOUT, "rolling_goes_author_surge_pair_by_pair_and_never_serves_with_fewer_pairs"),
                (ROLLOUT, "a_dispatcher_leaves_before_its_publish_is_replaced"),
                (ROLLOUT, "without_surge_one_pair_at_a_time_is_away"),
                (ROLLING, "pairs_are_replaced_without_a_failed_request"),
            ],
        ),
    },
    Row {
        id: "D30",
        documents: &[Earlier, Managed],
        says: "Emergency mode leaves out the tests of security and performance, since 2024 the audit too; all else, approvals \
               included, is as always",
        stance: Same(
            "the same; and what was left out is a debt of the Pipeline until a later execution passes it, wherever its release goes: after a \
             deployment to production that failed, one that is done again, and a way back",
            &[
                (EMERGENCIES, "an_emergency_that_failed_on_production_is_owed_there_and_done_again_still"),
                (EMERGENCIES, "the_way_back_to_an_emergency_owes_again_what_a_later_release_has_paid"),
                (HERE, "an_emergency_leaves_out_these_steps_and_no_others"),
                (KINDS, "an_emergency_skips_tests_keeps_approvals_and_leaves_a_debt"),
                (EMERGENCY, "an_emergency_skips_tests_keeps_the_approval_and_leaves_a_debt"),
            ],
        ),
    },
    Row {
        id: "D31",
        documents: &[Earlier, Managed],
        says: "Emergency mode is activated for each program by the customer success engineers; then it is a choice at the start",
        stance: Otherwise(
            "the production Environment allows it (`spec.emergencyMode`), whoever starts needs the verb `emergency` and a \
             reason. Where it is not allowed the execution fails and says so, and so does one that promotes what an emergency \
             left out on stage",
            &[
                (
                    EMERGENCIES,
                    "what_an_emergency_left_out_on_stage_comes_to_production_only_where_emergencies_are_allowed",
                ),
                (KINDS, "an_emergency_skips_tests_keeps_approvals_and_leaves_a_debt"),
                (POLICY, "executions_are_created_by_those_who_may_run_the_pipeline_in_their_own_name"),
            ],
        ),
    },
    Row {
        id: "D32",
        documents: &[Earlier, Managed],
        says: "The page of an execution shows that it is an emergency",
        stance: Same(
            "condition and Event Emergency with the reason and what is left out, a gauge, the heading of `status`, and what the \
             approver is shown",
            &[
                (TREE, "every_step_of_an_emergency_is_shown_with_what_it_owes"),
                (APPROVAL, "who_approves_a_promotion_sees_what_an_emergency_left_out_before"),
                (EVENTS, "an_emergency_is_told_once_with_what_it_leaves_out"),
                (EMERGENCY, "an_emergency_skips_tests_keeps_the_approval_and_leaves_a_debt"),
            ],
        ),
    },
    Row {
        id: "D33",
        documents: &[Earlier, Managed],
        says: "An emergency can be started by the API (`pipelineExecutionMode=EMERGENCY`) or the CLI (`--emergency`)",
        stance: Same(
            "`spec.mode: Emergency`, or `run --emergency --reason`",
            &[
                (RUN, "what_belongs_to_another_type_of_pipeline_is_refused_before_anything_starts"),
                (KINDS, "an_emergency_skips_tests_keeps_approvals_and_leaves_a_debt"),
            ],
        ),
    },
    Row {
        id: "D34",
        documents: &[Earlier, Managed],
        says: "A production deployment that completed, in whatever way, can be executed again: validate, copy the artifacts, \
               deploy with the same options",
        stance: Same(
            "`spec.reExecute`: the steps validate, build (which takes the release over) and deployProduction, on the approval of \
             the first one",
            &[
                (KINDS, "the_last_deployment_to_production_is_done_again_on_its_first_approval"),
                (RELEASES, "the_last_deployment_can_be_done_again_even_after_it_failed"),
                (RE_EXECUTE, "the_last_deployment_to_production_is_done_again_and_no_other"),
            ],
        ),
    },
    Row {
        id: "D35",
        documents: &[Earlier, Managed],
        says: "Only of the last execution; not of a rollback; not when it failed before the production deployment",
        stance: Same(
            "each is refused in `validate` and by the command, with its reason",
            &[
                (HERE, "each_refusal_of_a_re_execution_has_its_reason"),
                (RELEASES, "each_reason_against_executing_again_is_told"),
            ],
        ),
    },
    Row {
        id: "D36",
        documents: &[Earlier, Managed],
        says: "Not of a push update",
        stance: Out(
            "there are no updates by a vendor: a new base image is a change of the Environment, and goes through the pipeline",
        ),
    },
    Row {
        id: "D37",
        documents: &[Earlier, Managed],
        says: "The build step of a re-execution says that it copies and does not build",
        stance: Same(
            "its message is `takes sha256:… of execution NAME`, and `status.source` names the execution",
            &[
                (KINDS, "the_last_deployment_to_production_is_done_again_on_its_first_approval"),
                (TREE, "a_promotion_names_its_source_and_its_time"),
            ],
        ),
    },
    Row {
        id: "D38",
        documents: &[Earlier, Managed],
        says: "A re-execution is known by the trigger `RE_EXECUTE`",
        stance: Same(
            "`status.trigger: ReExecute`",
            &[(KINDS, "the_last_deployment_to_production_is_done_again_on_its_first_approval")],
        ),
    },
    Row {
        id: "D39",
        documents: &[Earlier, Managed],
        says: "It is started by a PUT to the link of the step, which is there only when it is possible",
        stance: Otherwise(
            "by an object or `kubectl launchway re-execute`; when it is impossible the command says why",
            &[(RELEASES, "each_reason_against_executing_again_is_told")],
        ),
    },
    Row {
        id: "D40",
        documents: &[Blog],
        says: "Images are immutable: whatever the orchestrator starts runs the code that was built last",
        stance: Same(
            "no running pod is ever written to; a pod that dies comes back on the release that its ordinal is on, also in the \
             middle of a rollout",
            &[
                (MAIN_JOB, "two_releases_reach_production_as_they_were_tested"),
                (ROLLOUT, "whatever_dies_when_the_rollout_ends_well_and_pairs_never_mix"),
                (RIGHTS, "the_operator_writes_no_pod_and_nothing_that_people_wrote"),
                (KILLS, "pods_that_die_in_any_phase_come_back_on_the_right_release"),
            ],
        ),
    },
    Row {
        id: "D41",
        documents: &[Blog],
        says: "One cannot go back by uninstalling a package or installing an earlier one on each instance",
        stance: Same(
            "the way back is a release: `rollBackTo` deploys an earlier one that succeeded",
            &[
                (KINDS, "production_goes_back_to_a_release_that_was_approved_before"),
                (ROLL_BACK, "an_execution_that_failed_is_no_way_back"),
            ],
        ),
    },
    Row {
        id: "D42",
        documents: &[Blog],
        says: "Production pipelines deploy to stage and production together, so that stage is a mirror of production",
        stance: Same(
            "production runs the digest that stage tested, byte for byte, and both name the same base images",
            &[
                (MAIN_JOB, "two_releases_reach_production_as_they_were_tested"),
                (
                    DETERMINISM,
                    "a_hundred_builds_in_any_order_from_any_folder_with_one_or_two_threads_are_the_golden_release",
                ),
                (EXECUTION, "environments_of_the_wrong_type_or_with_other_bases_are_refused"),
            ],
        ),
    },
    Row {
        id: "D43",
        documents: &[Blog],
        says: "Tests of one's own can be triggered by events when stage is deployed",
        stance: Same(
            "each transition of a step is a Kubernetes Event; a test image needs no trigger at all",
            &[(EVENTS, "only_transitions_that_matter_are_told")],
        ),
    },
    Row {
        id: "D44",
        documents: &[Blog],
        says: "Functional and UI tests of the project decide whether a release goes on, so that rollbacks become rare",
        stance: Same(
            "a failing test ends the execution before anybody is asked for production",
            &[
                (EXECUTION, "a_failed_job_or_rollout_ends_the_execution_and_production_stays_as_it_is"),
                (KIND, "xml_decides_ui_tests_and_the_exit_code_does_not"),
            ],
        ),
    },
];
