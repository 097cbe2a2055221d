// SPDX-License-Identifier: MIT OR Apache-2.0
//! What changes something: one line to the daemon, one answer in words, and whether it was yes or no.

use crate::client::{Client, Trouble, refusal};
use crate::line::{Line, Tone};
use crate::output::Output;

/// How a command says yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yes {
    /// With silence: every word is a refusal.
    Silent,
    /// With words, whose lines do not begin as those of [`NOES`] do.
    Spoken,
}

/// How refusals begin: those of orders, and those of every command.
const NOES: [&str; 4] = ["error: ", "Permission denied", "Unknown command", "Too many readers"];

/// What the daemon says when there is no such connection.
const NO_SUCH: &str = "No such session";

/// Gives the order `command` and prints what came of it; `done` stands for an answer without words.
///
/// # Errors
/// A refusal in the daemon's words; when there is no answer.
pub(crate) fn run(
    client: &Client,
    command: &str,
    yes: Yes,
    done: &str,
    output: &mut Output,
) -> Result<(), Trouble> {
    let text = order(client, command, yes)?;
    let shown = if text.is_empty() { done } else { &text };
    let lines: Vec<Line> = shown.lines().map(|line| Line::of(line, Tone::Plain)).collect();
    output.lines(&lines)
}

/// Ends connections, all that can be ended, and fails if one could not.
///
/// # Errors
/// A refusal, when all have been tried; at once, what the others would meet as well.
pub(crate) fn kill(client: &Client, ids: &[u64], output: &mut Output) -> Result<(), Trouble> {
    let mut refused = Vec::new();
    for id in ids {
        match end(client, *id) {
            Ok(()) => output.lines(&[Line::of(format!("connection {id} is ended"), Tone::Plain)])?,
            Err(Trouble::Refused(text)) => refused.push(text),
            Err(trouble) => return Err(trouble),
        }
    }
    output.flush()?;
    if refused.is_empty() { Ok(()) } else { Err(Trouble::Refused(refused.join("\n"))) }
}

/// Ends a connection.
///
/// # Errors
/// When there is no such connection; when there is no answer.
pub(crate) fn end(client: &Client, id: u64) -> Result<(), Trouble> {
    match order(client, &format!("kill {id}"), Yes::Silent) {
        Err(Trouble::Refused(text)) if text.starts_with(NO_SUCH) => {
            Err(Trouble::Refused(format!("there is no connection {id}")))
        }
        outcome => outcome.map(|_| ()),
    }
}

/// The answer to an order, if it is a yes.
///
/// # Errors
/// A refusal in the daemon's words; when there is no answer.
fn order(client: &Client, command: &str, yes: Yes) -> Result<String, Trouble> {
    let text = client.ask(command)?;
    let text = text.trim();
    let is_yes = match yes {
        Yes::Silent => text.is_empty(),
        Yes::Spoken => !NOES.iter().any(|no| text.starts_with(no)),
    };
    if is_yes {
        return Ok(text.to_owned());
    }
    let lines: Vec<&str> = text.lines().map(|line| line.strip_prefix(NOES[0]).unwrap_or(line)).collect();
    Err(refusal(&lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::serve;
    use std::io::Write;

    #[test]
    fn a_yes_is_silence_or_words_and_a_no_is_told_without_its_mark() {
        for (yes, said, outcome) in [
            (Yes::Silent, "\n", Ok("")),
            (Yes::Silent, "Require 'service/server'.\n\n", Err((1, "Require 'service/server'."))),
            (Yes::Silent, "Permission denied\n\n", Err((77, "Permission denied"))),
            (Yes::Spoken, "draining\n\n", Ok("draining")),
            (
                Yes::Spoken,
                "error: a.conf:1:1: error: x\nerror:   |\n\n",
                Err((1, "a.conf:1:1: error: x\n  |")),
            ),
            (Yes::Spoken, "Permission denied\n\n", Err((77, "Permission denied"))),
            (Yes::Spoken, "Unknown command, but\n\n", Err((1, "Unknown command, but"))),
        ] {
            let (client, _directory) = serve(move |_, stream| stream.write_all(said.as_bytes()).unwrap());
            let found = order(&client, "x", yes).map_err(|trouble| (trouble.status(), trouble.to_string()));
            let wanted = outcome.map(str::to_owned).map_err(|(status, text)| (status, text.to_owned()));
            assert_eq!(found, wanted, "{said:?}");
        }
    }

    #[test]
    fn those_that_can_be_ended_are_and_the_others_are_named() {
        let (client, _directory) = serve(|question, stream| match question {
            "kill 1" | "kill 3" => stream.write_all(b"\n").unwrap(),
            _ => stream.write_all(b"No such session (use 'show sess').\n\n").unwrap(),
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        let trouble = kill(&client, &[1, 2, 3, 4], &mut Output::plain(file.reopen().unwrap())).unwrap_err();
        assert_eq!(trouble.to_string(), "there is no connection 2\nthere is no connection 4");
        assert_eq!(trouble.status(), 1);
        let ended = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(ended, "connection 1 is ended\nconnection 3 is ended\n");
    }
}
