// SPDX-License-Identifier: MIT OR Apache-2.0
//! Large answers that many ask for: made once, shared by all who are given them, and counted once.
//!
//! Invariants: what is kept was made of the snapshot that would be shown now; it is bounded in number and in bytes. Not
//! here: what is large, and what is answered (`http/site.rs`).

use super::model::Snapshot;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers kept at once, and their bytes together.
const ANSWERS: usize = 16;
const BYTES: usize = 16 << 20;

/// Bytes that several readers may be given. They count for as long as one of them holds them.
pub struct Shared {
    bytes: Vec<u8>,
    held: Arc<AtomicUsize>,
}

impl Shared {
    fn new(bytes: Vec<u8>, held: &Arc<AtomicUsize>) -> Arc<Self> {
        held.fetch_add(bytes.capacity(), Ordering::Relaxed);
        Arc::new(Self { bytes, held: Arc::clone(held) })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes.capacity(), Ordering::Relaxed);
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// The body of an answer, and its media type.
pub type Body = (&'static str, Arc<Shared>);

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// What they were made of.
    of: Option<Arc<Snapshot>>,
    answers: VecDeque<(String, Body)>,
    /// Bytes that anybody holds, these answers and those that are still on their way.
    held: Arc<AtomicUsize>,
}

impl Kept {
    /// What `question` was answered last, if it would be answered the same now.
    pub(super) fn find(&self, now: &Arc<Snapshot>, question: &str) -> Option<Body> {
        self.of.as_ref().filter(|of| Arc::ptr_eq(of, now))?;
        let (_, (media, body)) = self.answers.iter().find(|(asked, _)| asked == question)?;
        Some((media, Arc::clone(body)))
    }

    /// Keeps an answer that was made of `now`, and gives it back to be shared.
    pub(super) fn keep(
        &mut self,
        now: Arc<Snapshot>,
        question: String,
        media: &'static str,
        body: Vec<u8>,
    ) -> Arc<Shared> {
        if self.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, &now)) {
            self.forget();
            self.of = Some(now);
        }
        let body = Shared::new(body, &self.held);
        self.answers.push_back((question, (media, Arc::clone(&body))));
        let kept = |answers: &VecDeque<(String, Body)>| {
            answers.iter().map(|(_, (_, body))| body.len()).sum::<usize>()
        };
        while self.answers.len() > ANSWERS || kept(&self.answers) > BYTES {
            self.answers.pop_front();
        }
        body
    }

    pub(super) fn forget(&mut self) {
        self.of = None;
        self.answers.clear();
    }

    /// Bytes that anybody holds.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_while_its_snapshot_is_shown_and_counts_once() {
        let (mut kept, first, second) = (Kept::default(), Arc::default(), Arc::default());
        let body = kept.keep(Arc::clone(&first), "/metrics".to_owned(), "text", vec![1; 1000]);
        let again = kept.find(&first, "/metrics").unwrap().1;
        assert!(Arc::ptr_eq(&body, &again));
        assert_eq!(kept.held(), 1000);
        assert!(kept.find(&first, "/").is_none() && kept.find(&second, "/metrics").is_none());
        let other = kept.keep(second, "/metrics".to_owned(), "text", vec![2; 10]);
        assert!(kept.find(&first, "/metrics").is_none());
        assert_eq!(kept.held(), 1010, "somebody is still given the old one");
        drop((body, again, other));
        kept.forget();
        assert_eq!(kept.held(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (mut kept, now) = (Kept::default(), Arc::default());
        for number in 0..2 * ANSWERS {
            kept.keep(Arc::clone(&now), number.to_string(), "text", vec![0; 10]);
        }
        assert_eq!(kept.held(), 10 * ANSWERS);
        kept.keep(Arc::clone(&now), "huge".to_owned(), "text", vec![0; BYTES + 1]);
        assert_eq!(kept.held(), 0);
    }
}
