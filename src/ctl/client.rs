// SPDX-License-Identifier: MIT OR Apache-2.0
//! One question to the daemon at a time: a line to its control socket, an answer until it closes.
//!
//! Every question is a connection of its own, so that a daemon that was restarted between two of them makes no difference.
//! An answer in JSON begins with a bracket; what does not is the daemon's refusal, in words. Not here: where the socket is
//! (`locate.rs`), what is asked.

use crate::text::{Washer, clean_lines};
use serde::de::DeserializeOwned;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long the daemon may be silent. A reload may have to wait for names to resolve.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer that is kept: far above what 100,000 connections take.
const ANSWER_MAX: u64 = 1 << 30;

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody listens there.
    Nobody(PathBuf, io::Error),
    /// The system does not let us in.
    Denied(PathBuf),
    /// The conversation broke.
    Broken(PathBuf, io::Error),
    /// The daemon says no.
    Refused(String),
    /// The daemon says no: it is not for us to ask.
    Forbidden(String),
    /// The answer is none we know.
    Strange(String),
    /// The configuration does not tell where the socket is.
    Lost(String),
    /// What we wrote could not be written.
    Output(io::Error),
    /// What is asked for makes no sense here.
    Usage(String),
}

impl Trouble {
    /// As sysexits.h has it; 1 for a refusal.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 64,
            Self::Nobody(..) | Self::Broken(..) => 69,
            Self::Output(_) => 74,
            Self::Strange(_) => 76,
            Self::Denied(_) | Self::Forbidden(_) => 77,
            Self::Lost(_) => 78,
        }
    }

    /// Whether it may pass: the daemon is being restarted.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Nobody(..) | Self::Broken(..))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(path, error) => write!(
                f,
                "nobody answers at {}: {}; is tunnel running, and does tunnel.conf have [control] socket?",
                path.display(),
                describe(error)
            ),
            Self::Denied(path) => write!(
                f,
                "permission denied at {}; ask as root, or see `mode` and `group` of [control] in tunnel.conf(5)",
                path.display()
            ),
            Self::Broken(path, error) => {
                write!(f, "the daemon at {} stopped answering: {}", path.display(), describe(error))
            }
            Self::Refused(text) | Self::Forbidden(text) | Self::Lost(text) | Self::Usage(text) => {
                f.write_str(clean_lines(text).trim_end())
            }
            Self::Strange(text) => {
                write!(
                    f,
                    "the daemon's answer is not understood ({text}); are tunnelctl and tunnel of one version?"
                )
            }
            Self::Output(error) => write!(f, "cannot write the output: {}", describe(error)),
        }
    }
}

/// The system's words without the number.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// Who asks, and where.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    patience: Duration,
}

impl Client {
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), patience: PATIENCE }
    }

    /// The answer to `command`, which is one line.
    ///
    /// # Errors
    /// When there is none. A refusal is an answer here.
    pub(crate) fn ask(&self, command: &str) -> Result<String, Trouble> {
        let mut bytes = Vec::new();
        let stream = self.open(command)?;
        stream.take(ANSWER_MAX).read_to_end(&mut bytes).map_err(|error| self.broken(error))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if bytes.is_empty() {
            return Err(self.broken(ErrorKind::UnexpectedEof.into()));
        }
        Ok(text)
    }

    /// The answer to a `command` that answers in JSON.
    ///
    /// # Errors
    /// When there is none, or it is a refusal.
    pub(crate) fn json<T: DeserializeOwned>(&self, command: &str) -> Result<T, Trouble> {
        let text = self.ask(command)?;
        if !is_json(text.as_bytes()) {
            return Err(refusal(&text));
        }
        serde_json::from_str(&text).map_err(|error| Trouble::Strange(error.to_string()))
    }

    /// Writes the JSON answer to `command` as it comes, however long, without what a terminal would obey.
    ///
    /// # Errors
    /// As [`Self::json`]; those of writing.
    pub(crate) fn copy(&self, command: &str, out: &mut dyn Write) -> Result<(), Trouble> {
        let mut stream = self.open(command)?;
        let (mut piece, mut washed) = (vec![0; 64 << 10], Vec::new());
        let mut washer = Washer::default();
        let mut first = true;
        // The empty line that ends an answer is no part of the JSON; line ends are held back until something follows.
        let mut ends = 0;
        loop {
            let length = match stream.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(error)),
            };
            if length == 0 {
                break;
            }
            if first && !is_json(&piece[..length]) {
                let mut rest = Vec::new();
                stream.take(ANSWER_MAX).read_to_end(&mut rest).map_err(|error| self.broken(error))?;
                rest.splice(..0, piece[..length].iter().copied());
                return Err(refusal(&String::from_utf8_lossy(&rest)));
            }
            first = false;
            washed.clear();
            washed.resize(ends, b'\n');
            washer.wash(&piece[..length], &mut washed);
            let kept = washed.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
            ends = washed.len() - kept;
            out.write_all(&washed[..kept]).map_err(Trouble::Output)?;
        }
        if first {
            return Err(self.broken(ErrorKind::UnexpectedEof.into()));
        }
        out.write_all(b"\n").and_then(|()| out.flush()).map_err(Trouble::Output)
    }

    /// Sends the question.
    fn open(&self, command: &str) -> Result<UnixStream, Trouble> {
        debug_assert!(!command.contains('\n'), "two questions in one");
        let mut stream = UnixStream::connect(&self.socket).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => Trouble::Denied(self.socket.clone()),
            _ => Trouble::Nobody(self.socket.clone(), error),
        })?;
        let patience = Some(self.patience);
        let ready = stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience));
        // A daemon that has no room for us says so and closes, without reading: what it said is read below.
        match ready.and_then(|()| stream.write_all(format!("{command}\n").as_bytes())) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(self.broken(error)),
            _ => Ok(stream),
        }
    }

    fn broken(&self, error: io::Error) -> Trouble {
        let error = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                io::Error::other(format!("silent for {} seconds", self.patience.as_secs()))
            }
            ErrorKind::UnexpectedEof => io::Error::other("it closed without a word"),
            _ => error,
        };
        Trouble::Broken(self.socket.clone(), error)
    }
}

/// `text` as one word of a command, in which a backslash takes from blanks and semicolons what they mean.
pub(crate) fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ' ' | '\t' | ';' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn is_json(answer: &[u8]) -> bool {
    matches!(answer.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['))
}

/// A refusal in the daemon's words.
pub(crate) fn refusal(text: &str) -> Trouble {
    let text = text.trim().to_owned();
    if text.to_lowercase().starts_with("permission denied") {
        Trouble::Forbidden(text)
    } else if text.is_empty() {
        Trouble::Strange("it is empty".to_owned())
    } else {
        Trouble::Refused(text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A socket at which each question is answered by `answer`, for as long as the test runs.
    pub(crate) fn serve(
        answer: impl Fn(&str, &mut UnixStream) + Send + 'static,
    ) -> (Client, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut question = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut question).unwrap();
                answer(question.trim_end(), &mut stream);
            }
        });
        (Client::new(path), directory)
    }

    fn says(text: &'static str) -> (Client, tempfile::TempDir) {
        serve(move |_, stream| {
            // In pieces, as from a daemon with much to say.
            text.as_bytes().chunks(3).for_each(|piece| stream.write_all(piece).unwrap());
        })
    }

    #[test]
    fn an_answer_is_what_comes_until_the_end() {
        let (client, _directory) = serve(|question, stream| write!(stream, "[\"{question}\"]\n\n").unwrap());
        assert_eq!(client.json::<Vec<String>>("show errors json").unwrap(), ["show errors json"]);
        let mut out = Vec::new();
        client.copy("show x", &mut out).unwrap();
        assert_eq!(out, b"[\"show x\"]\n");
    }

    #[test]
    fn a_word_stays_one() {
        assert_eq!(word("web;drain \\x"), "web\\;drain\\ \\\\x");
    }

    #[test]
    fn copies_keep_inner_line_ends_and_no_control_characters() {
        let (client, _directory) = says("{\n\n\"a\": \"\u{9b}2J\",\n\n\n\"b\": 1}\n\n");
        let mut out = Vec::new();
        client.copy("x", &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\n\n\"a\": \"\\u009b2J\",\n\n\n\"b\": 1}\n");
    }

    #[test]
    fn refusals_are_told_apart_from_answers() {
        for (text, status, shown) in [
            ("No such service.\n\n", 1, "No such service."),
            ("Permission denied: operate\n", 77, "Permission denied: operate"),
            ("a\u{1b}[2Jb\nc\n", 1, "a�[2Jb\nc"),
        ] {
            let (client, _directory) = says(text);
            let whole = client.json::<Vec<u8>>("x").unwrap_err();
            let copied = client.copy("x", &mut Vec::new()).unwrap_err();
            for trouble in [whole, copied] {
                assert_eq!((trouble.status(), trouble.to_string().as_str()), (status, shown));
            }
        }
    }

    #[test]
    fn strange_answers_and_silence_are_no_answers() {
        let (client, _directory) = says("{\"a\":");
        assert_eq!(client.json::<Vec<u8>>("x").unwrap_err().status(), 76);
        let (client, _directory) = says("");
        assert_eq!(client.json::<Vec<u8>>("x").unwrap_err().status(), 69);
        let (held, release) = std::sync::mpsc::channel::<()>();
        let (mut client, _directory) = serve(move |_, _| {
            let _until_the_test_ends = release.recv();
        });
        client.patience = Duration::from_millis(20);
        let silence = client.ask("x").unwrap_err();
        assert!(silence.to_string().contains("silent for") && silence.may_pass(), "{silence}");
        drop(held);
    }

    #[test]
    fn where_nobody_listens_the_error_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Client::new(directory.path().join("no.sock")).ask("x").unwrap_err();
        assert_eq!(missing.status(), 69);
        let text = missing.to_string();
        assert!(text.contains("no.sock: no such file or directory; is tunnel running"), "{text}");
        drop(UnixListener::bind(directory.path().join("dead.sock")).unwrap());
        let dead = Client::new(directory.path().join("dead.sock")).ask("x").unwrap_err();
        assert!(dead.to_string().contains("connection refused"), "{dead}");
    }
}
