// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deadlines: one queue per distinct duration, so each queue is sorted by itself and restarting costs O(1).
//!
//! There are few distinct durations (the timeouts of the configuration), which is what makes this cheaper than a heap.

use super::Key;
use super::list::{List, NodeRef};
use std::time::{Duration, Instant};

/// Who must be woken when nothing happened.
#[derive(Debug, Default)]
pub struct Deadlines {
    queues: Vec<Queue>,
}

#[derive(Debug)]
struct Queue {
    duration: Duration,
    list: List,
}

impl Deadlines {
    /// Wakes the node's owner `after` from `now`, instead of whenever it was armed for.
    pub fn restart(&mut self, node: &NodeRef, after: Duration, now: Instant) {
        let due = now.checked_add(after);
        if node.is_linked() {
            if node.due() == due {
                return;
            }
            self.cancel(node);
        }
        // A duration beyond what the clock can count never comes.
        if due.is_none() {
            return;
        }
        let at = self.queue_of(after);
        self.queues[at].list.push(node, due);
    }

    /// Forgets the node.
    pub fn cancel(&mut self, node: &NodeRef) {
        if node.is_linked() {
            for queue in &mut self.queues {
                if queue.list.unlink(node) {
                    return;
                }
            }
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.queues.iter().filter_map(|queue| queue.list.front()?.1).min()
    }

    /// Takes out one that is due, if there is any.
    pub fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let due = self.queues.iter_mut().find(|queue| match queue.list.front() {
            Some((_, Some(due))) => due <= now,
            _ => false,
        })?;
        due.list.pop()
    }

    /// The queue of that duration; one that is empty is used again, so that reloads do not pile them up.
    fn queue_of(&mut self, duration: Duration) -> usize {
        if let Some(at) = self.queues.iter().position(|queue| queue.duration == duration) {
            return at;
        }
        if let Some(at) = self.queues.iter().position(|queue| queue.list.is_empty()) {
            self.queues[at].duration = duration;
            return at;
        }
        self.queues.push(Queue { duration, list: List::default() });
        self.queues.len() - 1
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(index: u32) -> NodeRef {
        NodeRef::new(Key { index, generation: 0 })
    }

    #[test]
    fn fires_in_order_of_time_over_all_durations() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        let nodes = [node(0), node(1), node(2)];
        deadlines.restart(&nodes[0], 3 * SECOND, now);
        deadlines.restart(&nodes[1], SECOND, now);
        deadlines.restart(&nodes[2], SECOND, now + SECOND);
        assert_eq!(deadlines.next(), Some(now + SECOND));
        assert_eq!(deadlines.pop_due(now), None);
        assert_eq!(deadlines.pop_due(now + SECOND).unwrap().index, 1);
        assert_eq!(deadlines.pop_due(now + SECOND), None);
        assert_eq!(deadlines.pop_due(now + 2 * SECOND).unwrap().index, 2);
        assert_eq!(deadlines.pop_due(now + 3 * SECOND).unwrap().index, 0);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn restarting_moves_it_back() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        let (first, second) = (node(1), node(2));
        deadlines.restart(&first, SECOND, now);
        deadlines.restart(&second, SECOND, now);
        deadlines.restart(&first, SECOND, now + SECOND / 2);
        assert_eq!(deadlines.pop_due(now + SECOND).unwrap().index, 2);
        assert_eq!(deadlines.pop_due(now + SECOND), None);
        deadlines.restart(&first, 5 * SECOND, now + SECOND);
        assert_eq!(deadlines.pop_due(now + 2 * SECOND), None);
        assert_eq!(deadlines.next(), Some(now + 6 * SECOND));
    }

    #[test]
    fn cancelled_ones_do_not_fire_and_queues_are_used_again() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        let one = node(1);
        for seconds in 1..100 {
            deadlines.restart(&one, seconds * SECOND, now);
        }
        assert_eq!(deadlines.queues.len(), 1);
        deadlines.cancel(&one);
        assert_eq!((deadlines.next(), deadlines.pop_due(now + 1000 * SECOND)), (None, None));
    }

    #[test]
    fn a_duration_without_end_never_fires() {
        let (mut deadlines, now) = (Deadlines::default(), Instant::now());
        let one = node(1);
        deadlines.restart(&one, Duration::MAX, now);
        assert_eq!(deadlines.next(), None);
    }
}
