// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every command there is: its words, what they take, who may say it, what it does.
//!
//! Here the help and the manual (which a test compares) begin and end. Not here: what a command does with its words.

use super::{Call, Done, changes, connections, info, json, session, shown, stat};
use crate::config::nearest;
use crate::policy::access::Level;
use std::fmt::Write as _;

/// One command.
#[derive(Debug)]
pub(super) struct Command {
    /// The words that make it this one.
    pub(super) words: &'static str,
    /// What may stand after them.
    arguments: &'static str,
    /// Who may say it. What takes more than the right to read is logged.
    pub(super) level: Level,
    /// What it does, in a few words.
    help: &'static str,
    pub(super) run: fn(&mut Call<'_>) -> Done,
}

const fn read(
    words: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Call<'_>) -> Done,
) -> Command {
    Command { words, arguments, level: Level::Read, help, run }
}

const fn operate(
    words: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Call<'_>) -> Done,
) -> Command {
    Command { words, arguments, level: Level::Operate, help, run }
}

const fn admin(
    words: &'static str,
    arguments: &'static str,
    help: &'static str,
    run: fn(&mut Call<'_>) -> Done,
) -> Command {
    Command { words, arguments, level: Level::Admin, help, run }
}

/// What connections are picked by.
const FILTERS: &str = "[service S] [route R] [client P] [name N] [server A] [state T] [limit N] [after C]";

/// Every command, in the order of their words. What begins with the words of another stands behind it.
const COMMANDS: &[Command] = &[
    operate("disable health", "<service>/<server>", "make no checks of a server", changes::disable_health),
    operate(
        "disable server",
        "<service>/<server>",
        "take a server out: no new connections",
        changes::disable,
    ),
    admin("drain", "", "accept nothing more and end when the last connection does", changes::drain),
    operate("enable health", "<service>/<server>", "make checks of a server again", changes::enable_health),
    operate("enable server", "<service>/<server>", "take a server in again", changes::enable),
    read("get weight", "<service>/<server>", "show the weight of a server", changes::get_weight),
    read("help", "[<words>]", "list the commands, or those with these words", session::help),
    operate("kill", "<id>", "close a connection", connections::kill),
    operate("log-level", "<level>", "log lines from that level on", changes::log_level),
    read("operator", "", "give up the level admin for the rest of this talk", session::lower_to_operator),
    read("prompt", "", "stay after a line and show a prompt, or no more", session::prompt),
    read("quit", "", "end this talk", session::quit),
    admin("reload", "", "load the configuration anew; answers when that is done", changes::reload),
    operate("reopen-logs", "", "open the log file anew", changes::reopen_logs),
    operate(
        "set server",
        "<service>/<server> {state {ready|drain|maint} | health {up|stopping|down} | weight <n>[%]}",
        "change a server",
        changes::set_server,
    ),
    read("set timeout cli", "<delay>", "how long silence may last here, in seconds", session::set_timeout),
    operate("set weight", "<service>/<server> <n>[%]", "change the weight of a server", changes::set_weight),
    read("show activity", "", "show what each worker has done", shown::activity),
    read("show backend", "", "list the services", shown::backends),
    read(
        "show certificates json",
        "",
        "show certificates, revocation lists and ticket keys",
        json::certificates,
    ),
    read("show cli level", "", "show what you may do here", session::show_level),
    read("show connections", FILTERS, "list connections", connections::table),
    read("show connections json", FILTERS, "list connections as JSON", connections::json),
    read("show effective", "", "show the configuration in effect, with every default", shown::effective),
    read("show errors", "", "list the last failures", shown::errors),
    read("show errors json", "", "list the last failures as JSON", json::errors),
    read("show info", "[typed|json|desc]", "show the process", info::run),
    read("show listeners json", "", "show listeners", json::listeners),
    read("show process json", "", "show the process, with all that is known of it", json::process),
    read("show resolvers", "", "show how names are resolved", shown::resolvers),
    read("show servers conn", "[<service>]", "show the connections of servers", shown::servers_conn),
    read("show servers json", "", "show servers", json::servers),
    read("show servers state", "[<service>]", "show the states of servers", shown::servers_state),
    read("show services json", "", "show services with their routes and servers", json::services),
    read("show sess", "[<id>|all]", "list connections as HAProxy does", connections::sess),
    read("show snapshot json", "", "show everything but the connections", json::snapshot),
    read("show ssl cert", "[<file>]", "list certificates, or show one", shown::certificates),
    read("show ssl crl-file", "[<file>]", "list revocation lists, or show one", shown::crls),
    read(
        "show stat",
        "[<iid>|<service>] [<type>] [<sid>] [typed|json] [up|no-maint]",
        "show all counters",
        stat::run,
    ),
    read("show table", "[<service>/<rule>]", "list the tables of rules with limits", shown::tables),
    read("show version", "", "show the version", shown::version),
    read("show workers json", "", "show workers", json::workers),
    operate("shutdown session", "<id>", "close a connection", connections::kill),
    operate(
        "shutdown sessions server",
        "<service>/<server>",
        "close the connections of a server",
        connections::kill_server,
    ),
    read("user", "", "give up every level but read for the rest of this talk", session::lower_to_user),
];

/// Width of the first column of the help.
const COLUMN: usize = 40;

/// Commands that are shown to who made a mistake, at most.
const LIKELY: usize = 5;

/// The words of every command, for whoever compares them with the manual.
pub fn commands() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.words)
}

/// The command that `words` begin with: of several the one with most words.
pub(super) fn find(words: &[String]) -> Option<&'static Command> {
    let found = COMMANDS.iter().filter(|command| begins(words, command.words));
    found.max_by_key(|command| command.words.len())
}

fn begins(words: &[String], with: &str) -> bool {
    let mut words = words.iter();
    with.split(' ').all(|word| words.next().is_some_and(|said| said == word))
}

/// One line of help for each command whose words begin with `words`.
pub(super) fn help(words: &[String]) -> String {
    let mut text = "The following commands are valid at this level:\n".to_owned();
    let said = words.join(" ");
    let mut chosen: Vec<&Command> =
        COMMANDS.iter().filter(|command| command.words.starts_with(&said)).collect();
    if chosen.is_empty() {
        chosen = COMMANDS.iter().collect();
    }
    chosen.into_iter().for_each(|command| describe(command, &mut text));
    text
}

/// What is said to who gave `words`, which are none of ours: with the commands that may have been meant.
pub(super) fn unknown(words: &[String]) -> String {
    let said = words.join(" ");
    let first = words.first().map(String::as_str).unwrap_or_default();
    let mut likely: Vec<&Command> = COMMANDS
        .iter()
        .filter(|command| command.words.starts_with(&said) || nearest(&said, [command.words]).is_some())
        .collect();
    if likely.is_empty() {
        likely.extend(COMMANDS.iter().filter(|command| command.words.split(' ').next() == Some(first)));
    } else {
        likely.truncate(LIKELY);
    }
    let mut text = if likely.is_empty() {
        likely.extend(COMMANDS);
        "Unknown command. Please enter one of the following commands only:\n".to_owned()
    } else {
        "Unknown command, but maybe one of the following ones is a better match:\n".to_owned()
    };
    likely.into_iter().for_each(|command| describe(command, &mut text));
    text
}

fn describe(Command { words, arguments, help, .. }: &Command, text: &mut String) {
    let usage = format!("{words} {arguments}");
    // Writing to a string cannot fail.
    _ = writeln!(text, "  {:<COLUMN$}: {help}", usage.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_longest_command_is_found_and_no_part_of_one() {
        for (text, expected) in [
            ("show errors", Some("show errors")),
            ("show errors json", Some("show errors json")),
            ("show errors typed", Some("show errors")),
            ("show connections json limit 3", Some("show connections json")),
            ("show", None),
            ("showinfo", None),
            ("show inf", None),
            ("SHOW INFO", None),
            ("shutdown session 7", Some("shutdown session")),
            ("shutdown sessions server a/b", Some("shutdown sessions server")),
        ] {
            assert_eq!(find(&words(text)).map(|command| command.words), expected, "{text}");
        }
        assert!(find(&[]).is_none());
    }

    #[test]
    fn who_is_mistaken_is_shown_what_may_have_been_meant() {
        let first = |text: &str| unknown(&words(text)).lines().nth(1).unwrap().trim().to_owned();
        assert!(first("show inof").starts_with("show info"), "{}", first("show inof"));
        assert!(first("show s").starts_with("show servers conn"), "{}", first("show s"));
        assert!(unknown(&words("show x")).lines().count() > 20, "all that can be shown");
        assert!(unknown(&words("xyzzy")).starts_with("Unknown command. Please enter"));
        assert!(unknown(&[]).starts_with("Unknown command"));
    }

    #[test]
    fn the_table_is_in_order_and_says_what_everything_does() {
        for pair in COMMANDS.windows(2) {
            assert!(pair[0].words < pair[1].words, "{} stands before {}", pair[0].words, pair[1].words);
        }
        for command in COMMANDS {
            assert!(!command.help.is_empty() && !command.help.ends_with('.'), "{}", command.words);
            assert!(help(&words(command.words)).contains(command.help));
        }
    }
}
