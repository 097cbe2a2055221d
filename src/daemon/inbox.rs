// SPDX-License-Identifier: MIT OR Apache-2.0
//! What task threads answer to workers' connections: one bounded lock-free inbox per worker, beside its bell.
//!
//! An answer carries the key of who asked, with its generation: one that comes too late finds nobody.

use super::queue::Queue;
use super::tasks::Tasks;
use crate::connection::context::{Answer, Ask, Question};
use crate::event::Key;
use crossbeam_queue::ArrayQueue;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// Answers that may wait for one worker. Beyond it they are lost, and who asked gives up when its time is over: a worker
/// that does not come to read so many has other troubles.
const CAPACITY: usize = 1024;

/// Addresses of a name that are kept, in the resolver's order: each may cost the time of a connect, and whose name it is
/// says how many there are. Few names have more than eight.
const ADDRESSES: usize = 16;

/// The inboxes of all workers.
#[derive(Debug)]
pub struct Inboxes(Box<[ArrayQueue<(Key, Answer)>]>);

impl Inboxes {
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| ArrayQueue::new(CAPACITY)).collect())
    }

    /// The oldest answer for that worker.
    pub fn pop(&self, worker: usize) -> Option<(Key, Answer)> {
        self.0[worker].pop()
    }

    pub fn is_empty(&self, worker: usize) -> bool {
        self.0[worker].is_empty()
    }
}

/// Asks task threads of its own, so that a name server that hangs never delays a reload.
#[derive(Debug)]
pub struct Names {
    pub tasks: Tasks,
    pub inboxes: Arc<Inboxes>,
    /// For its bells.
    pub queue: Arc<Queue>,
}

impl Ask for Names {
    fn ask(&self, question: Question) -> bool {
        let (inboxes, queue) = (Arc::clone(&self.inboxes), Arc::clone(&self.queue));
        let task = move || {
            let Question { worker, key, host, port } = question;
            let answer = resolve(&host, port);
            if inboxes.0[worker].push((key, answer)).is_ok() {
                queue.bell(worker).signal();
            }
        };
        self.tasks.submit(Box::new(task)).is_ok()
    }
}

/// Blocks for as long as the system's resolver does.
fn resolve(host: &str, port: u16) -> Answer {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string().into_boxed_str())?;
    let addresses = first_ones(found);
    if addresses.is_empty() { Err("the name has no address".into()) } else { Ok(addresses.into()) }
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

    #[test]
    fn a_name_has_a_few_addresses_each_once() {
        let many = |most: u16| (0..most).flat_map(|port| [SocketAddr::from(([192, 0, 2, 1], port)); 2]);
        assert_eq!(first_ones(many(3)).len(), 3);
        let kept = first_ones(many(5000));
        assert_eq!((kept.len(), kept[1].port()), (ADDRESSES, 1));
    }
}
