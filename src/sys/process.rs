// SPDX-License-Identifier: MIT OR Apache-2.0
//! The process as a whole: going to the background, its limits, who runs it, its PID file.

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{self, ForkResult, Uid, User};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which of the two processes goes on after [`daemonize`].
#[derive(Debug)]
pub enum Side {
    /// The one that was started: it waits for the other, and exits with this status.
    Parent(u8),
    /// The one in the background.
    Child(Readiness),
}

/// How the child tells the parent that it serves, or why it does not.
#[derive(Debug)]
pub struct Readiness(File);

/// The status of a child that died without a word (`EX_SOFTWARE` of sysexits.h).
const DIED: u8 = 70;

/// Forks; the child leads a session of its own. The parent returns once the child has said how it went.
///
/// Call it before any thread is started: only the calling thread goes on in the child.
///
/// # Errors
/// The system's, when it has no process or pipe to give.
pub fn daemonize() -> io::Result<Side> {
    let (reader, writer) = unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: the process has one thread, as this function demands, so no lock can be held by one that is not copied.
    let forked = unsafe { unistd::fork() }?;
    match forked {
        ForkResult::Parent { .. } => {
            drop(writer);
            let mut status = [DIED];
            let told = File::from(reader).read(&mut status)?;
            Ok(Side::Parent(if told == 0 { DIED } else { status[0] }))
        }
        ForkResult::Child => {
            drop(reader);
            unistd::setsid()?;
            Ok(Side::Child(Readiness(writer.into())))
        }
    }
}

impl Readiness {
    /// Lets the parent exit with `status`; for 0, the terminal and the directory are let go of too.
    ///
    /// # Errors
    /// When /dev/null cannot be opened.
    pub fn tell(mut self, status: u8) -> io::Result<()> {
        if status == 0 {
            unistd::chdir("/")?;
            let null: OwnedFd = OpenOptions::new().read(true).write(true).open("/dev/null")?.into();
            unistd::dup2_stdin(&null)?;
            unistd::dup2_stdout(&null)?;
            unistd::dup2_stderr(&null)?;
        }
        self.0.write_all(&[status])
    }
}

/// Raises the limit on open descriptors as far as this user may, and tells it.
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// The limit on open descriptors as it stands.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// The name of the user we run as, or its number.
pub fn user() -> String {
    let uid = Uid::effective();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// The name of this host; empty if the system does not tell.
pub fn host_name() -> String {
    unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A PID file, locked while the process lives and removed when it goes, if it is still ours.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

impl PidFile {
    /// Writes our process id to `path`.
    ///
    /// # Errors
    /// `WouldBlock` when a running process holds it; else the system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Whoever held it may have removed it between the opening and the lock.
        for _ in 0..10 {
            let file = Self::lock(path)?;
            let there = std::fs::symlink_metadata(path);
            if !there.is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino())) {
                continue;
            }
            file.set_len(0)?;
            (&*file).write_all(format!("{}\n", std::process::id()).as_bytes())?;
            return Ok(Self { path: std::path::absolute(path)?, file });
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn lock(path: &Path) -> io::Result<Flock<File>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path)?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => io::Error::from(io::ErrorKind::WouldBlock),
            error => error.into(),
        })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let same = |ours: std::fs::Metadata, there: std::fs::Metadata| ours.ino() == there.ino();
        if let (Ok(ours), Ok(there)) = (self.file.metadata(), std::fs::symlink_metadata(&self.path)) {
            if same(ours, there) {
                let _gone_already_is_fine = std::fs::remove_file(&self.path);
            }
        }
    }
}

/// Lets the calling thread wait for its turn when it is woken, instead of taking the processor from a thread that works
/// (SCHED_BATCH, sched(7)). Threads it starts later inherit that.
pub fn wait_for_our_turn() {
    // SAFETY: all zeroes is a valid sched_param, the one that SCHED_BATCH takes; 0 is the calling thread.
    let param: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is valid for the call, which only reads it.
    let _economy_only = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param) };
}

/// The nice value of who steps back: about a quarter of a processor that another wants whole (sched(7)).
const STEPPED_BACK: libc::c_int = 5;

/// Lets threads that serve go first where processors are short: for the calling thread alone.
pub fn step_back() {
    wait_for_our_turn();
    // SAFETY: no pointers; 0 is the calling thread (setpriority(2), on Linux).
    let _economy_only = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, STEPPED_BACK) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_is_held_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let first = PidFile::create(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim(), std::process::id().to_string());
        assert_eq!(PidFile::create(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(path.exists(), "a second start harms nothing");
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn a_pid_file_that_was_replaced_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let first = PidFile::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "another").unwrap();
        drop(first);
        assert!(path.exists());
    }
}
