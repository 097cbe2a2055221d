// SPDX-License-Identifier: MIT OR Apache-2.0
//! A queue of keys with O(1) removal from the middle: the list of connections, the deadlines, the backoff queue.
//!
//! What is linked is a *node* beside the handler, never the handler itself: the list needs shared access to what it
//! links, while a handler is reached through `&mut` on every event. The only file that names `intrusive-collections`
//! and `Rc` (a node is owned by its handler's slot and by the list; both live in one thread).

#![allow(unsafe_code, clippy::disallowed_types, reason = "see the file's header; one block, with its proof")]

use super::Key;
use intrusive_collections::linked_list::CursorMut;
use intrusive_collections::{LinkedList, LinkedListLink, intrusive_adapter};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// What is linked: a key, and a time for the lists that are ordered by one.
#[derive(Debug)]
pub struct Node {
    link: LinkedListLink,
    /// The list it is linked in, 0 for none. Invariant: non-zero exactly while `link` is linked, in that list.
    list: Cell<u32>,
    key: Key,
    due: Cell<Option<Instant>>,
}

intrusive_adapter!(NodeAdapter = Rc<Node>: Node { link => LinkedListLink });

/// A handle to a node that may stand in one [`List`] at a time.
#[derive(Debug)]
pub struct NodeRef(Rc<Node>);

impl NodeRef {
    pub fn new(key: Key) -> Self {
        let due = Cell::new(None);
        Self(Rc::new(Node { link: LinkedListLink::new(), list: Cell::new(0), key, due }))
    }

    pub fn is_linked(&self) -> bool {
        self.0.list.get() != 0
    }

    /// When it is due, if it was queued with a time.
    pub fn due(&self) -> Option<Instant> {
        self.0.due.get()
    }
}

/// First in, first out, unless unlinked before.
#[derive(Debug)]
pub struct List {
    nodes: LinkedList<NodeAdapter>,
    id: u32,
    length: usize,
}

/// Numbers for lists, so that a node knows which one it is in. 0 is never given out.
static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Default for List {
    fn default() -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed).max(1);
        Self { nodes: LinkedList::new(NodeAdapter::new()), id, length: 0 }
    }
}

impl List {
    /// Puts the node at the tail. One that is linked, here or elsewhere, must be unlinked first; it stays where it is.
    pub fn push(&mut self, node: &NodeRef, due: Option<Instant>) {
        debug_assert!(!node.is_linked(), "a node stands in one list at a time");
        if node.is_linked() {
            return;
        }
        node.0.list.set(self.id);
        node.0.due.set(due);
        self.nodes.push_back(Rc::clone(&node.0));
        self.length += 1;
    }

    /// Puts the node at the head. One that is linked stays where it is.
    pub fn push_front(&mut self, node: &NodeRef) {
        debug_assert!(!node.is_linked(), "a node stands in one list at a time");
        if node.is_linked() {
            return;
        }
        node.0.list.set(self.id);
        self.nodes.push_front(Rc::clone(&node.0));
        self.length += 1;
    }

    /// Takes the node out, wherever it stands in this list; false if it is not in it.
    pub fn unlink(&mut self, node: &NodeRef) -> bool {
        let Some(mut cursor) = self.cursor(node) else { return false };
        cursor.remove();
        node.0.list.set(0);
        self.length -= 1;
        true
    }

    /// Moves the node one place towards the tail; the key it has passed. Nothing: it is at the tail, or not in this list.
    pub fn pass(&mut self, node: &NodeRef) -> Option<Key> {
        let mut cursor = self.cursor(node)?;
        let passed = cursor.peek_next().get()?.key;
        // Taking it out moves the cursor to the one that is passed.
        let taken = cursor.remove()?;
        cursor.insert_after(taken);
        Some(passed)
    }

    /// A cursor at the node, if it is in this list.
    fn cursor(&mut self, node: &NodeRef) -> Option<CursorMut<'_, NodeAdapter>> {
        if node.0.list.get() != self.id {
            return None;
        }
        // SAFETY: the node must be linked in this list. `Node::list` is set to this list's number only in `push` and
        // `push_front`, which link it here, and to 0 wherever it is taken out for good (`pass` puts it back at once);
        // numbers are unique and a list never moves its nodes to another. It has just been compared.
        Some(unsafe { self.nodes.cursor_mut_from_ptr(Rc::as_ptr(&node.0)) })
    }

    /// The key at the head, and when it is due.
    pub fn front(&self) -> Option<(Key, Option<Instant>)> {
        self.nodes.front().get().map(|node| (node.key, node.due.get()))
    }

    /// Takes the head out.
    pub fn pop(&mut self) -> Option<Key> {
        let node = self.nodes.pop_front()?;
        node.list.set(0);
        self.length -= 1;
        Some(node.key)
    }

    /// The keys from head to tail.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.nodes.iter().map(|node| node.key)
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Drop for List {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn key(index: u32) -> Key {
        Key { index, generation: 0 }
    }

    #[test]
    fn behaves_like_a_queue_with_removal_from_the_middle() {
        let mut list = List::default();
        let mut model = VecDeque::new();
        let nodes: Vec<NodeRef> = (0..50).map(|n| NodeRef::new(key(n))).collect();
        let mut random = 12345_u32;
        for _ in 0..5000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let chosen = (random >> 16) % 50;
            let node = &nodes[chosen as usize];
            match (random >> 8) % 3 {
                0 if !node.is_linked() => {
                    list.push(node, None);
                    model.push_back(chosen);
                }
                1 => {
                    let was_in = model.iter().position(|n| *n == chosen).map(|at| model.remove(at)).is_some();
                    assert_eq!(list.unlink(node), was_in);
                }
                _ => assert_eq!(list.pop().map(|key| key.index), model.pop_front()),
            }
            assert_eq!(list.len(), model.len());
            assert!(list.keys().map(|key| key.index).eq(model.iter().copied()));
        }
    }

    #[test]
    fn another_lists_node_is_left_alone() {
        let (mut mine, mut other) = (List::default(), List::default());
        let node = NodeRef::new(key(1));
        other.push(&node, None);
        assert!(!mine.unlink(&node));
        assert!(other.unlink(&node));
        assert!(!node.is_linked());
    }

    #[test]
    fn dropping_a_list_frees_its_nodes_for_another() {
        let node = NodeRef::new(key(1));
        let mut first = List::default();
        first.push(&node, None);
        drop(first);
        let mut second = List::default();
        second.push(&node, None);
        assert_eq!(second.front(), Some((key(1), None)));
    }
}
