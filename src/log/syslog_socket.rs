// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines to the local syslog daemon: one datagram each, `<PRI>Mon dd HH:MM:SS tunnel[PID]: text`.
//!
//! The only file that names the `syslog` crate. The crate carries the datagram; the form is our own, because on a
//! local socket RFC 3164 means local time, a day padded with a space, and no host name (a receiver would take it for
//! the tag).
//!
//! * The socket never blocks. A daemon that does not read (EAGAIN after some ten datagrams) is tried again later.
//! * A daemon that went away (ECONNREFUSED for ever on the old socket) is connected to anew at once, then later and
//!   later. Meanwhile no line is lost here: the writer keeps the one that was refused, the queue the rest.
//! * Datagram sockets only: every syslogd on Linux and journald listen on one at /dev/log.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use syslog::{Error, LogFormat, Logger, LoggerBackend, Severity};

use super::sink::{Backoff, Entry, Later, Sink, Trouble};
use super::stamp::Stamper;
use super::{Facility, Level};

/// How long to leave a daemon alone that does not read.
const FULL_FIRST: Duration = Duration::from_millis(1);
const FULL_LONGEST: Duration = Duration::from_millis(500);

/// How long to leave a daemon alone that is not there.
const GONE_FIRST: Duration = Duration::from_millis(20);
const GONE_LONGEST: Duration = Duration::from_secs(2);

/// What stands before every text.
#[derive(Clone, Debug)]
struct Header {
    facility: Facility,
    /// `tunnel[123]`
    tag: String,
}

/// What the crate hands from [`SyslogSocket::send`] to [`Header::format`].
struct Message<'a> {
    stamp: &'a str,
    text: &'a str,
    /// Where the datagram is put together; kept from line to line.
    datagram: &'a mut Vec<u8>,
}

impl LogFormat<Message<'_>> for Header {
    fn format<W: Write>(&self, w: &mut W, severity: Severity, message: Message<'_>) -> syslog::Result<()> {
        let Message { stamp, text, datagram } = message;
        // RFC 3164 section 4.1.1.
        let priority = u32::from(self.facility.0) * 8 + u32::from(severity as u8);
        datagram.clear();
        // One call is one datagram, so nothing may be written piece by piece to `w`.
        write!(datagram, "<{priority}>{stamp} {}: {text}", self.tag).map_err(Error::Write)?;
        w.write_all(datagram).map_err(Error::Write)
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warning => Severity::LOG_WARNING,
        Level::Notice => Severity::LOG_NOTICE,
        Level::Info => Severity::LOG_INFO,
        Level::Debug => Severity::LOG_DEBUG,
    }
}

/// The way to the local syslog daemon, there or not.
pub(super) struct SyslogSocket {
    path: PathBuf,
    header: Header,
    logger: Option<Logger<LoggerBackend, Header>>,
    stamper: Stamper,
    /// The stamp and the datagram of the line at hand.
    stamp: String,
    datagram: Vec<u8>,
    full: Backoff,
    gone: Backoff,
    /// The daemon is not there, and stderr has been told.
    told: bool,
    trouble: Trouble,
}

impl SyslogSocket {
    /// Connects if it can; otherwise there is a warning, and every line tries again.
    pub(super) fn open(path: &Path, facility: Facility, tag: &str) -> Self {
        let mut socket = Self {
            path: path.to_owned(),
            header: Header { facility, tag: tag.to_owned() },
            logger: None,
            stamper: Stamper::default(),
            stamp: String::new(),
            datagram: Vec::new(),
            full: Backoff::new(FULL_FIRST, FULL_LONGEST),
            gone: Backoff::new(GONE_FIRST, GONE_LONGEST),
            told: false,
            trouble: Trouble::default(),
        };
        if let Err(error) = socket.connect() {
            socket.warn(&error);
        }
        socket
    }

    fn connect(&mut self) -> io::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        self.logger = Some(Logger::new(LoggerBackend::Unix(socket), self.header.clone()));
        Ok(())
    }

    /// Sends one line on the socket there is, or on a new one.
    fn send(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if self.logger.is_none() {
            self.connect()?;
        }
        let Some(Logger { formatter, backend }) = &mut self.logger else {
            return Err(ErrorKind::NotConnected.into());
        };
        self.stamp.clear();
        self.stamper.rfc3164(entry.made, &mut self.stamp);
        let message = Message { stamp: &self.stamp, text: entry.text, datagram: &mut self.datagram };
        formatter.format(backend, severity(entry.level), message).map_err(|error| match error {
            Error::Write(error) | Error::Io(error) => error,
            Error::Initialization(error) => io::Error::other(error),
        })
    }

    /// Notes a warning, once until a line gets through.
    fn warn(&mut self, error: &io::Error) {
        if !self.told {
            self.told = true;
            let path = self.path.display();
            self.trouble.warning = Some(format!("{path}: syslog cannot be reached, trying on: {error}"));
        }
    }
}

impl Sink for SyslogSocket {
    fn put(&mut self, entry: &Entry<'_>) -> Result<(), Later> {
        let was_connected = self.logger.is_some();
        let mut outcome = self.send(entry);
        let refused = |outcome: &io::Result<()>| {
            outcome.as_ref().is_err_and(|error| error.kind() != ErrorKind::WouldBlock)
        };
        if was_connected && refused(&outcome) {
            // The daemon behind the old socket went away; a new one may be there already.
            self.logger = None;
            outcome = self.send(entry);
        }
        match outcome {
            Ok(()) => {
                self.full.reset();
                self.gone.reset();
                self.told = false;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(self.full.later()),
            Err(error) => {
                self.logger = None;
                self.warn(&error);
                Err(self.gone.later())
            }
        }
    }

    fn flush(&mut self) -> Result<(), Later> {
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn trouble(&mut self) -> Trouble {
        std::mem::take(&mut self.trouble)
    }

    fn unwritten(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn entry(level: Level, text: &str) -> Entry<'_> {
        let made: SystemTime = UNIX_EPOCH + Duration::from_secs(1_785_585_600);
        Entry { made, level, text }
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn a_line_has_priority_local_time_tag_and_no_host_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut stamp = String::new();
        Stamper::default().rfc3164(entry(Level::Info, "").made, &mut stamp);
        for (facility, level, priority) in [
            ("daemon", Level::Info, 30),
            ("daemon", Level::Error, 27),
            ("user", Level::Debug, 15),
            ("local0", Level::Notice, 133),
            ("local7", Level::Warning, 188),
        ] {
            let facility = Facility::from_name(facility).unwrap();
            let mut sink = SyslogSocket::open(&path, facility, "tunnel[42]");
            assert_eq!(sink.put(&entry(level, "event=x k=\"…\"")), Ok(()));
            assert_eq!(receive(&daemon), format!("<{priority}>{stamp} tunnel[42]: event=x k=\"…\""));
        }
    }

    #[test]
    fn the_longest_line_stays_below_two_kib() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut sink = SyslogSocket::open(&path, Facility(23), "tunnel[4194304]");
        sink.put(&entry(Level::Debug, &"x".repeat(crate::log::text::LINE_MAX))).unwrap();
        assert!(receive(&daemon).len() < 2048);
    }

    #[test]
    fn a_daemon_that_does_not_read_is_tried_later_and_then_gets_everything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut sink = SyslogSocket::open(&path, Facility(3), "tunnel[1]");
        let mut sent = 0;
        let later = loop {
            match sink.put(&entry(Level::Info, &format!("event=x n={sent}"))) {
                Ok(()) => sent += 1,
                Err(later) => break later,
            }
            assert!(sent < 100_000, "the kernel takes any number of datagrams?");
        };
        assert_eq!(later, Later(FULL_FIRST));
        assert_eq!(sink.put(&entry(Level::Info, "event=again")), Err(Later(FULL_FIRST * 2)));
        for number in 0..sent {
            assert!(receive(&daemon).ends_with(&format!(": event=x n={number}")));
        }
        assert_eq!(sink.put(&entry(Level::Info, "event=again")), Ok(()));
        assert!(receive(&daemon).ends_with(": event=again"));
        assert_eq!(sink.trouble(), Trouble::default());
    }

    #[test]
    fn a_restarted_daemon_gets_the_very_line_that_found_the_old_one_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let mut sink = SyslogSocket::open(&path, Facility(3), "tunnel[1]");
        sink.put(&entry(Level::Info, "event=one")).unwrap();
        assert!(receive(&daemon).ends_with("event=one"));
        drop(daemon);
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert_eq!(sink.put(&entry(Level::Info, "event=two")), Ok(()));
        assert!(receive(&daemon).ends_with("event=two"));
        assert_eq!(sink.trouble(), Trouble::default(), "no outage, no warning");
    }

    #[test]
    fn a_missing_daemon_is_told_once_per_outage_and_found_when_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut sink = SyslogSocket::open(&path, Facility(3), "tunnel[1]");
        let warning = sink.trouble().warning.unwrap();
        assert!(warning.starts_with(&format!("{}: syslog cannot be reached", path.display())), "{warning}");
        let waits: Vec<_> = (0..9).map(|_| sink.put(&entry(Level::Info, "event=x")).unwrap_err().0).collect();
        assert_eq!(waits[..3], [GONE_FIRST, GONE_FIRST * 2, GONE_FIRST * 4]);
        assert_eq!(waits[8], GONE_LONGEST);
        assert_eq!(sink.trouble(), Trouble::default(), "once");
        let daemon = UnixDatagram::bind(&path).unwrap();
        assert_eq!(sink.put(&entry(Level::Info, "event=x")), Ok(()));
        assert!(receive(&daemon).ends_with("event=x"));
        // The socket's file stays, nobody listens: ECONNREFUSED instead of ENOENT, and another outage.
        drop(daemon);
        assert_eq!(sink.put(&entry(Level::Info, "event=x")), Err(Later(GONE_FIRST)));
        assert!(sink.trouble().warning.is_some());
    }
}
