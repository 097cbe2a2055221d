// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command line: from words to a [`Request`]. Pure; nothing is read, written or asked here.
//!
//! [`COMMANDS`] is the one list of what there is: the usage, the completion and the manual are held to it.

use getopts::{Fail, Matches, Options, ParsingStyle};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tunnel::config::nearest;
use tunnel::connection::view::STATES;
use tunnel::log::Level;

/// What the command line asks for, and of whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) socket: Option<PathBuf>,
    /// None: the default, which need not exist.
    pub(crate) config: Option<PathBuf>,
    pub(crate) command: Command,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Print this and exit 0.
    Help(String),
    Version,
    Status {
        json: bool,
    },
    Show(Show),
    Connections(Connections),
    Top(Top),
    Kill(Vec<u64>),
    Drain,
    Reload,
    LogLevel(String),
    /// `name` is SERVICE/SERVER.
    Server {
        name: String,
        state: &'static str,
    },
    Explain(tunnel::args::Command),
}

/// Tables of what changes slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Services,
    Routes,
    Listeners,
    Servers,
    Workers,
    Certificates,
    Errors,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Show {
    pub(crate) subject: Subject,
    pub(crate) json: bool,
    pub(crate) order: Order,
}

/// By which column rows are sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) column: Option<String>,
    pub(crate) reverse: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Connections {
    /// Word of the command and value: `service`, `web`.
    pub(crate) filters: Vec<(&'static str, String)>,
    pub(crate) limit: Option<u64>,
    pub(crate) order: Order,
    pub(crate) json: bool,
    pub(crate) follow: bool,
    pub(crate) interval: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    /// Offers nothing that changes something.
    pub(crate) read_only: bool,
    pub(crate) interval: Duration,
}

/// A command: its name, its arguments as the usage shows them, and what it does.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    arguments: &'static str,
    does: &'static str,
    options: &'static [Choice],
}

/// Short and long names, the placeholder of the argument if there is one, and what the option does.
type Choice = (&'static str, &'static str, Option<&'static str>, &'static str);

const GLOBAL: &[Choice] = &[
    ("s", "socket", Some("SOCKET"), "the daemon's control socket (default: what the configuration says)"),
    ("c", "config", Some("FILE"), "configuration file (default /etc/tunnel/tunnel.conf)"),
    ("v", "version", None, "print the version"),
    HELP,
];
const HELP: Choice = ("h", "help", None, "print this text");
const JSON: Choice = ("", "json", None, "the daemon's answer as it is, for programs");
const SORT: Choice = ("", "sort", Some("COLUMN"), "sort by that column; numbers begin with the greatest");
const REVERSE: Choice = ("r", "reverse", None, "the other way around");
const INTERVAL: Choice = ("i", "interval", Some("SECONDS"), "look anew that often (default 2)");

const TABLE: &[Choice] = &[SORT, REVERSE, JSON, HELP];
const CONNECTIONS: &[Choice] = &[
    ("", "service", Some("NAME"), "of that service"),
    ("", "route", Some("NAME"), "on that route"),
    ("", "client", Some("ADDRESS"), "whose client's address begins so"),
    ("", "name", Some("PART"), "that asked for a name with this in it"),
    ("", "server", Some("ADDRESS"), "whose server's address begins so"),
    ("", "state", Some("STATE"), "in that state"),
    ("n", "limit", Some("NUMBER"), "no more than that many"),
    SORT,
    REVERSE,
    ("f", "follow", None, "print connections as they begin (+) and end (-)"),
    INTERVAL,
    JSON,
    HELP,
];
const TOP: &[Choice] =
    &[("n", "read-only", None, "change nothing: no key ends a connection"), INTERVAL, HELP];
const PLAIN: &[Choice] = &[HELP];

/// Those of [`CONNECTIONS`] that are words of the daemon's command.
const FILTERS: [&str; 6] = ["service", "route", "client", "name", "server", "state"];

/// Every command there is.
pub(crate) const COMMANDS: &[Entry] = &[
    entry("status", "", "how the daemon is: problems first", &[JSON, HELP]),
    entry("services", "", "the services and what passes through them", TABLE),
    entry("routes", "", "the routes of the services", TABLE),
    entry("listeners", "", "the addresses that are listened on, and who waits there", TABLE),
    entry("connections", "", "the connections there are", CONNECTIONS),
    entry("servers", "", "the servers behind, and what was seen of them", TABLE),
    entry("workers", "", "the worker threads and what they are doing", TABLE),
    entry("certificates", "", "certificates, revocation lists and keys, and when they end", TABLE),
    entry("errors", "", "the latest connections that failed, and why", TABLE),
    entry("top", "", "all of it on a full screen, live", TOP),
    entry("kill", "ID…", "end connections", PLAIN),
    entry("drain", "", "accept no more clients, and end with the last connection", PLAIN),
    entry("reload", "", "load the configuration anew; says what came of it", PLAIN),
    entry("log-level", "LEVEL", "log lines from that level on", PLAIN),
    entry("server", "SERVICE/SERVER STATE", "take a server out (drain, maint) or in (ready)", PLAIN),
    entry("explain", "ARGUMENT…", "what would become of a client; as `tunnel explain`", PLAIN),
    entry("help", "[COMMAND]", "print this text, or that of a command", PLAIN),
];

const fn entry(
    name: &'static str,
    arguments: &'static str,
    does: &'static str,
    options: &'static [Choice],
) -> Entry {
    Entry { name, arguments, does, options }
}

/// States an operator can put a server in.
const MARKS: [&str; 3] = ["ready", "drain", "maint"];

/// How often is looked, if nothing is said.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(2);

/// A command line that makes no sense; the text says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn wrong<T>(text: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(text.into()))
}

/// What `-h` prints.
pub(crate) fn usage() -> String {
    let mut text = options(GLOBAL).usage("Usage: tunnelctl [-s SOCKET] [-c FILE] COMMAND [OPTION]…");
    text.push_str("\nCommands:\n");
    for entry in COMMANDS {
        let name = format!("{} {}", entry.name, entry.arguments);
        text.push_str(&format!("    {name:<28}{}\n", entry.does));
    }
    text.push_str(
        "\nExit status: 0 success, 1 refused by the daemon, 64 wrong command line, 69 no daemon there,\n\
         77 permission denied; others in tunnelctl(1). `tunnelctl help COMMAND` tells more.\n",
    );
    text
}

/// What `help COMMAND` prints.
fn usage_of(entry: &Entry) -> String {
    let arguments = format!("{} {}", entry.name, entry.arguments);
    let brief = format!("Usage: tunnelctl {} [OPTION]…\n\n{}.", arguments.trim_end(), capital(entry.does));
    options(entry.options).usage(&brief)
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}

fn options(table: &[Choice]) -> Options {
    let mut options = Options::new();
    for (short, long, argument, description) in table {
        match argument {
            Some(hint) => options.optopt(short, long, description, hint),
            None => options.optflag(short, long, description),
        };
    }
    options
}

impl Request {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// The first thing that is wrong, in one line.
    pub(crate) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let matches = options(GLOBAL)
            .parsing_style(ParsingStyle::StopAtFirstFree)
            .parse(words)
            .map_err(|fail| explain(&fail, GLOBAL, "tunnelctl -h"))?;
        let of = |command| Ok(Self { socket: None, config: None, command });
        if matches.opt_present("h") {
            return of(Command::Help(usage()));
        }
        if matches.opt_present("v") {
            return of(Command::Version);
        }
        let (socket, config) = (file(&matches, "s")?, file(&matches, "c")?);
        let Some((name, rest)) = matches.free.split_first() else {
            return wrong("a command is missing; see tunnelctl -h");
        };
        let command = if name == "explain" {
            explain_words(config.as_ref(), rest)?
        } else {
            Command::parse(find(name)?, rest)?
        };
        Ok(Self { socket, config, command })
    }
}

/// The command of that name.
fn find(name: &str) -> Result<&'static Entry, UsageError> {
    if let Some(entry) = COMMANDS.iter().find(|entry| entry.name == name) {
        return Ok(entry);
    }
    let shown = name.escape_debug();
    match nearest(name, COMMANDS.iter().map(|entry| entry.name)) {
        Some(near) => wrong(format!("unknown command \"{shown}\"; did you mean {near}?")),
        None => wrong(format!("unknown command \"{shown}\"; see tunnelctl -h")),
    }
}

/// The rest of `explain` belongs to another program, whose words it understands; `-c` of ours is its.
fn explain_words(config: Option<&PathBuf>, rest: &[String]) -> Result<Command, UsageError> {
    let mut words = vec!["explain".to_owned()];
    if let Some(config) = config {
        words.extend(["-c".to_owned(), config.display().to_string()]);
    }
    words.extend_from_slice(rest);
    let command = tunnel::args::Command::parse(&words);
    command.map(Command::Explain).map_err(|error| UsageError(error.to_string()))
}

impl Command {
    fn parse(entry: &'static Entry, words: &[String]) -> Result<Self, UsageError> {
        let help = format!("tunnelctl help {}", entry.name);
        let matches =
            options(entry.options).parse(words).map_err(|fail| explain(&fail, entry.options, &help))?;
        if matches.opt_present("h") {
            return Ok(Self::Help(usage_of(entry)));
        }
        if entry.arguments.is_empty() {
            if let Some(word) = matches.free.first() {
                return wrong(format!("unexpected argument {word:?}; see {help}"));
            }
        }
        let show = |subject| {
            Ok(Self::Show(Show { subject, json: matches.opt_present("json"), order: order(&matches)? }))
        };
        match entry.name {
            "status" => Ok(Self::Status { json: matches.opt_present("json") }),
            "services" => show(Subject::Services),
            "routes" => show(Subject::Routes),
            "listeners" => show(Subject::Listeners),
            "servers" => show(Subject::Servers),
            "workers" => show(Subject::Workers),
            "certificates" => show(Subject::Certificates),
            "errors" => show(Subject::Errors),
            "connections" => connections(&matches).map(Self::Connections),
            "top" => {
                let read_only = matches.opt_present("n");
                Ok(Self::Top(Top { read_only, interval: interval(&matches)? }))
            }
            "kill" => kill(&matches.free),
            "drain" => Ok(Self::Drain),
            "reload" => Ok(Self::Reload),
            "log-level" => match matches.free.as_slice() {
                [level] if Level::from_name(level).is_some() => Ok(Self::LogLevel(level.clone())),
                [level] => wrong(format!("{level:?} is no level; there are {}", Level::NAMES.join(", "))),
                _ => wrong(format!("log-level needs one level of {}", Level::NAMES.join(", "))),
            },
            "server" => server(&matches.free),
            // "help" is what is left.
            _ => match matches.free.as_slice() {
                [] => Ok(Self::Help(usage())),
                [name] => Ok(Self::Help(match find(name)? {
                    entry if entry.name == "explain" => tunnel::args::explain_usage(),
                    entry => usage_of(entry),
                })),
                _ => wrong("help takes one command"),
            },
        }
    }
}

fn connections(matches: &Matches) -> Result<Connections, UsageError> {
    let mut filters = Vec::new();
    for name in FILTERS {
        if let Some(value) = matches.opt_str(name) {
            if name == "state" && !STATES.contains(&value.as_str()) {
                return wrong(format!("{value:?} is no state; there are {}", STATES.join(", ")));
            }
            filters.push((name, word(&format!("the value of --{name}"), &value)?));
        }
    }
    let asked = Connections {
        filters,
        limit: matches.opt_str("limit").map(|text| number("--limit", &text)).transpose()?,
        order: order(matches)?,
        json: matches.opt_present("json"),
        follow: matches.opt_present("follow"),
        interval: interval(matches)?,
    };
    if asked.follow && (asked.json || asked.limit.is_some() || asked.order.column.is_some()) {
        return wrong("--follow cannot be combined with --json, --limit or --sort");
    }
    Ok(asked)
}

fn kill(words: &[String]) -> Result<Command, UsageError> {
    if words.is_empty() {
        return wrong("kill needs the numbers of connections; `tunnelctl connections` shows them");
    }
    words.iter().map(|word| number("kill", word)).collect::<Result<_, _>>().map(Command::Kill)
}

fn server(words: &[String]) -> Result<Command, UsageError> {
    let [name, state] = words else {
        return wrong("server needs a name and a state, as in: tunnelctl server web/192.0.2.1:443 drain");
    };
    let Some(state) = MARKS.into_iter().find(|mark| mark == state) else {
        return wrong(format!("{state:?} is no state of a server; there are {}", MARKS.join(", ")));
    };
    if !name.contains('/') {
        return wrong(format!(
            "{name:?} names no server; write SERVICE/SERVER, as `tunnelctl servers` shows them"
        ));
    }
    Ok(Command::Server { name: word("the server's name", name)?, state })
}

fn order(matches: &Matches) -> Result<Order, UsageError> {
    let column = matches.opt_str("sort").map(|column| word("the value of --sort", &column)).transpose()?;
    Ok(Order { column, reverse: matches.opt_present("reverse") })
}

fn interval(matches: &Matches) -> Result<Duration, UsageError> {
    let Some(text) = matches.opt_str("interval") else { return Ok(INTERVAL_DEFAULT) };
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    match seconds {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => wrong(format!("--interval takes 0.1 to 3600 seconds, not {text:?}")),
    }
}

fn number(what: &str, text: &str) -> Result<u64, UsageError> {
    text.parse().or_else(|_| wrong(format!("{what} takes a number, not {text:?}")))
}

/// A value that can be written into a command: whatever does not end the line.
fn word(what: &str, text: &str) -> Result<String, UsageError> {
    if text.is_empty() || text.contains(char::is_control) {
        return wrong(format!("{what} must be a word without control characters, not {text:?}"));
    }
    Ok(text.to_owned())
}

/// The argument of an option that takes a file.
fn file(matches: &Matches, option: &str) -> Result<Option<PathBuf>, UsageError> {
    match matches.opt_str(option) {
        Some(path) if path.is_empty() => wrong(format!("option -{option} needs a file, not \"\"")),
        path => Ok(path.map(PathBuf::from)),
    }
}

fn explain(fail: &Fail, table: &[Choice], help: &str) -> UsageError {
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

    fn parse(line: &str) -> Result<Request, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Request::parse(&words).map_err(|error| error.to_string())
    }

    fn command(line: &str) -> Command {
        parse(line).unwrap().command
    }

    #[test]
    fn good_command_lines_are_understood() {
        let plain = |subject| Command::Show(Show { subject, json: false, order: Order::default() });
        for (line, wanted) in [
            ("status", Command::Status { json: false }),
            ("status --json", Command::Status { json: true }),
            ("services", plain(Subject::Services)),
            ("errors", plain(Subject::Errors)),
            ("kill 7 8", Command::Kill(vec![7, 8])),
            ("drain", Command::Drain),
            ("reload", Command::Reload),
            ("log-level debug", Command::LogLevel("debug".into())),
            ("server web/a:1 drain", Command::Server { name: "web/a:1".into(), state: "drain" }),
            ("top -n -i 0.5", Command::Top(Top { read_only: true, interval: Duration::from_millis(500) })),
            ("-v", Command::Version),
            ("help", Command::Help(usage())),
            ("-h nonsense", Command::Help(usage())),
        ] {
            assert_eq!(command(line), wanted, "{line}");
        }
        let order = Order { column: Some("active".into()), reverse: true };
        let servers = Show { subject: Subject::Servers, json: true, order };
        assert_eq!(command("servers --sort active -r --json"), Command::Show(servers));
        let request = parse("-s x.sock --config y.conf drain").unwrap();
        assert_eq!((request.socket, request.config), (Some("x.sock".into()), Some("y.conf".into())));
    }

    #[test]
    fn filters_become_words_of_the_command() {
        let Command::Connections(asked) =
            command("connections --service web --client 192.0.2. --state connected -n 5")
        else {
            panic!("another command");
        };
        let filters: Vec<_> = asked.filters.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(filters, ["service web", "client 192.0.2.", "state connected"]);
        assert_eq!((asked.limit, asked.interval), (Some(5), INTERVAL_DEFAULT));
    }

    #[test]
    fn explain_is_the_other_program_s() {
        let Command::Explain(tunnel::args::Command::Explain(asked)) =
            command("-c x.conf explain -s web --sni a.example")
        else {
            panic!("another command");
        };
        assert_eq!((asked.config, asked.service), (PathBuf::from("x.conf"), "web".to_owned()));
        assert!(matches!(command("explain -h"), Command::Explain(tunnel::args::Command::ExplainHelp)));
    }

    #[test]
    fn bad_command_lines_are_refused_by_name() {
        for (line, message) in [
            ("", "a command is missing; see tunnelctl -h"),
            ("conections", "unknown command \"conections\"; did you mean connections?"),
            ("a\u{1b}[2J", "unknown command \"a\\u{1b}[2J\"; see tunnelctl -h"),
            ("-x", "unknown option -x; see tunnelctl -h"),
            ("status --jsn", "unknown option --jsn; did you mean --json?"),
            ("status now", "unexpected argument \"now\"; see tunnelctl help status"),
            ("-s", "option -s needs an argument"),
            ("--socket= drain", "option -s needs a file, not \"\""),
            ("kill", "kill needs the numbers of connections; `tunnelctl connections` shows them"),
            ("kill x", "kill takes a number, not \"x\""),
            (
                "server web drain",
                "\"web\" names no server; write SERVICE/SERVER, as `tunnelctl servers` shows them",
            ),
            ("server web/a up", "\"up\" is no state of a server; there are ready, drain, maint"),
            ("connections -f --json", "--follow cannot be combined with --json, --limit or --sort"),
            ("top -i 0", "--interval takes 0.1 to 3600 seconds, not \"0\""),
            ("top -i NaN", "--interval takes 0.1 to 3600 seconds, not \"NaN\""),
            ("explain", "explain needs --service; see tunnel explain -h"),
            ("help zebra", "unknown command \"zebra\"; see tunnelctl -h"),
        ] {
            assert_eq!(parse(line), Err(message.to_owned()), "{line}");
        }
        let line_end = Request::parse(&["connections".into(), "--name=a\ndrain".into()]);
        assert!(line_end.unwrap_err().to_string().contains("a word without control characters"));
        assert!(parse("log-level loud").unwrap_err().starts_with("\"loud\" is no level; there are "));
        assert!(parse("log-level").unwrap_err().starts_with("log-level needs one level of "));
        assert!(
            parse("connections --state open")
                .unwrap_err()
                .starts_with("\"open\" is no state; there are new,")
        );
    }

    #[test]
    fn the_usage_fits_a_screen_and_every_command_has_one() {
        let whole = usage();
        assert!(
            whole.lines().count() <= 40 && whole.lines().all(|line| line.chars().count() <= 100),
            "{whole}"
        );
        for entry in COMMANDS {
            assert!(whole.contains(&format!("\n    {} ", entry.name)), "{}", entry.name);
            let Command::Help(text) = command(&format!("help {}", entry.name)) else { panic!("no help") };
            assert!(text.starts_with("Usage: tunnel") && text.contains(entry.name), "{text}");
            let ours = entry.name != "explain";
            assert!(!ours || text.lines().all(|line| line.chars().count() <= 110), "{text}");
        }
    }
}
