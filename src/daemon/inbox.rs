// SPDX-License-Identifier: MIT OR Apache-2.0
//! What task threads answer to workers' connections, and what listings ask of workers: bounded lock-free inboxes, one of
//! each kind per worker, beside its bell.
//!
//! An answer carries the key of who asked, with its generation: one that comes too late finds nobody.

use super::queue::Queue;
use super::tasks::Tasks;
use crate::connection::context::{Answer, Ask, Call, Question, Told};
use crate::connection::walk::Walk;
use crate::event::Key;
use crate::policy::waiting::Caller;
use crate::resolver::{Current, Take, Written};
use crossbeam_queue::ArrayQueue;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Instant;

/// Answers that may wait for one worker. Beyond it they are lost, and who asked gives up when its time is over: a worker
/// that does not come to read so many has other troubles.
const CAPACITY: usize = 1024;

/// Addresses of a name that are kept, in the resolver's order: each may cost the time of a connect, and whose name it is
/// says how many there are. Few names have more than eight.
const ADDRESSES: usize = 16;

/// The inboxes of all workers.
#[derive(Debug)]
pub struct Inboxes(Box<[Inbox]>);

#[derive(Debug)]
struct Inbox {
    answers: ArrayQueue<(Key, Answer)>,
    walks: ArrayQueue<Walk>,
    /// Its worker has ended.
    closed: AtomicBool,
}

/// Why a walk cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits for that worker.
    Full,
    /// It has ended, so it has no connections.
    Ended,
}

impl Inboxes {
    pub fn new(workers: usize) -> Self {
        let inbox = |_| Inbox {
            answers: ArrayQueue::new(CAPACITY),
            walks: ArrayQueue::new(CAPACITY),
            closed: AtomicBool::new(false),
        };
        Self((0..workers).map(inbox).collect())
    }

    /// The oldest answer for that worker.
    pub fn pop(&self, worker: usize) -> Option<(Key, Answer)> {
        self.0[worker].answers.pop()
    }

    /// The oldest walk that is asked of that worker.
    pub fn pop_walk(&self, worker: usize) -> Option<Walk> {
        self.0[worker].walks.pop()
    }

    /// Asks a walk of that worker. Ring its bell after it.
    ///
    /// # Errors
    /// When there is no such worker any more, or too much waits for it.
    pub fn push_walk(&self, worker: usize, walk: Walk) -> Result<(), Refused> {
        let inbox = self.0.get(worker).ok_or(Refused::Ended)?;
        if inbox.closed.load(Ordering::SeqCst) {
            return Err(Refused::Ended);
        }
        inbox.walks.push(walk).map_err(|_| Refused::Full)?;
        // It may have ended meanwhile: then it has taken the walk, or is told of here.
        fence(Ordering::SeqCst);
        if inbox.closed.load(Ordering::SeqCst) { Err(Refused::Ended) } else { Ok(()) }
    }

    /// That worker has ended: what comes from now on is refused. Take what is there after it.
    pub fn close(&self, worker: usize) {
        if let Some(inbox) = self.0.get(worker) {
            inbox.closed.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
        }
    }

    /// How much waits for that worker.
    pub fn len(&self, worker: usize) -> usize {
        self.0.get(worker).map_or(0, |inbox| inbox.answers.len() + inbox.walks.len())
    }
}

/// Asks task threads of its own, so that a name server that hangs never delays a reload.
#[derive(Debug)]
pub struct Names {
    pub tasks: Tasks,
    pub inboxes: Arc<Inboxes>,
    /// For its bells.
    pub queue: Arc<Queue>,
    pub resolver: Current,
}

impl Ask for Names {
    fn ask(&self, question: Question) -> bool {
        let (inboxes, queue) = (Arc::clone(&self.inboxes), Arc::clone(&self.queue));
        let resolver = self.resolver.clone();
        let task = move || {
            let Question { worker, key, id, host, port, until } = question;
            // Behind a name server that hung, the threads would else work off questions of those who have given up, while
            // those who come meanwhile give up in turn.
            if clock() >= until {
                return;
            }
            let answer = Answer { id, told: Told::Found(resolve(&resolver, &host, port, until)) };
            if inboxes.0[worker].answers.push((key, answer)).is_ok() {
                queue.bell(worker).signal();
            }
        };
        self.tasks.submit(Box::new(task)).is_ok()
    }

    fn call(&self, caller: Caller, call: &Call) -> bool {
        let Caller { worker, key, id } = caller;
        let Some(inbox) = self.inboxes.0.get(worker) else { return false };
        let called = inbox.answers.push((key, Answer { id, told: Told::Turn(call.clone()) })).is_ok();
        if called {
            self.queue.bell(worker).signal();
        }
        called
    }
}

fn clock() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "once per question, on a thread that is about to wait for the network"
    )]
    Instant::now()
}

fn resolve(resolver: &Current, host: &str, port: u16, until: Instant) -> Result<Box<[SocketAddr]>, Box<str>> {
    let found = resolver.get().host(host, Written::Elsewhere, Take::Kept, until);
    let found = found.map_err(|failure| failure.to_string().into_boxed_str())?.found;
    Ok(first_ones(found.iter().map(|address| SocketAddr::new(*address, port))).into())
}

/// The first of `found`, each once.
fn first_ones(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if addresses.len() < ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tasks::Task;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn nobody_works_for_who_has_given_up() {
        let names = Names {
            tasks: Tasks::start("test", 1).unwrap(),
            inboxes: Arc::new(Inboxes::new(1)),
            queue: Arc::new(Queue::new(1).unwrap()),
            resolver: Current::default(),
        };
        let ask = |index, until| {
            let key = Key { index, generation: 0 };
            names.ask(Question { worker: 0, key, id: 1, host: "127.0.0.1".into(), port: 1, until })
        };
        let (go, blocked) = mpsc::channel::<()>();
        let block: Task = Box::new(move || {
            let _until_it_may = blocked.recv();
        });
        assert!(names.tasks.submit(block).is_ok());
        let now = clock();
        assert!(ask(1, now) && ask(2, now + Duration::from_secs(3600)));
        drop(go);
        let first = loop {
            match names.inboxes.pop(0) {
                Some((key, _)) => break key.index,
                None => thread::yield_now(),
            }
        };
        assert_eq!(first, 2);
    }

    #[test]
    fn a_name_has_a_few_addresses_each_once() {
        let many = |most: u16| (0..most).flat_map(|port| [SocketAddr::from(([192, 0, 2, 1], port)); 2]);
        assert_eq!(first_ones(many(3)).len(), 3);
        let kept = first_ones(many(5000));
        assert_eq!((kept.len(), kept[1].port()), (ADDRESSES, 1));
    }
}
