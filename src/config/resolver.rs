// SPDX-License-Identifier: MIT OR Apache-2.0
//! `[resolver]`: whom to ask for names, and how long answers are kept; and the first answers, which the loader waits for.
//!
//! A name that has no answer in time stops nothing: it is told as a warning, and asked for again while the daemon runs.
//! Not here: asking (`resolver/`), asking again (`daemon/keeper.rs`), names to listen on (`address.rs`).

use super::raw::{At, Node};
use super::report::{Place, Report};
use super::settings::Endpoint;
use super::tables;
use crate::policy::watch::{Question, Targets, Watch};
use crate::resolver::{Answer, Failure, Resolver, Take};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) use crate::resolver::Settings;

/// Servers that may be listed.
const SERVERS: usize = 8;

/// Where a server listens that is written without a port.
const PORT: u16 = 53;

/// How long an answer may be kept. Nobody can be asked more often than once a second.
const KEPT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(7 * 86_400);

/// What `negative` and `stale` may be; zero keeps nothing.
const BEYOND: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(30 * 86_400);

/// What `timeout` may be.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);

/// What `attempts` may be.
const ATTEMPTS: RangeInclusive<usize> = 1..=10;

/// Into how many servers one name may be made.
const EXPAND: RangeInclusive<usize> = 1..=64;

/// How long loading waits for first answers, over all names.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// Threads that ask for first answers.
const THREADS: usize = 16;

/// Reads `[resolver]`.
pub(super) fn check(node: Node<'_>, directory: &Path, report: &mut Report) -> Settings {
    let mut settings = Settings::default();
    let Some(fields) = node.fields(&tables::RESOLVER, report) else { return settings };
    if let Some(node) = fields.get("servers") {
        settings.servers = check_servers(node, report);
    }
    if let Some(hosts) = fields.get("hosts").and_then(|node| node.path(directory, report)) {
        settings.hosts = hosts;
    }
    for (key, bounds, value) in [
        ("min", KEPT, &mut settings.min),
        ("max", KEPT, &mut settings.max),
        ("negative", BEYOND, &mut settings.negative),
        ("stale", BEYOND, &mut settings.stale),
    ] {
        *value = fields.get(key).and_then(|node| node.duration(bounds, report)).unwrap_or(*value);
    }
    settings.timeout = fields.get("timeout").and_then(|node| node.duration(TIMEOUT, report));
    settings.attempts = fields.get("attempts").and_then(|node| node.integer(ATTEMPTS, report));
    if settings.min > settings.max {
        let node = fields.get("max").or_else(|| fields.get("min")).unwrap_or(node);
        report
            .error(node.place, "`max` is less than `min`")
            .help("an answer is kept for a time between the two");
    }
    settings
}

/// Reads `expand`, beside the addresses it is for.
pub(super) fn check_expand(node: Node<'_>, addresses: &[Endpoint], report: &mut Report) -> Option<At<usize>> {
    let expand = node.integer(EXPAND, report)?;
    if !addresses.is_empty() && addresses.iter().all(|endpoint| endpoint.target.question().is_none()) {
        report
            .error(node.place, "`expand` without a name")
            .help("an address in numbers is one server: leave it out");
        return None;
    }
    Some(At { value: expand, place: node.place })
}

fn check_servers(node: Node<'_>, report: &mut Report) -> Vec<SocketAddr> {
    let written = node.strings(report);
    if written.len() > SERVERS {
        report.error(node.place, format!("more than {SERVERS} servers"));
    }
    if written.is_empty() && node.items().is_some_and(|items| items.is_empty()) {
        report.error(node.place, "`servers` is empty").help("leave it out to ask those of /etc/resolv.conf");
    }
    written.into_iter().filter_map(|text| check_server(text, report)).collect()
}

fn check_server(text: At<&str>, report: &mut Report) -> Option<SocketAddr> {
    let alone = || text.value.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    let server = text.value.parse::<SocketAddr>().or_else(|_| alone()).ok();
    let server = server.filter(|server| server.port() != 0 && !server.ip().is_unspecified());
    if server.is_none() {
        report.error(text.place, format!("{:?} is not the address of a name server", text.value)).help(
            "write an IP address, with or without a port, as in \"192.0.2.53\" or \"[2001:db8::53]:5353\"",
        );
    }
    server
}

/// What the loader found out about a name: until when its answer is in time. None where there is no answer, or only what
/// was known before.
#[derive(Clone, Debug)]
pub struct Kept {
    pub watch: Arc<Watch>,
    pub until: Option<Instant>,
}

/// Fills the places of `watches` as far as answers come in a short time; tells which names have none. Those that have
/// addresses from the configuration before go on with them: it may stay the one that applies.
pub(super) fn first_answers(
    resolver: &Arc<Resolver>,
    watches: Vec<(Arc<Watch>, Place)>,
    report: &mut Report,
) -> Vec<Kept> {
    let mut questions: Vec<Question> = Vec::new();
    let mut places = HashMap::new();
    // What an earlier configuration knew is good enough to begin with, and is asked for anew right after.
    let known = |watch: &Watch| resolver.known(&watch.question).map(|found| watch.take(&found));
    for (watch, _) in &watches {
        if watch.is_usable() || known(watch).is_some() {
            continue;
        }
        places.entry(watch.question.clone()).or_insert_with(|| {
            questions.push(watch.question.clone());
            questions.len() - 1
        });
    }
    let answers = ask(resolver, questions);
    let keep = |(watch, place): (Arc<Watch>, Place)| {
        let Some(index) = places.get(&watch.question) else { return Kept { watch, until: None } };
        let until = match answers.get(index) {
            Some(Ok(answer)) => {
                watch.take(&answer.found);
                Some(answer.until)
            }
            failed => {
                let why = match failed {
                    Some(Err(why)) => why.to_string(),
                    _ => "no answer yet".to_owned(),
                };
                let name = watch.question.name();
                report
                    .warning(place, format!("cannot resolve {name:?}: {why}"))
                    .help("the daemon serves without it, and asks again until there is an answer");
                None
            }
        };
        Kept { watch, until }
    };
    watches.into_iter().map(keep).collect()
}

/// The answers that come in time, by the places of the questions.
fn ask(
    resolver: &Arc<Resolver>,
    questions: Vec<Question>,
) -> HashMap<usize, Result<Answer<Targets>, Failure>> {
    let until = clock() + FIRST_ANSWERS;
    let mut answers = HashMap::new();
    let open: Arc<[Question]> = questions.into();
    let (sender, receiver) = mpsc::channel();
    let next = Arc::new(AtomicUsize::new(0));
    for number in 0..open.len().min(THREADS) {
        let (resolver, sender) = (Arc::clone(resolver), sender.clone());
        let (open, next) = (Arc::clone(&open), Arc::clone(&next));
        let work = move || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(question) = open.get(index) else { break };
                let answer = resolver.answer(question, Take::Kept, until);
                if sender.send((index, answer)).is_err() {
                    // The loader has gone on without us.
                    break;
                }
            }
        };
        // Nobody waits for their end: the system's resolver may hang for long. Fewer threads are slower, that is all.
        let _detached = thread::Builder::new().name(format!("first-{number}")).spawn(work);
    }
    drop(sender);
    for _ in 0..open.len() {
        let patience = until.saturating_duration_since(clock());
        // Too late, or every thread has ended.
        let Ok((index, answer)) = receiver.recv_timeout(patience) else { break };
        answers.insert(index, answer);
    }
    answers
}

fn clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a few times per load, on a thread that waits for the network"
    )]
    Instant::now()
}
