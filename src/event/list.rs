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
    use proptest::prelude::*;
    use std::collections::{BTreeSet, VecDeque};

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

    /// What happens to a list with bookmarks; numbers count from the beginning again beyond the end.
    #[derive(Clone, Debug)]
    enum Move {
        Push,
        Unlink(usize),
        Pop,
        /// A bookmark is put ahead of all, and taken out again.
        Bookmark,
        TakeBookmark(usize),
        Pass(usize),
    }

    const MARK: u32 = u32::MAX;

    /// A bookmark, what it has passed, and what was there when it came and still is.
    struct Mark {
        node: NodeRef,
        passed: Vec<u32>,
        stayed: BTreeSet<u32>,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let one = prop_oneof![
            4 => Just(Move::Push),
            2 => (0..1000_usize).prop_map(Move::Unlink),
            1 => Just(Move::Pop),
            2 => Just(Move::Bookmark),
            1 => (0..1000_usize).prop_map(Move::TakeBookmark),
            8 => (0..1000_usize).prop_map(Move::Pass),
        ];
        prop::collection::vec(one, 1..300)
    }

    /// The list, and a plain one of what should stand in it: elements by number, bookmarks by `MARK` + place in `marks`.
    #[derive(Default)]
    struct World {
        list: List,
        model: Vec<(u32, usize)>,
        nodes: Vec<NodeRef>,
        /// Those that were taken out stay here, empty.
        marks: Vec<Option<Mark>>,
    }

    impl World {
        fn mark(&self, number: usize) -> Option<usize> {
            let there: Vec<usize> = (0..self.marks.len()).filter(|at| self.marks[*at].is_some()).collect();
            there.get(number % there.len().max(1)).copied()
        }

        fn forget(&mut self, element: u32) {
            self.model.retain(|(key, _)| *key != element);
            for mark in self.marks.iter_mut().flatten() {
                mark.stayed.remove(&element);
            }
        }

        fn push(&mut self) {
            let number = u32::try_from(self.nodes.len()).unwrap();
            self.nodes.push(NodeRef::new(key(number)));
            self.list.push(&self.nodes[number as usize], None);
            self.model.push((number, 0));
        }

        fn bookmark(&mut self) {
            let node = NodeRef::new(key(MARK));
            self.list.push_front(&node);
            let stayed = self.model.iter().map(|(key, _)| *key).filter(|key| *key != MARK).collect();
            self.model.insert(0, (MARK, self.marks.len()));
            self.marks.push(Some(Mark { node, passed: Vec::new(), stayed }));
        }

        /// Moves a bookmark on by one place, in both lists; false: it was at the tail.
        fn pass(&mut self, at: usize) -> bool {
            let place = self.model.iter().position(|entry| *entry == (MARK, at)).unwrap();
            let mark = self.marks[at].as_mut().unwrap();
            let passed = self.list.pass(&mark.node).map(|key| key.index);
            assert_eq!(passed, self.model.get(place + 1).map(|(key, _)| *key));
            let Some(passed) = passed else { return false };
            self.model.swap(place, place + 1);
            if passed != MARK {
                mark.passed.push(passed);
            }
            true
        }

        /// Takes a bookmark out at its end.
        fn take(&mut self, at: usize) {
            let mark = self.marks[at].take().unwrap();
            assert!(self.list.unlink(&mark.node) && !mark.node.is_linked());
            self.model.retain(|entry| *entry != (MARK, at));
            assert!(
                mark.passed.is_sorted_by(|a, b| a < b),
                "in the order they came, none twice: {:?}",
                mark.passed
            );
        }

        fn act(&mut self, chosen: &Move) {
            match *chosen {
                Move::Push => self.push(),
                Move::Unlink(number) => {
                    let chosen = number % self.nodes.len().max(1);
                    let Some(node) = self.nodes.get(chosen) else { return };
                    let chosen = u32::try_from(chosen).unwrap();
                    let was_in = self.model.iter().any(|(key, _)| *key == chosen);
                    assert_eq!(self.list.unlink(node), was_in);
                    self.forget(chosen);
                }
                // As a queue it is popped only where no bookmarks stand.
                Move::Pop if self.marks.iter().all(Option::is_none) => {
                    let first = self.model.first().map(|(key, _)| *key);
                    assert_eq!(self.list.pop().map(|key| key.index), first);
                    first.into_iter().for_each(|first| self.forget(first));
                }
                Move::Pop => {}
                Move::Bookmark => self.bookmark(),
                Move::TakeBookmark(number) => {
                    if let Some(at) = self.mark(number) {
                        self.take(at);
                    }
                }
                Move::Pass(number) => {
                    if let Some(at) = self.mark(number) {
                        self.pass(at);
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn bookmarks_pass_whatever_stays_exactly_once(moves in moves()) {
            let mut world = World::default();
            for chosen in moves {
                world.act(&chosen);
                prop_assert_eq!(world.list.len(), world.model.len());
                prop_assert!(world.list.keys().map(|key| key.index).eq(world.model.iter().map(|(key, _)| *key)));
            }
            for at in 0..world.marks.len() {
                if world.marks[at].is_some() {
                    while world.pass(at) {}
                    let mark = world.marks[at].as_ref().unwrap();
                    let passed: BTreeSet<u32> = mark.passed.iter().copied().collect();
                    prop_assert!(mark.stayed.is_subset(&passed), "{:?} without some of {:?}", passed, mark.stayed);
                    world.take(at);
                }
            }
            // Every node is held by its handle alone once the list is gone: none leaks, none was freed early.
            let World { list, nodes, .. } = world;
            drop(list);
            prop_assert!(nodes.iter().all(|node| Rc::strong_count(&node.0) == 1 && !node.is_linked()));
        }
    }
}
