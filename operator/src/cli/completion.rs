//! Completion of what people type: scripts for shells, and answers for kubectl, which asks an executable named
//! `kubectl_complete-launchway` for the words after `kubectl launchway`.

use std::path::Path;

use clap::{Arg, Args, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, End, PLUGIN, say};

/// Name under which kubectl asks.
const ASKED_BY_KUBECTL: &str = "kubectl_complete-launchway";
/// kubectl's word for "no file names, please".
const NO_FILES: &str = ":4";
/// kubectl's word for "file names, then".
const FILES: &str = ":0";

/// Arguments of `completion`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// Prints the script, for `launchway` and for `kubectl-launchway`.
///
/// # Errors
/// When nobody reads.
pub fn run(args: &CompletionArgs) -> Result<End, CliError> {
    for name in ["launchway", PLUGIN] {
        let mut script = vec![];
        clap_complete::generate(args.shell, &mut Cli::command(), name, &mut script);
        say(String::from_utf8_lossy(&script))?;
    }
    Ok(End::Done)
}

/// Answers kubectl, when the process was started under the name that it asks.
#[must_use]
pub fn asked() -> Option<Vec<String>> {
    let mut words = std::env::args();
    let program = words.next()?;
    let name = Path::new(&program).file_name()?.to_string_lossy().into_owned();
    let words: Vec<String> = words.collect();
    (name == ASKED_BY_KUBECTL).then(|| answer(&words))
}

/// A line for each word that can follow, with what it means, and last whether file names can.
fn answer(words: &[String]) -> Vec<String> {
    let (word, before) = words.split_last().map_or(("", &[] as &[String]), |(word, before)| (word.as_str(), before));
    let root = Cli::command();
    let command = before.iter().fold(&root, |command, word| command.find_subcommand(word).unwrap_or(command));
    let open = before.last().and_then(|word| option(command, word));
    let (mut lines, files) = match open {
        Some(argument) => (values(argument), takes_files(argument)),
        None if word.starts_with('-') => (options(command), false),
        None => {
            let places = || command.get_positionals();
            let below = command.get_subcommands().filter(|below| !below.is_hide_set());
            let below = below.map(|below| line(below.get_name(), &below.get_about().map(ToString::to_string)));
            (below.chain(places().flat_map(values)).collect(), places().any(takes_files))
        }
    };
    lines.retain(|line| line.starts_with(word));
    lines.push(if files { FILES } else { NO_FILES }.into());
    lines
}

/// The option of a word that takes the next word as its value.
fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let found = command.get_arguments().find(|argument| {
        let long = argument.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        long || argument.get_short().is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str()))
    });
    found.filter(|argument| argument.get_action().takes_values())
}

fn options(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let long = shown.filter_map(|argument| argument.get_long().map(|long| (long, argument)));
    long.map(|(long, argument)| line(&format!("--{long}"), &argument.get_help().map(ToString::to_string))).collect()
}

fn values(argument: &Arg) -> Vec<String> {
    if !argument.get_action().takes_values() {
        return vec![];
    }
    let values = argument.get_possible_values();
    values.iter().map(|value| line(value.get_name(), &value.get_help().map(ToString::to_string))).collect()
}

/// Whether an argument names files: its place holder says so.
fn takes_files(argument: &Arg) -> bool {
    let names = argument.get_value_names().unwrap_or_default();
    names.iter().any(|name| ["FILE", "DIR", "PATH", "DIRECTORY"].contains(&name.as_str()))
}

fn line(word: &str, meaning: &Option<String>) -> String {
    match meaning {
        Some(meaning) => format!("{word}\t{meaning}"),
        None => word.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let asked: Vec<String> = text.split(' ').map(String::from).collect();
        answer(&asked).iter().map(|line| line.split('\t').next().unwrap_or_default().to_string()).collect()
    }

    #[test]
    fn commands_options_and_values_are_completed() {
        assert_eq!(words("re"), ["re-execute", "reject", "resume", "report", ":4"]);
        assert_eq!(words("run wknd --em"), ["--emergency", ":4"]);
        assert_eq!(words("status -o "), ["json", ":4"]);
        assert_eq!(words("status --kubeconfig "), [":0"]);
        assert!(words("completion ").contains(&"zsh".to_string()));
        assert_eq!(words("approve -n wknd --y"), ["--yes", ":4"]);
    }

    #[test]
    fn what_runs_inside_the_cluster_is_not_offered() {
        let all = words("");
        assert!(all.contains(&"promote".to_string()) && !all.contains(&"operator".to_string()), "{all:?}");
    }

    #[test]
    fn words_come_with_their_meaning() {
        assert_eq!(answer(&["sched".to_string()])[0], "schedule\tChoose when production is deployed");
    }
}
