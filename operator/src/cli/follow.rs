//! Following an execution until it ends: redrawn in place on a terminal, a line for each transition elsewhere.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watch_object},
    },
};
use launchway_crds::{Environment, PipelineExecution, common::Span};

use super::{
    CliError, End,
    request::ended,
    say,
    screen::Screen,
    session::Session,
    transitions::Told,
    tree::{Around, Room, draw},
};
use crate::client::explain;

/// Elapsed times are shown in seconds.
const TICK: Duration = Duration::from_secs(1);
/// The first answer of a watch.
const FIRST: Duration = Duration::from_secs(30);

/// Shows the execution until it ends or the time is over.
///
/// # Errors
/// When there is no such execution, or it cannot be read.
pub async fn follow(session: &Session, name: &str, timeout: Option<Span>) -> Result<End, CliError> {
    let mut view = View { screen: Screen::open(), told: Told::default(), around: Around::default(), trouble: None };
    let limit = async {
        match timeout {
            Some(span) => tokio::time::sleep(span.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        end = watch(session, name, &mut view) => return end,
        () = limit => {}
    }
    let span = timeout.map(|span| span.to_string()).unwrap_or_default();
    eprintln!(
        "{name} has not ended within {span}: it goes on; follow it again with\n  {}",
        session.plugin(&["status", name, "-w"])
    );
    Ok(End::TimedOut)
}

struct View {
    screen: Option<Screen>,
    told: Told,
    around: Around,
    trouble: Option<String>,
}

async fn watch(session: &Session, name: &str, view: &mut View) -> Result<End, CliError> {
    let executions: Api<PipelineExecution> = Api::namespaced(session.watch_client.clone(), &session.namespace);
    let environments: Api<Environment> = Api::namespaced(session.watch_client.clone(), &session.namespace);
    let mut objects = pin!(watch_object(executions, name).default_backoff());
    let mut places = pin!(watcher::watcher(environments, watcher::Config::default()).default_backoff());
    let mut tick = tokio::time::interval(TICK);
    let mut current: Option<PipelineExecution> = None;
    loop {
        tokio::select! {
            item = objects.next() => match item {
                Some(Ok(Some(execution))) => {
                    view.trouble = None;
                    // It changes when an execution ends: with this one at the earliest.
                    if current.is_none() || execution.status.as_ref().and_then(ended).is_some() {
                        view.around.debt = session.debt(&execution).await;
                    }
                    current = Some(execution);
                }
                Some(Ok(None)) if current.is_some() => return Err(CliError::said(format!("{name} was deleted"))),
                Some(Ok(None)) => return Err(session.no_execution(name)),
                // The first answer tells whether the command can work at all; later it may have to wait.
                Some(Err(error)) if current.is_none() => return Err(CliError::said(cause(&error))),
                Some(Err(error)) => view.lost(cause(&error)),
                None => return Err(CliError::said("the watch ended")),
            },
            item = places.next() => {
                // Progress of rollouts is extra: who may not read Environments sees the rest.
                if let Some(Ok(event)) = item {
                    remember(&mut view.around.environments, event);
                }
            }
            _ = tick.tick(), if view.screen.is_some() => {}
            () = tokio::time::sleep(FIRST), if current.is_none() => {
                return Err(CliError::said(format!("no answer from the apiserver within {} s", FIRST.as_secs())));
            }
        }
        let Some(execution) = &current else { continue };
        let end = execution.status.as_ref().and_then(ended);
        view.show(execution, end.is_some())?;
        match end {
            Some((true, _)) => return Ok(End::Done),
            Some((false, _)) => return Ok(End::Failed),
            None => {}
        }
    }
}

impl View {
    fn lost(&mut self, why: String) {
        if self.screen.is_none() && self.trouble.is_none() {
            eprintln!("{why}; trying again");
        }
        self.trouble = Some(why);
    }

    fn show(&mut self, execution: &PipelineExecution, last: bool) -> Result<(), CliError> {
        let now = Timestamp::now();
        let Some(screen) = &mut self.screen else {
            for line in self.told.news(execution, &self.around.environments, now) {
                say(line)?;
            }
            return Ok(());
        };
        let room = if last { Room::Whole(screen.size().columns) } else { Room::Screen(screen.size()) };
        let mut lines = draw(execution, &self.around, now, room);
        if let Some(trouble) = &self.trouble {
            lines.push(format!("(as of the last answer: {trouble}; trying again)"));
        }
        Ok(if last { screen.finish(&lines) } else { screen.redraw(&lines) }?)
    }
}

fn remember(environments: &mut BTreeMap<String, Environment>, event: Event<Environment>) {
    match event {
        Event::Apply(environment) | Event::InitApply(environment) => {
            environments.insert(environment.name_any(), environment);
        }
        Event::Delete(environment) => {
            environments.remove(&environment.name_any());
        }
        Event::Init => environments.clear(),
        Event::InitDone => {}
    }
}

fn cause(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => explain(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        other => other.to_string(),
    }
}
