// SPDX-License-Identifier: MIT OR Apache-2.0
//! Task threads: they do what may block or compute for long (loading a configuration, resolving names), so that neither
//! main nor a worker ever does. They pull from one bounded queue; a task posts its answer itself.

use crossbeam_queue::ArrayQueue;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Tasks that may wait.
const CAPACITY: usize = 256;

/// Work for a task thread.
pub type Task = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Task>,
    closed: AtomicBool,
}

/// The threads and their queue.
#[derive(Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Starts `count` threads, called after `name`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: ArrayQueue::new(CAPACITY), closed: AtomicBool::new(false) });
        let threads = (0..count)
            .map(|number| {
                let shared = Arc::clone(&shared);
                thread::Builder::new().name(format!("{name}-{number}")).spawn(move || serve(&shared))
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// Queues a task; gives it back when too many wait.
    ///
    /// # Errors
    /// The task itself.
    pub fn submit(&self, task: Task) -> Result<(), Task> {
        self.shared.queue.push(task)?;
        // A thread that is awake, or about to park, keeps the token and looks again: no wake-up is lost.
        for thread in &self.threads {
            thread.thread().unpark();
        }
        Ok(())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // One that hangs in a name server is not waited for: the process is about to end.
            if thread.is_finished() {
                let _its_panic_was_caught = thread.join();
            }
        }
    }
}

fn serve(shared: &Shared) {
    while !shared.closed.load(Ordering::SeqCst) {
        match shared.queue.pop() {
            // A task that panics answers nothing; the thread lives on.
            Some(task) => drop(panic::catch_unwind(AssertUnwindSafe(task))),
            None => thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn every_task_is_done_and_a_panic_kills_nobody() {
        let tasks = Tasks::start("test", 2).unwrap();
        let (sender, receiver) = mpsc::channel();
        assert!(tasks.submit(Box::new(|| panic!("a task that fails"))).is_ok());
        for number in 0..50 {
            let sender = sender.clone();
            assert!(tasks.submit(Box::new(move || sender.send(number).unwrap())).is_ok());
        }
        let mut done: Vec<i32> = (0..50).map(|_| receiver.recv_timeout(SOON).unwrap()).collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..50));
    }
}
