//! What the page about stage-only and production-only pipelines says.

use super::row::{
    Document::{Blog, Split},
    Row,
    Stance::{Otherwise, Out, Same},
    files::*,
};

pub const ROWS: &[Row] = &[
    Row {
        id: "S1",
        documents: &[Split, Blog],
        says: "By default one pipeline deploys to stage and production",
        stance: Same("type FullStack", &[(EXECUTION, "a_release_goes_through_stage_tests_and_approval_to_production")]),
    },
    Row {
        id: "S2",
        documents: &[Split],
        says: "To deploy to stage alone with it one has to reject production, and the execution counts as cancelled",
        stance: Same(
            "the same with FullStack; type StageOnly is for that",
            &[(EXECUTION, "nobody_answers_somebody_rejects_somebody_cancels")],
        ),
    },
    Row {
        id: "S3",
        documents: &[Split],
        says: "While an execution waits for days, its environments cannot be updated, environment variables for one",
        stance: Otherwise(
            "a lock keeps other executions away and nothing else: variables are rolled out with the release that is there. A \
             stage-only execution gives stage back when its tests are over",
            &[
                (RENDER, "a_revision_follows_what_reaches_a_pod_and_nothing_else"),
                (KINDS, "a_stage_only_pipeline_ends_after_the_tests_and_never_touches_production"),
            ],
        ),
    },
    Row {
        id: "S4",
        documents: &[Split],
        says: "A stage-only pipeline behaves like the coupled one without the steps of production, and finishes after the tests",
        stance: Same(
            "type StageOnly; it ends as Finished",
            &[
                (HERE, "every_kind_of_pipeline_has_its_steps_from_the_first_status"),
                (KINDS, "a_stage_only_pipeline_ends_after_the_tests_and_never_touches_production"),
            ],
        ),
    },
    Row {
        id: "S5",
        documents: &[Split],
        says: "A production-only pipeline deploys the artifacts of an execution that passed on stage, and builds nothing",
        stance: Same(
            "type ProductionOnly: the last one, or the one in `spec.sourceExecution`",
            &[
                (KINDS, "a_production_only_pipeline_takes_the_tested_release"),
                (SPLIT, "a_release_is_tested_promoted_scheduled_held_and_taken_back"),
            ],
        ),
    },
    Row {
        id: "S6",
        documents: &[Split],
        says: "Neither runs while a full-stack pipeline runs, and the other way round",
        stance: Same(
            "Environments are locks: a full-stack execution has stage and production to itself for its whole life, the others \
             the one that they go to. Who comes second waits, the oldest first",
            &[
                (HERE, "coupled_and_split_pipelines_exclude_each_other"),
                (HISTORIES, "no_history_breaks_a_promise_and_every_history_can_end"),
                (TURNS, "who_has_an_environment_does_not_wait_for_an_older_one_that_turns_up"),
                (EXCLUSION, "executions_that_meet_never_share_an_environment"),
            ],
        ),
    },
    Row {
        id: "S7",
        documents: &[Split],
        says: "If a stage-only and a full-stack pipeline start on changes of the same branch, only the stage-only one starts",
        stance: Same(
            "a coupled pipeline yields to a stage-only one that starts on changes of the same source, and says so \
             (StageOnlyWins)",
            &[
                (CHANGES, "of_two_pipelines_on_one_source_only_the_stage_only_one_starts"),
                (CHANGES, "only_a_stage_only_pipeline_on_the_same_source_that_starts_by_itself_wins"),
            ],
        ),
    },
    Row {
        id: "S8",
        documents: &[Split],
        says: "Production-only pipelines never start on changes",
        stance: Same(
            "they have no source that could change: `spec.trigger: OnChange` and `spec.source.artifact` do not belong to them, \
             says the schema",
            &[(CRDS, "rules_are_there_and_say_what_is_wrong"), (CHANGES, "production_only_never_starts_by_itself")],
        ),
    },
    Row {
        id: "S9",
        documents: &[Split],
        says: "A production-only pipeline always takes what stage-only tested, whatever the coupled pipeline deployed since: code \
               may be rolled back without anybody wanting it",
        stance: Otherwise(
            "a release that was made before the one that production runs is refused as OlderRelease, unless the execution says \
             `allowOlder`",
            &[(KINDS, "a_release_older_than_the_one_that_production_runs_is_refused")],
        ),
    },
    Row {
        id: "S10",
        documents: &[Split],
        says: "With split pipelines an update of AEM may bring back the code that the full-stack pipeline deployed last",
        stance: Out("nothing but an execution deploys; there are no updates by a vendor"),
    },
    Row {
        id: "S11",
        documents: &[Split],
        says: "With split pipelines an environment cannot be restored",
        stance: Out(
            "content is restored by the backup of the author's volume; the release is a way back for code with any pipeline",
        ),
    },
    Row {
        id: "S12",
        documents: &[Split],
        says: "A production-only pipeline can be made only when a stage-only one is there",
        stance: Otherwise(
            "objects come in any order: until the stage-only pipeline is there the other one is not Ready and says so, and its \
             executions are refused",
            &[
                (KINDS, "a_production_only_pipeline_takes_the_tested_release"),
                (RELEASES, "what_cannot_be_promoted_says_why_and_what_to_do"),
            ],
        ),
    },
    Row {
        id: "S13",
        documents: &[Split],
        says: "There is at most one coupled, one stage-only and one production-only pipeline in a program",
        stance: Otherwise(
            "one of each type for each Environment, for a program may have several pairs. The younger of two is not Ready and \
             names the older (PipelineExists); locks keep them apart in any case",
            &[
                (RIVALS, "of_two_of_one_type_for_one_environment_the_younger_is_told"),
                (HERE, "coupled_and_split_pipelines_exclude_each_other"),
            ],
        ),
    },
    Row {
        id: "S14",
        documents: &[Split],
        says: "A stage-only pipeline names the stage environment and has the tests of stage",
        stance: Same(
            "`spec.stage`; an Environment of another type is refused",
            &[
                (EXECUTION, "environments_of_the_wrong_type_or_with_other_bases_are_refused"),
                (HERE, "every_kind_of_pipeline_has_its_steps_from_the_first_status"),
            ],
        ),
    },
    Row {
        id: "S15",
        documents: &[Split],
        says: "The other options of a production-only pipeline are those of the coupled one",
        stance: Same(
            "`spec.production` is the same object: approval, schedule and managed go",
            &[(HERE, "every_kind_of_pipeline_has_its_steps_from_the_first_status")],
        ),
    },
    Row {
        id: "S16",
        documents: &[Split],
        says: "Both are run like any pipeline; a production-only run can also be started from a stage-only execution",
        stance: Same(
            "`kubectl launchway run`, or `promote`",
            &[
                (RELEASES, "the_latest_success_is_promoted_however_it_is_named"),
                (SPLIT, "a_release_is_tested_promoted_scheduled_held_and_taken_back"),
            ],
        ),
    },
    Row {
        id: "S17",
        documents: &[Split],
        says: "Promote Build is there only on the latest successful stage-only execution, and asks before it starts",
        stance: Same(
            "`promote` takes that one alone, shows what production becomes, and asks. An earlier one needs an execution that \
             names it",
            &[
                (RELEASES, "the_latest_success_is_promoted_however_it_is_named"),
                (RELEASES, "what_production_becomes_is_told_with_both_digests"),
            ],
        ),
    },
    Row {
        id: "S18",
        documents: &[Split],
        says: "Without a production-only pipeline, Promote Build offers to make one",
        stance: Otherwise(
            "`promote` says that there is none and shows what it takes: pipelines are written down, not clicked",
            &[(RELEASES, "what_cannot_be_promoted_says_why_and_what_to_do")],
        ),
    },
    Row {
        id: "S19",
        documents: &[Split],
        says: "Artifact Preparation shows which execution the artifacts come from",
        stance: Same(
            "the step `build` names execution, pipeline and digest; `status.source` has them for tools",
            &[
                (TREE, "a_promotion_names_its_source_and_its_time"),
                (KINDS, "a_production_only_pipeline_takes_the_tested_release"),
            ],
        ),
    },
];
