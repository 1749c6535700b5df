//! `launchway schedule`: chooses when production is deployed.

use clap::Args;
use jiff::{
    Timestamp, Zoned,
    civil::DateTime,
    fmt::temporal::{DateTimeParser, Pieces},
    tz::{AmbiguousOffset, OffsetConflict, TimeZone},
};
use kube::ResourceExt;
use launchway_crds::{
    PipelineExecution,
    execution::Step,
    names::requests::{SCHEDULE, SCHEDULED_BY},
    step::StepName,
};

use super::{
    CliError, End, request, say,
    session::{Connection, Session},
    times::{away, local},
};
use crate::text::one_line;

const FORMS: &str = "write `now`, or a date and a time such as 2026-11-21T22:00, with a zone of its own as in 2026-11-21T22:00[Europe/Zurich]";

/// Arguments of `schedule`.
#[derive(Args, Debug)]
pub struct ScheduleArgs {
    /// Name of the execution
    pub name: String,
    /// `now`, or date and time, such as 2026-11-21T22:00 or 2026-11-21T22:00[Europe/Zurich]
    #[arg(value_name = "now|DATE")]
    pub when: String,
    /// Zone of the date, such as Europe/Zurich; default: this machine's
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub time_zone: Option<TimeZone>,
    /// Which cluster.
    #[command(flatten)]
    pub connection: Connection,
}

/// Chooses the time, and shows it on the clocks of its zone and of this machine.
///
/// # Errors
/// When there is no such moment, it has passed, the execution waits for no time, or the apiserver refuses.
pub async fn run(args: ScheduleArgs) -> Result<End, CliError> {
    let now = Timestamp::now();
    let here = TimeZone::try_system().ok();
    let choice = choose(&args.when, args.time_zone.as_ref(), here.as_ref(), now).map_err(CliError::Said)?;
    let session = Session::open(args.connection).await?;
    let execution = session.execution(&args.name).await?;
    waits(&execution, &choice)?;
    if let Some(old) = execution.annotations().get(SCHEDULE) {
        let who = execution.annotations().get(SCHEDULED_BY).map_or("somebody", String::as_str);
        say(format!("until now the time is {}, chosen by {}", one_line(old), one_line(who)))?;
    }
    let me = session.me().await?;
    let annotations = [(SCHEDULE, choice.text.as_str()), (SCHEDULED_BY, me.as_str())];
    request::tell(&session, &execution, &annotations);
    request::annotate(&session, &execution, &annotations).await?;
    for line in told(&args.name, &choice, here.as_ref(), now) {
        say(line)?;
    }
    eprintln!("follow it with:\n  {}", session.plugin(&["status", &args.name, "-w"]));
    Ok(End::Done)
}

/// A time for production: as the annotation says it, and the moment unless it is at once.
#[derive(Debug, PartialEq)]
struct Choice {
    text: String,
    at: Option<Zoned>,
}

/// Whether the execution waits for a time, and until then.
fn waits(execution: &PipelineExecution, choice: &Choice) -> Result<(), CliError> {
    let fits = |step: &Step| (step.name == StepName::Schedule).then_some(());
    let (status, ()) = request::awaiting(execution, "a time", fits)?;
    // Once a time was chosen, that is what is waited for, and the operator alone knows the end.
    let until = status.waiting_for.as_ref().and_then(|waiting| waiting.until.as_ref());
    let until = until.filter(|_| status.scheduled.is_none()).map(|until| until.0);
    match (&choice.at, until) {
        (Some(at), Some(until)) if at.timestamp() > until => {
            let end = local(&until.to_zoned(at.time_zone().clone()));
            let what = format!("{} waits for a time until {end} only", execution.name_any());
            Err(CliError::said(format!("{what}: choose an earlier one than {}", local(at))))
        }
        _ => Ok(()),
    }
}

/// Reads what a person wrote. A clock that jumps has moments that do not exist or that come twice: neither is guessed.
fn choose(text: &str, zone: Option<&TimeZone>, here: Option<&TimeZone>, now: Timestamp) -> Result<Choice, String> {
    if text.eq_ignore_ascii_case("now") {
        return Ok(Choice { text: "now".into(), at: None });
    }
    let (at, twice) = moment(text, zone, here)?;
    if at.timestamp() <= now {
        return Err(format!("{} was {}: say `now` to deploy at once", local(&at), away(at.timestamp(), now)));
    }
    let name = at.time_zone().iana_name().filter(|name| *name != "Etc/UTC").unwrap_or("UTC");
    let seconds = if at.second() == 0 { "" } else { ":%S" };
    // The offset is said only where it is needed: a zone's rules may change until then, its clocks are meant.
    let offset = if twice { "%:z" } else { "" };
    Ok(Choice { text: format!("{}[{name}]", at.strftime(&format!("%Y-%m-%dT%H:%M{seconds}{offset}"))), at: Some(at) })
}

/// The moment, and whether its clock shows that time twice.
fn moment(text: &str, zone: Option<&TimeZone>, here: Option<&TimeZone>) -> Result<(Zoned, bool), String> {
    let wrong = |error: jiff::Error| format!("`{}` is no date and time ({error}): {FORMS}", one_line(text));
    let pieces = Pieces::parse(text).map_err(wrong)?;
    let time = pieces.time().ok_or_else(|| format!("`{}` has no time of day: {FORMS}", one_line(text)))?;
    let date = DateTime::from_parts(pieces.date(), time);
    let own = pieces.to_time_zone().map_err(wrong)?;
    if let (Some(own), Some(zone)) = (&own, zone)
        && own != zone
    {
        return Err(format!(
            "`{}` has a zone of its own: leave out --time-zone, or the zone in brackets",
            one_line(text)
        ));
    }
    let zone = own.as_ref().or(zone).or_else(|| here.filter(|here| named(here)));
    let zone =
        zone.ok_or("this machine does not say its time zone: name one with --time-zone, such as Europe/Zurich")?;
    if !named(zone) {
        return Err(format!("`{}`: a zone has a name, such as Europe/Zurich", one_line(text)));
    }
    let ambiguous = zone.to_ambiguous_zoned(date);
    let twice = matches!(ambiguous.offset(), AmbiguousOffset::Fold { .. });
    if pieces.offset().is_some() {
        let parser = DateTimeParser::new().offset_conflict(OffsetConflict::Reject);
        let at = if own.is_some() {
            parser.parse_zoned(text).map_err(wrong)?
        } else {
            parser.parse_timestamp(text).map_err(wrong)?.to_zoned(zone.clone())
        };
        let twice = matches!(zone.to_ambiguous_zoned(at.datetime()).offset(), AmbiguousOffset::Fold { .. });
        return Ok((at, twice));
    }
    let name = zone.iana_name().unwrap_or_default();
    match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => Err(format!(
            "{date} does not exist in {name}: its clocks are put forward then; choose an earlier or a later time"
        )),
        AmbiguousOffset::Fold { .. } => {
            let at = |zoned: Result<Zoned, jiff::Error>| {
                zoned.map(|zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()).unwrap_or_default()
            };
            Err(format!(
                "{date} comes twice in {name}: its clocks are put back then; say which one, {}[{name}] or {}[{name}]",
                at(ambiguous.clone().earlier()),
                at(ambiguous.later())
            ))
        }
        AmbiguousOffset::Unambiguous { .. } => Ok((ambiguous.compatible().map_err(wrong)?, twice)),
    }
}

/// Whether the operator, elsewhere, would know the zone by its name.
fn named(zone: &TimeZone) -> bool {
    zone.iana_name().is_some() && !zone.is_unknown()
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| "no zone of the IANA database, such as Europe/Zurich or UTC".into())
}

/// What was chosen, on both clocks.
fn told(name: &str, choice: &Choice, here: Option<&TimeZone>, now: Timestamp) -> Vec<String> {
    let Some(at) = &choice.at else { return vec![format!("{name} goes to production now")] };
    let mut lines = vec![format!("{name} goes to production at {}, {}", local(at), away(at.timestamp(), now))];
    let (place, zone) = match here.filter(|here| *here != at.time_zone()) {
        Some(here) => ("here", here.clone()),
        None => ("elsewhere", TimeZone::UTC),
    };
    let second = local(&at.with_time_zone(zone));
    if second != local(at) {
        lines.push(format!("{:width$}which {place} is {second}", "", width = name.chars().count() + 1));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    fn tz(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn chosen(text: &str, zone: Option<&str>, here: &str) -> Result<Choice, String> {
        choose(text, zone.map(tz).as_ref(), Some(&tz(here)), samples::NOW.parse().unwrap())
    }

    #[test]
    fn a_date_is_on_the_clocks_of_the_zone_that_is_said_or_of_this_machine() {
        for (text, zone, expected, moment) in [
            ("2026-11-21T22:00", None, "2026-11-21T22:00[America/New_York]", "2026-11-22T03:00:00Z"),
            ("2026-11-21 22:00", Some("Europe/Zurich"), "2026-11-21T22:00[Europe/Zurich]", "2026-11-21T21:00:00Z"),
            ("2026-11-21T22:00:30[Europe/Zurich]", None, "2026-11-21T22:00:30[Europe/Zurich]", "2026-11-21T21:00:30Z"),
            ("2026-11-21T22:00+01:00[Europe/Zurich]", None, "2026-11-21T22:00[Europe/Zurich]", "2026-11-21T21:00:00Z"),
            ("2026-11-21T21:00Z", Some("Europe/Zurich"), "2026-11-21T22:00[Europe/Zurich]", "2026-11-21T21:00:00Z"),
            ("2026-11-21T22:00", Some("UTC"), "2026-11-21T22:00[UTC]", "2026-11-21T22:00:00Z"),
        ] {
            let choice = chosen(text, zone, "America/New_York").unwrap();
            assert_eq!(choice.text, expected, "{text}");
            assert_eq!(choice.at.unwrap().timestamp(), moment.parse().unwrap(), "{text}");
        }
        assert_eq!(chosen("NOW", None, "UTC").unwrap(), Choice { text: "now".into(), at: None });
    }

    #[test]
    fn a_moment_that_clocks_skip_is_refused() {
        let error = chosen("2027-03-28T02:30", Some("Europe/Zurich"), "UTC").unwrap_err();
        assert!(error.starts_with("2027-03-28T02:30:00 does not exist in Europe/Zurich"), "{error}");
    }

    #[test]
    fn a_moment_that_clocks_repeat_needs_its_offset_and_keeps_it() {
        let error = chosen("2027-10-31T02:30", Some("Europe/Zurich"), "UTC").unwrap_err();
        let (first, second) = ("2027-10-31T02:30:00+02:00[Europe/Zurich]", "2027-10-31T02:30:00+01:00[Europe/Zurich]");
        assert!(error.contains("comes twice") && error.contains(first) && error.contains(second), "{error}");
        let choice = chosen(second, None, "UTC").unwrap();
        assert_eq!(choice.text, "2027-10-31T02:30+01:00[Europe/Zurich]");
        assert_eq!(choice.at.unwrap().timestamp(), "2027-10-31T01:30:00Z".parse().unwrap());
    }

    #[test]
    fn what_is_no_moment_of_the_future_is_refused_with_the_remedy() {
        for (text, zone, part) in [
            ("2026-11-21T10:00", Some("UTC"), "was 35m12s ago: say `now`"),
            ("tomorrow", None, "is no date and time"),
            ("2026-11-21", None, "has no time of day"),
            ("2026-11-21T22:00[Europe/Berne]", None, "is no date and time"),
            ("2026-11-21T22:00[Europe/Zurich]", Some("UTC"), "leave out --time-zone"),
            ("2026-11-21T22:00+05:00[Europe/Zurich]", None, "is no date and time"),
            ("2026-11-21T22:00[+01:00]", None, "a zone has a name"),
        ] {
            let error = chosen(text, zone, "UTC").unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = choose("2026-11-21T22:00", None, None, samples::NOW.parse().unwrap()).unwrap_err();
        assert!(error.contains("--time-zone"), "{error}");
    }

    #[test]
    fn the_moment_is_shown_on_two_clocks() {
        let now = samples::NOW.parse().unwrap();
        let choice = chosen("2026-11-21T22:00[Europe/Zurich]", None, "America/New_York").unwrap();
        assert_eq!(
            told("wknd-42", &choice, Some(&tz("America/New_York")), now).join("\n"),
            "\
wknd-42 goes to production at Sat 2026-11-21 22:00 Europe/Zurich (UTC+01:00), in 10h24m
        which here is Sat 2026-11-21 16:00 America/New_York (UTC-05:00)"
        );
        let lines = told("wknd-42", &choice, Some(&tz("Europe/Zurich")), now);
        assert!(lines[1].ends_with("which elsewhere is Sat 2026-11-21 21:00 UTC"), "{lines:?}");
        let choice = chosen("2026-11-21T22:00", None, "Etc/UTC").unwrap();
        assert_eq!(choice.text, "2026-11-21T22:00[UTC]");
        assert_eq!(told("wknd-42", &choice, Some(&tz("Etc/UTC")), now).len(), 1, "there is no other clock");
    }

    #[test]
    fn only_an_execution_that_waits_for_a_time_takes_one() {
        let now = Choice { text: "now".into(), at: None };
        assert!(waits(&samples::awaits(StepName::Schedule), &now).is_ok());
        let error = waits(&samples::waiting(), &now).unwrap_err().to_string();
        assert!(error.starts_with("wknd-42 does not wait for a time: it is at approvalProduction"), "{error}");
    }

    #[test]
    fn a_time_after_the_end_of_the_wait_is_refused() {
        let late = chosen("2026-12-05T12:00[Europe/Zurich]", None, "UTC").unwrap();
        let mut execution = samples::awaits(StepName::Schedule);
        let error = waits(&execution, &late).unwrap_err().to_string();
        assert!(error.contains("until Sat 2026-12-05 11:30 Europe/Zurich (UTC+01:00) only"), "{error}");
        execution.status.as_mut().unwrap().scheduled = samples::promoted().status.unwrap().scheduled;
        assert!(waits(&execution, &late).is_ok(), "the end of the wait is not known");
    }
}
