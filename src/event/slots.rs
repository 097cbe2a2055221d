// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places with generations: a key of something that has gone finds nobody, however often its place was reused.

/// A place and the generation it was given out in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub index: u32,
    pub generation: u32,
}

impl Key {
    /// As the 64 bits epoll carries.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From the 64 bits epoll carried.
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// A slab whose keys go stale.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    /// Invariant: exactly the indices of the empty places.
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    /// Raised whenever the place is emptied. It wraps after four thousand million uses of one place; no key lives
    /// that long.
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts `value` into a free place.
    ///
    /// # Panics
    /// Beyond 2^32 - 1 places, which the limit on connections keeps far away.
    pub fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.places.len()).expect("connections are limited far below 2^32");
            self.places.push(Place { generation: 0, value: None });
            index
        });
        let place = &mut self.places[index as usize];
        place.value = Some(value);
        Key { index, generation: place.generation }
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.generation == key.generation { place.value.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.value.as_mut() } else { None }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nobody() {
        let mut slots = Slots::default();
        let old = slots.insert("old");
        assert_eq!(slots.remove(old), Some("old"));
        let new = slots.insert("new");
        assert_eq!(new.index, old.index, "the place is reused");
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&"new"));
    }

    #[test]
    fn counts_what_it_holds() {
        let mut slots = Slots::default();
        let keys: Vec<Key> = (0..10).map(|n| slots.insert(n)).collect();
        for key in &keys[..4] {
            slots.remove(*key);
        }
        assert_eq!((slots.len(), slots.is_empty()), (6, false));
        for n in 0..4 {
            slots.insert(n);
        }
        assert_eq!(slots.places.len(), 10, "free places are used first");
    }

    #[test]
    fn a_key_survives_the_kernel() {
        let key = Key { index: 7, generation: u32::MAX };
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }
}
