// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines into a file or to stderr: `2026-11-21T13:00:00.123+01:00 info event=…`.
//!
//! Lines are gathered and written together, a few dozen KiB at a time at most. A write that fails (a full disk)
//! loses what it could not write: those lines are counted, stderr gets one warning until a write works again, and
//! a line torn in the middle is ended before the next. A FIFO that is full loses nothing: its bytes wait here.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sink::{Backoff, Entry, Later, Sink, Trouble};
use super::stamp::Stamper;
use crate::sys::append::append;

/// What a log file is made with: its group may read it.
const MODE: u32 = 0o640;

/// Bytes gathered before a write.
const BATCH: usize = 32 * 1024;

/// How often a full FIFO is tried.
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Where the bytes go.
#[derive(Debug)]
enum Output {
    Stderr(io::Stderr),
    File { path: PathBuf, file: File },
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr(stderr) => stderr.write(bytes),
            Self::File { file, .. } => file.write(bytes),
        }
    }
}

/// A file or stderr.
#[derive(Debug)]
pub(super) struct Stream {
    output: Output,
    stamper: Stamper,
    /// Whole lines, the first perhaps written in part.
    buffer: String,
    /// How much of `buffer` is written.
    written: usize,
    /// A line was lost after a part of it had been written.
    torn: bool,
    /// Writes fail, and stderr has been told.
    failing: bool,
    backoff: Backoff,
    trouble: Trouble,
}

impl Stream {
    pub(super) fn stderr() -> Self {
        Self::new(Output::Stderr(io::stderr()))
    }

    /// Opens (or makes) the file.
    pub(super) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::new(Output::File { path: path.to_owned(), file: append(path, MODE)? }))
    }

    fn new(output: Output) -> Self {
        Self {
            output,
            stamper: Stamper::default(),
            buffer: String::new(),
            written: 0,
            torn: false,
            failing: false,
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
            trouble: Trouble::default(),
        }
    }

    /// Writes until nothing is left; interrupted calls are repeated.
    fn drain(&mut self) -> io::Result<()> {
        while self.torn || self.written < self.buffer.len() {
            let rest = if self.torn { b"\n" } else { &self.buffer.as_bytes()[self.written..] };
            match self.output.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) if self.torn => self.torn = false,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts what is left as lost and begins anew.
    fn give_up(&mut self, error: &io::Error) {
        self.trouble.lost += self.unwritten();
        let written = &self.buffer.as_bytes()[..self.written];
        self.torn |= written.last().is_some_and(|last| *last != b'\n');
        self.clear();
        if !self.failing {
            self.failing = true;
            let name = match &self.output {
                Output::Stderr(_) => "stderr".into(),
                Output::File { path, .. } => path.display().to_string(),
            };
            self.trouble.warning = Some(format!("{name}: cannot write the log: {error}"));
        }
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.written = 0;
    }
}

impl Sink for Stream {
    fn put(&mut self, entry: &Entry<'_>) -> Result<(), Later> {
        if self.buffer.len() >= BATCH {
            self.flush()?;
        }
        self.stamper.rfc3339(entry.made, &mut self.buffer);
        self.buffer.push(' ');
        self.buffer.push_str(entry.level.name());
        self.buffer.push(' ');
        self.buffer.push_str(entry.text);
        self.buffer.push('\n');
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Later> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        match self.drain() {
            Ok(()) => {
                self.clear();
                self.failing = false;
                self.backoff.reset();
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(self.backoff.later()),
            Err(error) => {
                self.give_up(&error);
                Ok(())
            }
        }
    }

    fn reopen(&mut self) -> io::Result<Option<String>> {
        // Lines sent before the order belong to the old file, if it still takes them.
        _ = self.flush();
        let Output::File { path, file } = &mut self.output else { return Ok(None) };
        *file = append(path, MODE)?;
        self.torn = false;
        Ok(Some(path.display().to_string()))
    }

    fn trouble(&mut self) -> Trouble {
        std::mem::take(&mut self.trouble)
    }

    fn unwritten(&self) -> u64 {
        // A newline stands only at a line's end: no value holds one.
        let rest = &self.buffer.as_bytes()[self.written..];
        rest.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;
    use std::io::Read;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn entry(text: &str) -> Entry<'_> {
        let made: SystemTime = UNIX_EPOCH + Duration::from_millis(1_795_262_400_123);
        Entry { made, level: Level::Info, text }
    }

    fn texts(file: &Path) -> Vec<String> {
        let all = std::fs::read_to_string(file).unwrap();
        all.lines().map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_line_has_time_level_and_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut stream = Stream::file(&path).unwrap();
        stream.put(&entry("event=x")).unwrap();
        stream.flush().unwrap();
        let line = std::fs::read_to_string(&path).unwrap();
        let (stamp, rest) = line.split_at("2026-11-21T13:00:00.123+01:00".len());
        assert_eq!(rest, " info event=x\n");
        let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape.replace('-', "+"), "0000+00+00T00:00:00.000+00:00", "{stamp}");
        assert_eq!(stream.trouble(), Trouble::default());
    }

    #[test]
    fn a_renamed_file_is_left_only_when_reopened() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut stream = Stream::file(&path).unwrap();
        stream.put(&entry("event=one")).unwrap();
        stream.flush().unwrap();
        std::fs::rename(&path, &old).unwrap();
        stream.put(&entry("event=two")).unwrap();
        assert_eq!(stream.reopen().unwrap(), Some(path.display().to_string()));
        stream.put(&entry("event=three")).unwrap();
        stream.flush().unwrap();
        assert_eq!(texts(&old), ["event=one", "event=two"]);
        assert_eq!(texts(&path), ["event=three"]);
    }

    #[test]
    fn a_file_that_cannot_be_reopened_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut stream = Stream::file(&path).unwrap();
        std::fs::rename(&path, &old).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(stream.reopen().is_err());
        stream.put(&entry("event=still")).unwrap();
        stream.flush().unwrap();
        assert_eq!(texts(&old), ["event=still"]);
    }

    #[test]
    fn a_full_disk_is_counted_and_warned_about_once() {
        let mut stream = Stream::file(Path::new("/dev/full")).unwrap();
        for lines in 1..=3 {
            for _ in 0..lines {
                stream.put(&entry("event=x")).unwrap();
            }
            assert_eq!(stream.flush(), Ok(()), "nothing waits for a full disk");
            let trouble = stream.trouble();
            assert_eq!(trouble.lost, lines);
            assert_eq!(trouble.warning.is_some(), lines == 1, "{trouble:?}");
        }
        assert_eq!(stream.unwritten(), 0);
    }

    #[test]
    fn a_full_fifo_loses_nothing_and_a_gone_reader_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(Stream::file(&path).is_err(), "nobody reads it, and nobody waited");
        let mut reader = append_reader(&path);
        let mut stream = Stream::file(&path).unwrap();
        let mut sent = 0;
        let wait = loop {
            match stream.put(&entry(&format!("event=x n={sent}"))) {
                Ok(()) => sent += 1,
                Err(later) => break later,
            }
        };
        assert_eq!(wait, Later(FIRST_WAIT));
        assert_eq!(stream.flush(), Err(Later(FIRST_WAIT * 2)));
        // The reader comes back.
        let mut got = Vec::new();
        let mut chunk = [0; 65536];
        while stream.flush().is_err() {
            let count = reader.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..count]);
        }
        while got.iter().filter(|byte| **byte == b'\n').count() < sent {
            let count = reader.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..count]);
        }
        let got = String::from_utf8(got).unwrap();
        for (number, line) in got.lines().enumerate() {
            assert!(line.ends_with(&format!(" info event=x n={number}")), "{line}");
        }
        assert_eq!(stream.trouble(), Trouble::default());
        drop(reader);
        stream.put(&entry("event=x")).unwrap();
        stream.flush().unwrap();
        assert_eq!(stream.trouble().lost, 1);
    }

    /// Opens the reading end without waiting for a writer.
    fn append_reader(path: &Path) -> File {
        use std::os::unix::fs::OpenOptionsExt;
        File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut stream = Stream::file(&path).unwrap();
        stream.put(&entry("event=one")).unwrap();
        stream.put(&entry("event=two")).unwrap();
        // As after a write that took the first line and ten bytes of the second, then ENOSPC.
        let first = stream.buffer.find('\n').unwrap() + 1;
        stream.written = first + 10;
        std::fs::write(&path, &stream.buffer.as_bytes()[..first + 10]).unwrap();
        stream.give_up(&io::Error::from(ErrorKind::StorageFull));
        assert_eq!(stream.trouble().lost, 1);
        stream.put(&entry("event=three")).unwrap();
        stream.flush().unwrap();
        let all = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = all.lines().collect();
        assert_eq!(lines.len(), 3, "{all}");
        assert!(lines[0].ends_with("event=one") && lines[2].ends_with("event=three"), "{all}");
        assert_eq!(lines[1].len(), 10);
    }
}
