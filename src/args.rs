// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: from words to a [`Command`]. Pure; nothing is read, written or started here.

use crate::config::nearest;
use getopts::{Fail, Matches, Options};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// The configuration file unless `-c` names another.
pub const DEFAULT_CONFIG: &str = "/etc/tunnel/tunnel.conf";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Print [`usage`] and exit 0.
    Help,
    /// Print the version and exit 0; `verbose` adds features, libraries and limits.
    Version { verbose: bool },
    /// Load the configuration, print every error, exit 0 or 78.
    Check { config: PathBuf, quiet: bool },
    /// As [`Self::Check`], and print the effective configuration.
    Dump { config: PathBuf, quiet: bool },
    /// Print [`explain_usage`] and exit 0.
    ExplainHelp,
    /// Answer from the configuration what would become of a client.
    Explain(Explain),
    /// Serve.
    Run(Run),
}

/// What `tunnel explain` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    pub config: PathBuf,
    pub service: String,
    /// Where the client comes from; none: on no network the configuration names.
    pub source: Option<IpAddr>,
    /// The name it asks for in its TLS hello; as typed.
    pub sni: Option<String>,
    /// The name it asks for in its HTTP request; as typed.
    pub host: Option<String>,
    /// The protocols it offers, in its order.
    pub alpn: Vec<String>,
    pub json: bool,
}

/// How to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub config: PathBuf,
    /// Go to the background once everything is bound.
    pub daemon: bool,
    /// Where to write the process id.
    pub pidfile: Option<PathBuf>,
    /// Print errors only.
    pub quiet: bool,
}

/// A command line that makes no sense; the text says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// `EX_USAGE` of sysexits.h(3head).
    pub const EXIT: u8 = 64;
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Short and long names, the placeholder of the argument if there is one, and what the option does.
const OPTIONS: [(&str, &str, Option<&str>, &str); 9] = [
    ("c", "config", Some("FILE"), "configuration file (default /etc/tunnel/tunnel.conf)"),
    ("t", "check", None, "check the configuration and everything it names, then exit"),
    ("T", "dump", None, "check, and print the effective configuration"),
    ("D", "daemon", None, "go to the background once everything is bound"),
    ("p", "pidfile", Some("FILE"), "write the process id to FILE"),
    ("q", "quiet", None, "print errors only"),
    ("v", "version", None, "print the version"),
    ("V", "verbose-version", None, "print version, features, TLS library and limits"),
    ("h", "help", None, "print this text"),
];

/// The same for `tunnel explain`. Those of [`REPEATED`] may be given several times.
const EXPLAIN_OPTIONS: [(&str, &str, Option<&str>, &str); 8] = [
    ("c", "config", Some("FILE"), "configuration file (default /etc/tunnel/tunnel.conf)"),
    ("s", "service", Some("NAME"), "the service the client connects to"),
    ("", "source", Some("ADDRESS"), "where the client comes from"),
    ("", "sni", Some("NAME"), "the name it asks for in its TLS hello"),
    ("", "host", Some("NAME"), "the name it asks for in its HTTP request"),
    ("", "alpn", Some("PROTOCOL"), "a protocol it offers; may be repeated"),
    ("", "json", None, "answer in JSON"),
    ("h", "help", None, "print this text"),
];

const REPEATED: &str = "alpn";

fn options(table: &[(&str, &str, Option<&str>, &str)]) -> Options {
    let mut options = Options::new();
    for (short, long, argument, description) in table {
        match argument {
            Some(hint) if *long == REPEATED => options.optmulti(short, long, description, hint),
            Some(hint) => options.optopt(short, long, description, hint),
            None => options.optflag(short, long, description),
        };
    }
    options
}

/// What `-h` prints.
pub fn usage() -> String {
    let exits =
        "Exit status: 0 success, 64 wrong command line, 78 wrong configuration; others in tunnel(8).\n";
    let brief =
        "Usage: tunnel [-c FILE] [-t | -T] [-D] [-p FILE] [-q]\n       tunnel explain -s NAME [OPTION]…";
    format!("{}\n{exits}", options(&OPTIONS).usage(brief))
}

/// What `explain -h` prints.
pub fn explain_usage() -> String {
    options(&EXPLAIN_OPTIONS).usage(
        "Usage: tunnel explain [-c FILE] -s NAME [--source ADDRESS] [--sni NAME | --host NAME] [--alpn PROTOCOL]… [--json]\n\n\
         Answers from the configuration, without traffic: which rules, route, certificate, servers and timeouts\n\
         apply to a client, and why others do not.",
    )
}

impl Command {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// The first thing that is wrong, in one line.
    pub fn parse(words: &[String]) -> Result<Self, UsageError> {
        if let Some(("explain", rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
            return Self::parse_explain(rest);
        }
        let matches = options(&OPTIONS).parse(words).map_err(|fail| explain(&fail, &OPTIONS, "tunnel -h"))?;
        if matches.opt_present("h") {
            return Ok(Self::Help);
        }
        if matches.opt_present("v") || matches.opt_present("V") {
            return Ok(Self::Version { verbose: matches.opt_present("V") });
        }
        if let Some(word) = matches.free.first() {
            return Err(UsageError(format!(
                "unexpected argument {word:?}; a configuration file is named with -c"
            )));
        }
        let config = file(&matches, "c")?.unwrap_or_else(|| DEFAULT_CONFIG.into());
        let pidfile = file(&matches, "p")?;
        let quiet = matches.opt_present("q");
        // -D and -p are no error beside -t: scripts pass the options of the service as they are.
        match (matches.opt_present("t"), matches.opt_present("T")) {
            (true, true) => Err(UsageError("options -t and -T exclude each other; -T checks too".to_owned())),
            (true, false) => Ok(Self::Check { config, quiet }),
            (false, true) => Ok(Self::Dump { config, quiet }),
            (false, false) => Ok(Self::Run(Run { config, daemon: matches.opt_present("D"), pidfile, quiet })),
        }
    }
}

impl Command {
    fn parse_explain(words: &[String]) -> Result<Self, UsageError> {
        let matches = options(&EXPLAIN_OPTIONS)
            .parse(words)
            .map_err(|fail| explain(&fail, &EXPLAIN_OPTIONS, "tunnel explain -h"))?;
        if matches.opt_present("h") {
            return Ok(Self::ExplainHelp);
        }
        if let Some(word) = matches.free.first() {
            return Err(UsageError(format!("unexpected argument {word:?}; see tunnel explain -h")));
        }
        let Some(service) = matches.opt_str("s") else {
            return Err(UsageError("explain needs --service; see tunnel explain -h".to_owned()));
        };
        let source = matches.opt_str("source").map(|text| {
            let bad = |_| UsageError(format!("{text:?} after --source is not an IP address"));
            text.parse::<IpAddr>().map_err(bad)
        });
        let (sni, host) = (matches.opt_str("sni"), matches.opt_str("host"));
        if sni.is_some() && host.is_some() {
            return Err(UsageError("options --sni and --host exclude each other".to_owned()));
        }
        Ok(Self::Explain(Explain {
            config: file(&matches, "c")?.unwrap_or_else(|| DEFAULT_CONFIG.into()),
            service,
            source: source.transpose()?,
            sni,
            host,
            alpn: matches.opt_strs("alpn"),
            json: matches.opt_present("json"),
        }))
    }
}

/// The argument of an option that takes a file.
fn file(matches: &Matches, option: &str) -> Result<Option<PathBuf>, UsageError> {
    match matches.opt_str(option) {
        Some(path) if path.is_empty() => Err(UsageError(format!("option -{option} needs a file, not \"\""))),
        path => Ok(path.map(PathBuf::from)),
    }
}

fn explain(fail: &Fail, table: &[(&str, &str, Option<&str>, &str)], help: &str) -> UsageError {
    let dashed =
        |name: &str| if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") };
    UsageError(match fail {
        Fail::ArgumentMissing(name) => format!("option {} needs an argument", dashed(name)),
        Fail::OptionDuplicated(name) => format!("option {} is given more than once", dashed(name)),
        Fail::UnexpectedArgument(name) => format!("option {} takes no argument", dashed(name)),
        Fail::OptionMissing(name) => format!("option {} is missing", dashed(name)),
        Fail::UnrecognizedOption(name) => {
            // Control characters must not reach the terminal.
            let shown = dashed(&name.escape_debug().to_string());
            match nearest(name, table.iter().map(|option| option.1)).filter(|_| name.chars().count() > 1) {
                Some(near) => format!("unknown option {shown}; did you mean --{near}?"),
                None => format!("unknown option {shown}; see {help}"),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Command::parse(&words).map_err(|error| error.to_string())
    }

    fn run() -> Run {
        Run { config: DEFAULT_CONFIG.into(), daemon: false, pidfile: None, quiet: false }
    }

    #[test]
    fn good_command_lines_are_understood() {
        let file = || PathBuf::from("x.conf");
        let default = || PathBuf::from(DEFAULT_CONFIG);
        for (line, command) in [
            ("", Command::Run(run())),
            ("-c x.conf", Command::Run(Run { config: file(), ..run() })),
            ("-cx.conf", Command::Run(Run { config: file(), ..run() })),
            ("--config=x.conf", Command::Run(Run { config: file(), ..run() })),
            ("--config x.conf -q", Command::Run(Run { config: file(), quiet: true, ..run() })),
            ("-Dp x.conf", Command::Run(Run { daemon: true, pidfile: Some(file()), ..run() })),
            ("--daemon --pidfile x.conf", Command::Run(Run { daemon: true, pidfile: Some(file()), ..run() })),
            ("-t", Command::Check { config: default(), quiet: false }),
            ("-qtc x.conf", Command::Check { config: file(), quiet: true }),
            ("-D -p x.conf -t", Command::Check { config: default(), quiet: false }),
            ("--check", Command::Check { config: default(), quiet: false }),
            ("-T", Command::Dump { config: default(), quiet: false }),
            ("--dump -q", Command::Dump { config: default(), quiet: true }),
            ("-v", Command::Version { verbose: false }),
            ("--version", Command::Version { verbose: false }),
            ("-V", Command::Version { verbose: true }),
            ("-v --verbose-version", Command::Version { verbose: true }),
            ("-h -t -T stray", Command::Help),
            ("--help", Command::Help),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn bad_command_lines_are_refused_by_name() {
        for (line, message) in [
            ("-x", "unknown option -x; see tunnel -h"),
            ("-tx", "unknown option -x; see tunnel -h"),
            ("--cofnig x", "unknown option --cofnig; did you mean --config?"),
            ("--zebra", "unknown option --zebra; see tunnel -h"),
            ("--a\u{1b}[2J", "unknown option --a\\u{1b}[2J; see tunnel -h"),
            ("-c", "option -c needs an argument"),
            ("--pidfile", "option --pidfile needs an argument"),
            ("-c a -c b", "option --config is given more than once"),
            ("--daemon=yes", "option --daemon takes no argument"),
            ("-t -T", "options -t and -T exclude each other; -T checks too"),
            ("x.conf", "unexpected argument \"x.conf\"; a configuration file is named with -c"),
            ("-t -- -T", "unexpected argument \"-T\"; a configuration file is named with -c"),
            ("--config=", "option -c needs a file, not \"\""),
        ] {
            assert_eq!(parse(line), Err(message.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_usage_fits_a_screen_and_names_every_option() {
        let usage = usage();
        assert!(usage.lines().count() <= 40 && usage.lines().all(|line| line.len() <= 100), "{usage}");
        for (short, long, argument, _) in OPTIONS {
            assert!(usage.contains(&format!("-{short}, --{long}")), "{long}");
            assert!(argument.is_none_or(|hint| usage.contains(&format!("--{long} {hint}"))), "{long}");
        }
        assert!(usage.contains(DEFAULT_CONFIG));
    }
}
