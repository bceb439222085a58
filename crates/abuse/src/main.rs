//! `starling-abuse`: what one client can do to a server, case by case, beside healthy clients that must not notice it.

mod attacker;
mod case;
mod cases;
mod credentials;
mod ending;
mod error;
mod frames;
mod healthy;
mod healthy_report;
mod hello;
mod link;
mod report;
mod run;
mod sealed_records;
mod server;
mod settings;
mod wire;
mod world;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use tokio::time::Instant;

use crate::attacker::Form;
use crate::case::Case;
use crate::credentials::Credentials;
use crate::error::AbuseError;
use crate::report::Report;
use crate::run::Target;
use crate::settings::{KnownSettings, Setting};

/// Open files of this program and of the server: a connection takes one of each.
const FILES: u64 = 20_000;

/// Healthy subscribers of a server with TLS and tokens, and in the short form, where it has less room.
const SUBSCRIBERS: u64 = 500;
const SUBSCRIBERS_SHORT: u64 = 50;

/// Settings of a long run: streams that end of their age would count as cut.
const AGELESS: &[Setting] = &[("server.max_connection_age", "0s"), ("streams.max_age", "0s")];

/// Attacks a server that it starts itself: STARLING_BIN, or the one beside it.
#[derive(Debug, Parser)]
#[command(name = "starling-abuse")]
struct Arguments {
    /// Only this case; may be given again.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// A server with TLS that asks for tokens, 500 healthy subscribers (short: 50), and strangers with tokens of their
    /// own; also the cases that need that.
    #[arg(long)]
    secure: bool,
    /// So many healthy subscribers, each on a connection of its own; at most 100 in the short form.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=2_000))]
    healthy: Option<u64>,
    /// A few seconds for each case, against small budgets: the form for CI.
    #[arg(long)]
    short: bool,
    /// All cases one after another against one server with its defaults, for so many minutes.
    #[arg(long, value_name = "N", conflicts_with = "short")]
    minutes: Option<u64>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Print the names of the cases.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(AbuseError(text)) => {
            writeln!(std::io::stderr(), "starling-abuse: {text}").ok();
            ExitCode::from(2)
        }
    }
}

/// Whether all holds.
fn run(arguments: &Arguments) -> Result<bool, AbuseError> {
    let mut out = std::io::stdout();
    if arguments.list {
        for case in cases::ALL {
            writeln!(out, "{}: {}", case.name(), case.does())?;
        }
        return Ok(true);
    }
    rlimit::increase_nofile_limit(FILES)?;
    let chosen = chosen(&arguments.cases, arguments.secure)?;
    let subscribers = subscribers(arguments)?;
    let program = server::program()?;
    let known = KnownSettings::of(&program)?;
    let form = if arguments.short { Form::Short } else { Form::Large };
    let credentials = arguments.secure.then(Credentials::new).transpose()?.map(Arc::new);
    let target = Target { program: &program, known: &known, form, subscribers, credentials };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = runtime.block_on(async {
        match arguments.minutes {
            Some(minutes) => again(&target, &chosen, Duration::from_secs(60 * minutes)).await,
            None => Ok(once(&target, &chosen).await),
        }
    })?;
    if arguments.json {
        report.print_json(&mut out)?
    } else {
        report.print(&mut out)?
    }
    Ok(report.passed())
}

fn chosen(names: &[String], secure: bool) -> Result<Vec<&'static dyn Case>, AbuseError> {
    let possible = |case: &&&'static dyn Case| secure || !case.needs_credentials();
    if names.is_empty() {
        return Ok(cases::ALL.iter().filter(possible).copied().collect());
    }
    let find = |name: &String| {
        let found = cases::ALL.iter().find(|case| case.name() == name);
        let found = found.ok_or_else(|| AbuseError(format!("there is no case {name}; --list names them")))?;
        let found = Some(found).filter(possible);
        found.copied().ok_or_else(|| AbuseError(format!("the case {name} needs --secure")))
    };
    names.iter().map(find).collect()
}

/// How many healthy clients subscribe.
fn subscribers(arguments: &Arguments) -> Result<u64, AbuseError> {
    let usual = match (arguments.secure, arguments.short) {
        (false, _) => 1,
        (true, false) => SUBSCRIBERS,
        (true, true) => SUBSCRIBERS_SHORT,
    };
    match arguments.healthy {
        Some(101..) if arguments.short => {
            Err(AbuseError("servers of the short form have room for 100 healthy subscribers (--healthy)".into()))
        }
        given => Ok(given.unwrap_or(usual)),
    }
}

/// Runs each case against a server of its own.
async fn once(target: &Target<'_>, chosen: &[&'static dyn Case]) -> Report {
    let mut report = Report::default();
    for case in chosen {
        let began = Instant::now();
        match target.run(*case).await {
            Ok((row, highest)) => {
                tell(&row.failures, case.name(), began.elapsed());
                report.highest = report.highest.max(highest);
                report.rows.push(row);
            }
            Err(AbuseError(why)) => {
                tell(std::slice::from_ref(&why), case.name(), began.elapsed());
                report.errors.push(format!("{}: {why}", case.name()));
            }
        }
    }
    report
}

/// Runs the cases one after another against one server, again and again.
async fn again(target: &Target<'_>, chosen: &[&'static dyn Case], time: Duration) -> Result<Report, AbuseError> {
    let mut report = Report::default();
    let (mut attacked, _) = target.start(AGELESS).await?;
    let budgets = target.budgets(&[]);
    let ends = Instant::now() + time;
    for case in chosen.iter().cycle() {
        if Instant::now() >= ends || !attacked.is_alive() {
            break;
        }
        let began = Instant::now();
        let row = attacked.run(*case, target.form, &budgets).await;
        tell(&row.failures, case.name(), began.elapsed());
        report.rows.push(row);
    }
    report.highest = attacked.highest;
    Ok(report)
}

/// Tells how far it is, to those who wait.
fn tell(failures: &[String], case: &str, took: Duration) {
    let verdict = if failures.is_empty() { "passed".into() } else { format!("FAILED: {}", failures.join("; ")) };
    let took = humantime::format_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
    writeln!(std::io::stderr(), "{case}: {verdict}, in {took}").ok();
}
