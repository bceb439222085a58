//! One case: a server, the healthy clients, the attack beside it, and what must hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::attacker::{Attacker, Form, Membership};
use crate::case::{Budgets, Case, Limit, allowed};
use crate::credentials::Credentials;
use crate::ending::Ending;
use crate::error::AbuseError;
use crate::healthy::{Audience, HealthyClients};
use crate::healthy_report::HealthyReport;
use crate::report::{MemoryFigures, Row};
use crate::server::{Memory, Server};
use crate::settings::{KnownSettings, Setting, variable};

/// For how long a case of the large form attacks, unless it is done before.
const LARGE: Duration = Duration::from_secs(30);
/// What a case needs beside: what it builds before, and what ends it.
const MARGIN: Duration = Duration::from_secs(120);
/// For how long the healthy clients are watched before.
const QUIET_SHORT: Duration = Duration::from_secs(1);
const QUIET_LARGE: Duration = Duration::from_secs(5);
/// Memory must be back by then.
const BACK: Duration = Duration::from_secs(60);
/// How often it is looked at, and how often the server is, meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// The healthy clients are watched for so long after an attack, also when memory is back at once.
const AFTER: Duration = Duration::from_secs(1);
/// What may stay after an attack beside what the budgets say is in use: 64 MiB.
const STAYS: u64 = 64 << 20;

/// What cases run against.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) program: &'a Path,
    pub(crate) known: &'a KnownSettings,
    pub(crate) form: Form,
    /// How many healthy clients subscribe.
    pub(crate) subscribers: u64,
    /// What is shown where the server has TLS and asks for tokens.
    pub(crate) credentials: Option<Arc<Credentials>>,
}

/// A server with the healthy clients at work.
#[derive(Debug)]
pub(crate) struct Attacked {
    server: Server,
    membership: Option<Membership>,
    /// Dropped before the server would be, so that its end is no cut.
    clients: Option<HealthyClients>,
    /// The highest memory that was seen.
    pub(crate) highest: u64,
}

impl Attacked {
    pub(crate) fn is_alive(&mut self) -> bool {
        self.server.ended().is_none()
    }

    fn seen(&self) -> HealthyReport {
        self.clients.as_ref().expect("they are at work until the end").take()
    }

    fn memory(&mut self) -> Memory {
        let memory = self.server.memory().unwrap_or(Memory { resident: 0, peak: 0 });
        self.highest = self.highest.max(memory.peak);
        memory
    }

    /// Runs a case.
    pub(crate) async fn run(&mut self, case: &dyn Case, form: Form, budgets: &Budgets<'_>) -> Row {
        drop(self.seen());
        sleep(form.pick(QUIET_SHORT, QUIET_LARGE)).await;
        let quiet = self.seen();
        self.server.logged();
        self.server.forget_peak();
        let before = self.memory().resident;
        let time = form.pick(case.short_time(), LARGE);
        let attacker = Attacker::new(self.server.address, form, self.membership.clone(), time);
        let began = Instant::now();
        let attack = timeout(time + MARGIN, case.run(&attacker)).await;
        let mut failures = Vec::new();
        match attack {
            Ok(Ok(())) => {}
            Ok(Err(ending)) if ending.is_mistake() => failures.push(format!("the case is at fault: {ending}")),
            Ok(Err(ending)) => attacker.note(ending),
            Err(_) => failures.push("the attack did not come to its end".into()),
        }
        // Long enough for the healthy clients to notice what was short.
        sleep_until(began + AFTER).await;
        let peak = self.memory().peak;
        let attacked = self.seen();
        let budget = allowed(case.budget(budgets));
        let kept = case.kept(budgets);
        let stays = budget.min(kept + kept / 5 + STAYS);
        let (after, back_after) = self.back(before + stays).await;
        let memory = MemoryFigures { before, peak, after, allowed: budget, back_after };
        let (endings, figures) = attacker.into_outcome();
        let row = Row {
            case: case.name(),
            does: case.does(),
            unknown_settings: Vec::new(),
            died: self.server.ended(),
            memory,
            quiet,
            attacked,
            after: self.seen(),
            endings: endings.counts().iter().map(|(ending, count)| (ending.to_string(), *count)).collect(),
            log: self.server.logged(),
            figures,
            failures,
        };
        judged(row, case.limit(), &endings.counts(), stays)
    }

    /// Waits until memory is at most `bound`; what it is then, and after how many seconds it was.
    async fn back(&mut self, bound: u64) -> (u64, Option<f64>) {
        let began = Instant::now();
        let mut back_after = None;
        loop {
            let resident = self.memory().resident;
            let passed = began.elapsed();
            if resident <= bound && back_after.is_none() {
                back_after = Some(passed.as_secs_f64());
            }
            let done = back_after.is_some() && passed >= AFTER;
            if done || passed >= BACK || !self.is_alive() {
                return (resident, back_after);
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Attacked {
    fn drop(&mut self) {
        drop(self.clients.take());
    }
}

impl Target<'_> {
    /// Starts a server with these settings, as far as it has them, and the healthy clients; the settings that it has not.
    pub(crate) async fn start(&self, set: &[Setting]) -> Result<(Attacked, Vec<&'static str>), AbuseError> {
        let (mut environment, unknown) = self.known.environment(set);
        let credentials = self.credentials.as_deref();
        for (key, value) in credentials.map(Credentials::settings).into_iter().flatten() {
            environment.push((variable(key), value));
        }
        let server = Server::start(self.program, &environment)?;
        let membership = self.credentials.clone().map(Membership::new).transpose()?;
        let audience = Audience { subscribers: self.subscribers, credentials };
        let clients = Some(HealthyClients::start(server.address, audience).await?);
        Ok((Attacked { server, membership, clients, highest: 0 }, unknown))
    }

    /// The budgets of a server with these settings.
    pub(crate) const fn budgets<'a>(&'a self, set: &'a [Setting]) -> Budgets<'a> {
        Budgets { form: self.form, secure: self.credentials.is_some(), known: self.known, set }
    }

    /// Runs a case against a server of its own; the row, and the server's highest memory.
    pub(crate) async fn run(&self, case: &dyn Case) -> Result<(Row, u64), AbuseError> {
        let set = self.form.pick(case.settings(), &[]);
        let (mut attacked, unknown) = self.start(set).await?;
        let mut row = attacked.run(case, self.form, &self.budgets(set)).await;
        row.unknown_settings = unknown;
        Ok((row, attacked.highest))
    }
}

/// Adds what does not hold.
fn judged(mut row: Row, limit: Limit, endings: &BTreeMap<Ending, u64>, stays: u64) -> Row {
    let mut fails = |text: String| row.failures.push(text);
    if let Some(died) = &row.died {
        fails(format!("the server died: {died}"));
    }
    let MemoryFigures { before, peak, allowed, back_after, .. } = row.memory;
    if peak > before + allowed {
        fails("memory grew beyond the budget".into());
    }
    if back_after.is_none() {
        fails(format!("memory did not come back to {} MiB more than before", stays.div_ceil(1 << 20)));
    }
    let (refusals, cuts) =
        [&row.attacked, &row.after].iter().fold((0, 0), |(r, c), seen| (r + seen.refusals, c + seen.cuts));
    if refusals + cuts > 0 {
        fails(format!("healthy clients were refused {refusals} times and cut {cuts} times"));
    }
    let lost = row.attacked.lost + row.after.lost;
    if lost > 0 {
        fails(format!("healthy clients did not get {lost} updates, nor a gap in their place"));
    }
    let limited = endings.keys().any(Ending::is_limit);
    let says_why = endings.keys().any(Ending::says_why) || (limited && !row.log.is_empty());
    match limit {
        Limit::Told if !says_why => fails("the attacker was not limited with a reason".into()),
        Limit::Never if limited => fails("an honest client was refused or cut".into()),
        Limit::Told | Limit::Never | Limit::Cheap => {}
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(refusals: u64, cuts: u64) -> HealthyReport {
        HealthyReport { refusals, cuts, ..HealthyReport::default() }
    }

    /// A case that grew by 10 of 20 bytes and gave them back.
    fn good() -> Row {
        Row {
            case: "a-case",
            does: "nothing",
            unknown_settings: Vec::new(),
            died: None,
            memory: MemoryFigures { before: 100, peak: 110, after: 100, allowed: 20, back_after: Some(0.0) },
            quiet: seen(0, 0),
            attacked: seen(0, 0),
            after: seen(0, 0),
            endings: BTreeMap::new(),
            log: BTreeMap::new(),
            figures: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn failures(row: Row, limit: Limit, endings: &[Ending]) -> usize {
        let endings = endings.iter().map(|ending| (ending.clone(), 1)).collect();
        judged(row, limit, &endings, 64).failures.len()
    }

    #[test]
    fn each_thing_that_must_hold_is_judged() {
        let bad: [fn(&mut Row); 6] = [
            |row| row.died = Some("signal 9".into()),
            |row| row.memory.peak = 121,
            |row| row.memory.back_after = None,
            |row| row.attacked = seen(1, 0),
            |row| row.after = seen(0, 1),
            |row| row.attacked.lost = 1,
        ];
        assert_eq!(failures(good(), Limit::Cheap, &[]), 0);
        for spoil in bad {
            let mut row = good();
            spoil(&mut row);
            assert_eq!(failures(row, Limit::Cheap, &[]), 1);
        }
    }

    #[test]
    fn attacker_must_be_told_why() {
        let told = Ending::Told("GOAWAY ENHANCE_YOUR_CALM".into());
        assert_eq!(failures(good(), Limit::Told, &[Ending::Served, told]), 0);
        assert_eq!(failures(good(), Limit::Told, &[Ending::Served]), 1);
        assert_eq!(failures(good(), Limit::Told, &[Ending::Closed]), 1);
        let mut logged = good();
        logged.log = BTreeMap::from([("WARN cut".into(), 1)]);
        assert_eq!(failures(logged.clone(), Limit::Told, &[Ending::Closed]), 0);
        assert_eq!(failures(logged, Limit::Told, &[Ending::Served]), 1, "nothing was limited");
    }

    #[test]
    fn honest_client_must_not_be_limited() {
        assert_eq!(failures(good(), Limit::Never, &[Ending::Served]), 0);
        assert_eq!(failures(good(), Limit::Never, &[Ending::Served, Ending::Closed]), 1);
    }
}
