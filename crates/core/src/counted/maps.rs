//! Maps, sets and hash tables.

use std::collections::btree_map::{self, BTreeMap};
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::ops::RangeBounds;

use super::{Collection, Counted};
use crate::steps::count;

impl<K, V> Collection for BTreeMap<K, V> {
    fn size(&self) -> usize {
        self.len()
    }
}

impl<K> Collection for BTreeSet<K> {
    fn size(&self) -> usize {
        self.len()
    }
}

impl<K, V> Collection for HashMap<K, V> {
    fn size(&self) -> usize {
        self.len()
    }
}

impl<K: Ord, V> Counted<BTreeMap<K, V>> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// See [`BTreeMap::get`].
    pub fn get(&self, key: &K) -> Option<&V> {
        count(1);
        self.0.get(key)
    }

    /// See [`BTreeMap::get_mut`].
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        count(1);
        self.0.get_mut(key)
    }

    /// See [`BTreeMap::contains_key`].
    pub fn contains_key(&self, key: &K) -> bool {
        count(1);
        self.0.contains_key(key)
    }

    /// See [`BTreeMap::insert`].
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        count(1);
        self.0.insert(key, value)
    }

    /// See [`BTreeMap::entry`].
    pub fn entry(&mut self, key: K) -> btree_map::Entry<'_, K, V> {
        count(1);
        self.0.entry(key)
    }

    /// See [`BTreeMap::remove`].
    pub fn remove(&mut self, key: &K) -> Option<V> {
        count(1);
        self.0.remove(key)
    }

    /// Its entries in order, a step each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter().inspect(|_| count(1))
    }

    /// Its values in the order of their keys, a step each.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.0.values().inspect(|_| count(1))
    }

    /// Its entries in a range of keys, a step each.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.range(range).inspect(|_| count(1))
    }
}

impl<K: Ord> Counted<BTreeSet<K>> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(BTreeSet::new())
    }

    /// See [`BTreeSet::contains`].
    pub fn contains(&self, key: &K) -> bool {
        count(1);
        self.0.contains(key)
    }

    /// See [`BTreeSet::insert`].
    pub fn insert(&mut self, key: K) -> bool {
        count(1);
        self.0.insert(key)
    }

    /// See [`BTreeSet::remove`].
    pub fn remove(&mut self, key: &K) -> bool {
        count(1);
        self.0.remove(key)
    }

    /// See [`BTreeSet::first`].
    pub fn first(&self) -> Option<&K> {
        count(1);
        self.0.first()
    }

    /// See [`BTreeSet::last`].
    pub fn last(&self) -> Option<&K> {
        count(1);
        self.0.last()
    }

    /// Its entries in order, a step each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.0.iter().inspect(|_| count(1))
    }

    /// Its entries in a range, a step each.
    pub fn range(&self, range: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = &K> {
        self.0.range(range).inspect(|_| count(1))
    }
}

impl<K: Eq + Hash, V> Counted<HashMap<K, V>> {
    /// See [`HashMap::capacity`].
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// See [`HashMap::get`].
    pub fn get(&self, key: &K) -> Option<&V> {
        count(1);
        self.0.get(key)
    }

    /// See [`HashMap::contains_key`].
    pub fn contains_key(&self, key: &K) -> bool {
        count(1);
        self.0.contains_key(key)
    }

    /// See [`HashMap::insert`]. O(1) amortised: when it is full all entries are moved.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        count(1 + if self.0.len() == self.0.capacity() { self.0.len() } else { 0 });
        self.0.insert(key, value)
    }

    /// See [`HashMap::remove`].
    pub fn remove(&mut self, key: &K) -> Option<V> {
        count(1);
        self.0.remove(key)
    }
}
