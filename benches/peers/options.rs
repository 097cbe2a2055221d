// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line.
//!
//! Invariant: an `Options` names only scenarios and peers that exist, and its numbers are positive.

use std::time::Duration;

use getopts::Matches;

use super::Fallible;
use super::configs::CONNECTIONS;
use super::peers::{PEERS, Peer};
use super::scenarios::{SCENARIOS, Scenario};

/// What to run, and how long.
#[derive(Debug)]
pub(super) struct Options {
    /// In the table's order.
    pub(super) scenarios: Vec<&'static Scenario>,
    /// In the table's order.
    pub(super) peers: Vec<&'static Peer>,
    /// Repetitions of every figure.
    pub(super) reps: usize,
    /// Length of a run that is measured by time.
    pub(super) length: Duration,
    /// Payload of a TLS bulk run; plain TCP moves twice as much, being cheaper.
    pub(super) bytes: u64,
    /// Connections of idle-mem.
    pub(super) idle: usize,
    /// What a scenario may use before it stops repeating: its share of the whole run's time.
    pub(super) share: Duration,
    /// Only list what there is.
    pub(super) list: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// Run this.
    Run(Box<Options>),
    /// Print this and end well.
    Print(String),
}

/// Reads the arguments behind the program's name.
pub(super) fn parse(words: &[String]) -> Fallible<Request> {
    let mut grammar = getopts::Options::new();
    grammar
        .optopt("", "peers", "only these peers, comma-separated", "NAMES")
        .optopt("", "reps", "repetitions of every figure (3)", "N")
        .optopt("", "secs", "length of runs measured by time, in seconds (2)", "S")
        .optopt("", "gb", "payload of a TLS bulk run, in units of 10^9 bytes (1.5)", "G")
        .optopt("", "minutes", "stop repeating a scenario that has used its share of this time (15)", "M")
        .optopt("", "idle", "connections of idle-mem (2000)", "N")
        .optflag("", "quick", "one short repetition: a smoke test, no basis for claims")
        .optflag("", "list", "list scenarios and peers")
        .optflag("h", "help", "print this")
        // cargo adds this one for `cargo bench`.
        .optflag("", "bench", "");
    let matches = grammar.parse(words)?;
    if matches.opt_present("help") {
        return Ok(Request::Print(
            grammar.usage("Usage: cargo bench --bench peers -- [OPTIONS] [SCENARIO...]"),
        ));
    }
    if !matches.opt_present("bench") {
        return Ok(Request::Print("peers: nothing is measured without `cargo bench`\n".into()));
    }
    Ok(Request::Run(Box::new(read(&matches)?)))
}

fn read(matches: &Matches) -> Fallible<Options> {
    let quick = matches.opt_present("quick");
    let seconds = number(matches, "secs", if quick { 0.8 } else { 2.0 })?;
    let gigabytes = number(matches, "gb", if quick { 0.5 } else { 1.5 })?;
    let idle = whole(matches, "idle", if quick { 1000 } else { 2000 })?;
    if idle > CONNECTIONS {
        return Err(format!("--idle: at most {CONNECTIONS}").into());
    }
    let scenarios = pick(SCENARIOS, &matches.free, |scenario| scenario.name)?;
    let minutes = number(matches, "minutes", 15.0)?;
    let peers = matches.opt_str("peers");
    let peers: Vec<String> = peers.iter().flat_map(|names| names.split(',')).map(String::from).collect();
    Ok(Options {
        share: Duration::from_secs_f64(minutes * 60.0 / scenarios.len() as f64),
        scenarios,
        peers: pick(PEERS, &peers, |peer| peer.name)?,
        reps: whole(matches, "reps", if quick { 1 } else { 3 })?,
        length: Duration::from_secs_f64(seconds),
        // Through a duration, which is how std turns a fraction into an integer: one billionth is one byte.
        bytes: u64::try_from(Duration::from_secs_f64(gigabytes).as_nanos())?,
        idle,
        list: matches.opt_present("list"),
    })
}

/// The entries of a table that `names` names, in the table's order; all if `names` is empty.
fn pick<T>(table: &'static [T], names: &[String], name_of: fn(&T) -> &str) -> Fallible<Vec<&'static T>> {
    for name in names {
        if !table.iter().any(|entry| name_of(entry) == name) {
            let known: Vec<&str> = table.iter().map(name_of).collect();
            return Err(format!("{name}: unknown; there are {}", known.join(", ")).into());
        }
    }
    let wanted = |entry: &&T| names.is_empty() || names.iter().any(|name| name_of(entry) == name);
    Ok(table.iter().filter(wanted).collect())
}

/// A number greater than 0 and not beyond reason.
fn number(matches: &Matches, option: &str, default: f64) -> Fallible<f64> {
    let number = matches.opt_get_default(option, default).map_err(|error| format!("--{option}: {error}"))?;
    if number > 0.0 && number <= 1000.0 {
        return Ok(number);
    }
    Err(format!("--{option}: must be above 0 and at most 1000").into())
}

/// A whole number greater than 0.
fn whole(matches: &Matches, option: &str, default: usize) -> Fallible<usize> {
    let number = matches.opt_get_default(option, default).map_err(|error| format!("--{option}: {error}"))?;
    if number > 0 { Ok(number) } else { Err(format!("--{option}: must be above 0").into()) }
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Fallible<Options> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        match parse(&words)? {
            Request::Run(options) => Ok(*options),
            Request::Print(text) => Err(text.into()),
        }
    }

    #[test]
    fn everything_runs_by_default() {
        let options = parsed("--bench").unwrap();
        assert_eq!(options.scenarios.len(), SCENARIOS.len());
        assert_eq!(options.peers.len(), PEERS.len());
        assert_eq!(options.bytes, 1_500_000_000);
    }

    #[test]
    fn scenarios_and_peers_can_be_picked() {
        let options = parsed("bulk-up --peers hitch,tunnel --gb 0.5 --reps 7 --bench").unwrap();
        assert_eq!(options.scenarios.iter().map(|scenario| scenario.name).collect::<Vec<_>>(), ["bulk-up"]);
        assert_eq!(options.peers.iter().map(|peer| peer.name).collect::<Vec<_>>(), ["tunnel", "hitch"]);
        assert_eq!((options.bytes, options.reps), (500_000_000, 7));
        assert_eq!(options.share, Duration::from_secs(15 * 60));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("bulk-sideways --bench", "bulk-sideways"),
            ("--peers apache --bench", "apache"),
            ("--reps 0 --bench", "--reps"),
            ("--gb -1 --bench", "--gb"),
            ("--secs NaN --bench", "--secs"),
            ("--minutes 0 --bench", "--minutes"),
            ("--idle 1000000 --bench", "--idle"),
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn nothing_is_measured_by_cargo_test() {
        assert!(parsed("").unwrap_err().to_string().contains("cargo bench"));
    }
}
