//! Collections whose work is counted: each entry that is visited, moved, copied or dropped is a step
//! ([`steps`](crate::steps)).
//!
//! Whatever grows with members, swarms, streams or updates, and is looked at under a lock, is in one of these: then
//! nobody goes over it unseen. They have those methods of the collections of `std` that are in use, and do the same.
//! Finding one entry is one step, for its cost grows by the logarithm at most. In release builds nothing is counted.

mod chunks;
mod lists;
mod maps;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};

use crate::steps::count;

pub use chunks::Chunks;

/// A vector. It moves all of its entries when it grows: for what stays small.
pub type List<T> = Counted<Vec<T>>;
/// A queue.
pub type Queue<T> = Counted<VecDeque<T>>;
/// A map in the order of its keys.
pub type Map<K, V> = Counted<BTreeMap<K, V>>;
/// A set in order.
pub type Set<K> = Counted<BTreeSet<K>>;
/// A hash table. It moves all of its entries when it grows: for what stays small.
pub type Table<K, V> = Counted<HashMap<K, V>>;

/// A collection that can be counted.
pub trait Collection: Default {
    /// How many entries there are.
    fn size(&self) -> usize;

    /// How many of them have to be dropped one by one.
    fn to_drop(&self) -> usize {
        self.size()
    }
}

/// A collection whose work is counted.
pub struct Counted<C: Collection>(C);

impl<C: Collection> Counted<C> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.size()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes all entries out: what becomes of them is counted no more. One step.
    pub fn take(&mut self) -> C {
        count(1);
        std::mem::take(&mut self.0)
    }
}

impl<C: Collection> Default for Counted<C> {
    fn default() -> Self {
        Self(C::default())
    }
}

impl<C: Collection + Clone> Clone for Counted<C> {
    fn clone(&self) -> Self {
        count(self.len());
        Self(self.0.clone())
    }
}

#[cfg(debug_assertions)]
impl<C: Collection> Drop for Counted<C> {
    fn drop(&mut self) {
        count(self.0.to_drop());
    }
}

impl<C: Collection + fmt::Debug> fmt::Debug for Counted<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<C: Collection + PartialEq> PartialEq for Counted<C> {
    fn eq(&self, other: &Self) -> bool {
        count(self.len());
        self.0 == other.0
    }
}

impl<C: Collection + Eq> Eq for Counted<C> {}

impl<C: Collection + PartialEq> PartialEq<C> for Counted<C> {
    fn eq(&self, other: &C) -> bool {
        count(self.len());
        self.0 == *other
    }
}

impl<C: Collection + Hash> Hash for Counted<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        count(self.len());
        self.0.hash(state);
    }
}

impl<C: Collection + Extend<A>, A> Extend<A> for Counted<C> {
    fn extend<I: IntoIterator<Item = A>>(&mut self, entries: I) {
        self.0.extend(entries.into_iter().inspect(|_| count(1)));
    }
}

impl<C: Collection + FromIterator<A>, A> FromIterator<A> for Counted<C> {
    fn from_iter<I: IntoIterator<Item = A>>(entries: I) -> Self {
        Self(entries.into_iter().inspect(|_| count(1)).collect())
    }
}
