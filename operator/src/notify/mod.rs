//! Telling others what becomes of executions: at least once, in order, and without holding anything up.
//!
//! What is to be told stands in the status of an execution, written together with what makes it true
//! ([`crate::plan::execution`]). Here it is sent and, when everybody has it, taken away again by one write. So a restart
//! of the operator loses nothing: every execution is looked at then, and what it has not told is told. Whoever gets an
//! event twice knows it by its id.

pub mod event;
mod queue;
pub mod send;
pub mod sign;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Resource, ResourceExt, runtime::events::EventType};
use launchway_crds::{
    Pipeline, PipelineExecution,
    notification::{Sink, Untold},
};

pub use self::queue::Key;
use self::{
    queue::{Outcome, Queue, Try},
    send::{Refusal, Sender},
    sign::Signer,
};
use crate::{
    context::Context,
    effects::{events, untold},
    error::{Error, bounded},
    registry::Authorities,
    shutdown::Shutdown,
};

/// How many executions are told of at once.
const AT_ONCE: usize = 16;
/// Pause before the queue is looked at again when nobody has news.
const BREATH: Duration = Duration::from_millis(200);
/// How long it is tried to tell something.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// Who has something to tell.
#[derive(Default)]
pub struct Notifier {
    queue: Mutex<Queue>,
    news: tokio::sync::Notify,
    sender: Sender,
}

impl Notifier {
    /// An execution may have something to tell: it is looked at soon. Never waits.
    pub fn tell(&self, namespace: &str, name: &str) {
        self.with(|queue| {
            queue.tell(Key { namespace: namespace.into(), name: name.into() }, Instant::now());
        });
        self.news.notify_one();
    }

    fn with<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until something is due, or somebody has news.
    async fn due(&self) {
        match self.with(|queue| queue.next()) {
            // What is due and not taken has to wait for others of its namespace.
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at.max(Instant::now() + BREATH).into()) => {}
                () = self.news.notified() => {}
            },
            None => self.news.notified().await,
        }
    }
}

/// Tells until the operator ends.
pub async fn run(context: Arc<Context>, shutdown: Shutdown) {
    let notifier = &context.notifier;
    let mut tries = FuturesUnordered::new();
    let stop = shutdown.wait();
    tokio::pin!(stop);
    loop {
        while tries.len() < AT_ONCE
            && let Some(next) = notifier.with(|queue| queue.take(Instant::now()))
        {
            let context = context.clone();
            tries.push(async move {
                let key = next.key.clone();
                (key, attempt(&context, next).await)
            });
        }
        tokio::select! {
            // What is under way is told again by the next leader: nothing was taken away.
            () = &mut stop => return,
            Some((key, outcome)) = tries.next() => notifier.with(|queue| queue.done(&key, outcome, Instant::now())),
            () = notifier.due() => {}
        }
    }
}

/// Tells what an execution has to tell.
async fn attempt(context: &Context, next: Try) -> Outcome {
    let Try { key, failed, arrived } = next;
    match tell(context, &key, failed, arrived.clone()).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::warn!(namespace = key.namespace, name = key.name, %error, "Failed to tell of an execution");
            Outcome::Again(arrived)
        }
    }
}

async fn tell(
    context: &Context,
    key: &Key,
    failed: u32,
    mut arrived: BTreeSet<(String, String)>,
) -> Result<Outcome, Error> {
    let executions: Api<PipelineExecution> = Api::namespaced(context.client.clone(), &key.namespace);
    let Some(execution) = bounded("read the execution", executions.get_opt(&key.name)).await? else {
        return Ok(Outcome::Told);
    };
    let all = execution.status.as_ref().map(|status| status.untold.clone()).unwrap_or_default();
    if all.is_empty() {
        return Ok(Outcome::Told);
    }
    let pipelines: Api<Pipeline> = Api::namespaced(context.client.clone(), &key.namespace);
    let pipeline = bounded("read the pipeline", pipelines.get_opt(&execution.spec.pipeline_ref.name)).await?;
    let sinks = pipeline.map(|pipeline| pipeline.spec.notifications).unwrap_or_default();
    let now = Timestamp::now();
    let mut problems = vec![];
    for sink in &sinks {
        let open = all.iter().filter(|untold| sink.events.contains(&untold.event));
        let open = open.filter(|untold| !arrived.contains(&(sink.url.clone(), event::id(&execution, untold))));
        let open: Vec<&Untold> = open.collect();
        let (got, problem) = sink_gets(context, &execution, sink, &open).await;
        arrived.extend(got.into_iter().map(|id| (sink.url.clone(), id)));
        problems.extend(problem.map(|why| (sink.url.clone(), why)));
    }
    let has = |sink: &Sink, untold: &Untold| {
        !sink.events.contains(&untold.event) || arrived.contains(&(sink.url.clone(), event::id(&execution, untold)))
    };
    let (late, told): (Vec<Untold>, Vec<Untold>) =
        all.iter().cloned().partition(|untold| !sinks.iter().all(|sink| has(sink, untold)));
    let (dropped, open): (Vec<Untold>, Vec<Untold>) =
        late.into_iter().partition(|untold| now.duration_since(untold.at.0) > PATIENCE);
    report(context, &execution, failed, &problems, !dropped.is_empty()).await;
    let over: Vec<Untold> = told.into_iter().chain(dropped).collect();
    if !over.is_empty() {
        untold::told(context, &execution, &over).await?;
    }
    Ok(if open.is_empty() { Outcome::Told } else { Outcome::Again(arrived) })
}

/// Sends events to one address, in order, until it does not take one. The ids of those that need no further try, and what
/// went wrong.
async fn sink_gets(
    context: &Context,
    execution: &PipelineExecution,
    sink: &Sink,
    open: &[&Untold],
) -> (Vec<String>, Option<String>) {
    if open.is_empty() {
        return (vec![], None);
    }
    let namespace = execution.namespace().unwrap_or_default();
    let (signer, authorities) = match secret(context, &namespace, &sink.secret_ref.name).await {
        Ok(found) => found,
        Err(why) => return (vec![], Some(why)),
    };
    let (mut got, mut problem) = (vec![], None);
    for untold in open {
        let event = event::event(execution, untold);
        let headers = signer.headers(&event.id, Timestamp::now(), &event.body);
        match context.notifier.sender.post(&sink.url, authorities.as_ref(), headers, event.body).await {
            Ok(()) => {
                context.metrics.notification("delivered");
                got.push(event.id);
            }
            Err(Refusal::Never(why)) => {
                context.metrics.notification("refused");
                problem = Some(why);
                got.push(event.id);
            }
            Err(Refusal::Later(why)) => {
                context.metrics.notification("failed");
                problem = Some(why);
                break;
            }
        }
    }
    (got, problem)
}

/// What signs, and whom to trust, from a Secret.
async fn secret(context: &Context, namespace: &str, name: &str) -> Result<(Signer, Option<Authorities>), String> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = bounded("read the secret of a sink", api.get_opt(name)).await.map_err(|error| error.to_string())?;
    let data = found.ok_or_else(|| format!("Secret {name} does not exist: create it with a key named secret"))?.data;
    let value = |key: &str| data.as_ref().and_then(|data| data.get(key));
    let key = value("secret").ok_or_else(|| format!("Secret {name} has no key named secret, which signs"))?;
    let signer = Signer::new(&key.0).map_err(|why| format!("Secret {name}, key secret: {why}"))?;
    let authorities = value("ca.crt")
        .map(|bytes| {
            let text = String::from_utf8_lossy(&bytes.0);
            Authorities::from_pem(&text).map_err(|why| format!("Secret {name}, key ca.crt: {why}"))
        })
        .transpose()?;
    Ok((signer, authorities))
}

/// Tells the people of the program, once at the first failure and once when nothing more is tried.
async fn report(
    context: &Context,
    execution: &PipelineExecution,
    failed: u32,
    problems: &[(String, String)],
    dropped: bool,
) {
    let Some((url, why)) = problems.first().filter(|_| failed == 0 || dropped) else { return };
    let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let (reason, end) = if dropped {
        ("NotificationDropped", "given up after a day")
    } else {
        ("NotificationFailed", "tried again for a day")
    };
    // A path may be a secret: only the host is told.
    let note = format!("{host} does not take what spec.notifications of the Pipeline sends: {why}; {end}");
    tracing::warn!(namespace = execution.namespace(), name = execution.name_any(), reason, "{note}");
    let event = events::event(EventType::Warning, reason.into(), &note, "notify");
    events::publish(context, &execution.object_ref(&()), [event]).await;
}
