//! The acceptance matrix of all public documents: the rows that are about what is around pipelines and executions.

use super::row::{
    Row,
    Stance::{Otherwise, Out, Same},
    files::*,
    of_matrix as row,
};

pub const ROWS: &[Row] = &[
    row(
        "P9",
        "Front-end pipeline: builds and deploys a theme",
        Out("a theme that a site needs comes with its packages; other files are served by other means on a cluster"),
    ),
    row(
        "P10",
        "A program has at most 300 pipelines",
        Out(
            "a limit of Adobe's service. What limits a namespace here is its ResourceQuota (`count/pipelines.launchway.dev`)",
        ),
    ),
    row(
        "P15",
        "The cache of a pipeline's builds can be emptied; the next build is slower; what if one runs meanwhile",
        Same(
            "`kubectl launchway cache invalidate`: the next build that begins empties it, one that runs is left alone",
            &[(GIT_SCENARIO, "builds_by_ssh_are_reused_and_have_a_cache")],
        ),
    ),
    row(
        "P16",
        "Variables of a pipeline in builds and tests: at most 200, secrets of at most 500 characters; not while it runs",
        Otherwise(
            "`builder.variables` and those of test images in the Pipeline, secrets as references to Secrets, with bounds in the \
             schema; an edit while an execution runs applies to the next one, which status says",
            &[
                (GIT_SCENARIO, "builds_by_ssh_are_reused_and_have_a_cache"),
                (CRDS, "lists_and_maps_are_bounded"),
                (SCHEMA, "schemas_refuse_what_cannot_work_and_say_why"),
                (EDITS, "an_execution_runs_the_pipeline_as_it_was_when_it_began"),
            ],
        ),
    ),
    row(
        "P17",
        "Pull requests are checked, with a comment on each",
        Out("a CI system of the Git server does this beside the code; it can run `launchway inspect` on the packages"),
    ),
    row(
        "E4",
        "A commit that was built is not built again: another variable, switched off, artifacts that are gone",
        Otherwise(
            "the key has all that decides what a build makes, variables too, which the documents leave out; `reuse: false` and \
             `--rebuild` switch it off; what is gone from the registry is built",
            &[
                (SOURCES, "the_same_build_is_not_done_twice_unless_asked_for"),
                (SOURCES, "what_decides_what_a_build_makes_is_its_key"),
                (GIT_SCENARIO, "builds_by_ssh_are_reused_and_have_a_cache"),
            ],
        ),
    ),
    row(
        "E23",
        "Content is restored from a snapshot",
        Out("content of an author is in its volume: snapshots are those of the cluster's storage"),
    ),
    row(
        "E24",
        "Adobe updates the product beneath the customer's code",
        Out("a base image is a field of an Environment; whoever changes it, by a commit, knows when"),
    ),
    row(
        "E28",
        "Logs of steps: by a link, in parts",
        Otherwise(
            "`kubectl launchway logs NAME STEP` while the pod is there; the report of a step, an OCI artifact, has what is kept",
            &[(LOGS, "the_pods_are_those_of_the_very_job"), (LOGS, "a_step_that_ended_without_a_job_says_itself_why")],
        ),
    ),
    row(
        "V1",
        "Variables of an environment: pods start again; reserved names; by service; not during a pipeline",
        Otherwise(
            "they are rolled out by the machine that rolls releases, with a release where one is on its way; names that are \
             reserved are refused",
            &[
                (RENDER, "variables_and_volumes_go_to_the_services_that_they_are_for"),
                (CONFIGURATION, "variables_are_there_before_any_pod_asks_for_them"),
                (CONFIGURATION, "a_secret_that_changes_is_rolled_out_with_a_release_that_is_held"),
                (SCHEMA, "schemas_refuse_what_cannot_work_and_say_why"),
            ],
        ),
    ),
    row(
        "V2",
        "An environment that nobody uses hibernates",
        Out("an Environment is as large as its `publish.replicas`, which an autoscaler may set, and never asleep"),
    ),
    row(
        "V3",
        "An environment is made and deleted, one that a pipeline has too",
        Otherwise(
            "it is an object; one that an execution has is not lost by a slip, and its pipelines say what they lack",
            &[
                (DELETION, "what_is_deleted_by_a_slip_waits_and_what_is_worth_keeping_stays"),
                (EXECUTION, "missing_objects_are_waited_for_a_minute"),
            ],
        ),
    ),
    row(
        "V4",
        "Rapid development environments take single bundles and contents without a pipeline",
        Out("never patching what runs is what this product is for"),
    ),
    row(
        "V5",
        "Each pipeline builds for a version of the product; an older one than the environment's is refused",
        Same(
            "images are made upon the base images of stage; an Environment with others refuses them",
            &[(EXECUTION, "environments_of_the_wrong_type_or_with_other_bases_are_refused")],
        ),
    ),
    row(
        "A1",
        "Adobe's library for JavaScript works unchanged",
        Out("it speaks to Adobe's HTTP API with Adobe's logins; here the API is Kubernetes'"),
    ),
    row("A2", "Adobe's command line works unchanged", Out("`kubectl launchway` has a command for each of its uses")),
    row("A3", "Adobe's library for Java works unchanged", Out("as the one for JavaScript")),
];
