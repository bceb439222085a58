//! Vectors and queues.

use std::collections::VecDeque;
use std::mem::needs_drop;
use std::ops::{Index, IndexMut, Range, RangeBounds};

use super::{Collection, Counted};
use crate::steps::count;

/// Bytes that one step moves when a collection grows: a line of the cache.
const LINE: usize = 64;

/// Steps of moving so many entries.
const fn moving<T>(entries: usize) -> usize {
    entries * size_of::<T>() / LINE
}

impl<T> Collection for Vec<T> {
    fn size(&self) -> usize {
        self.len()
    }

    fn to_drop(&self) -> usize {
        if needs_drop::<T>() { self.len() } else { 0 }
    }
}

impl<T> Collection for VecDeque<T> {
    fn size(&self) -> usize {
        self.len()
    }

    fn to_drop(&self) -> usize {
        if needs_drop::<T>() { self.len() } else { 0 }
    }
}

impl<T> Counted<Vec<T>> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// See [`Vec::capacity`].
    pub const fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// See [`Vec::push`]. O(1) amortised: when it is full all entries are moved.
    pub fn push(&mut self, entry: T) {
        count(1 + if self.0.len() == self.0.capacity() { moving::<T>(self.0.len()) } else { 0 });
        self.0.push(entry);
    }

    /// See [`Vec::pop`].
    pub fn pop(&mut self) -> Option<T> {
        count(1);
        self.0.pop()
    }

    /// See [`slice::get`].
    pub fn get(&self, at: usize) -> Option<&T> {
        count(1);
        self.0.get(at)
    }

    /// See [`slice::get_mut`].
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        count(1);
        self.0.get_mut(at)
    }

    /// See [`slice::swap`].
    pub fn swap(&mut self, a: usize, b: usize) {
        count(1);
        self.0.swap(a, b);
    }

    /// See [`Vec::swap_remove`].
    pub fn swap_remove(&mut self, at: usize) -> T {
        count(1);
        self.0.swap_remove(at)
    }

    /// See [`Vec::resize_with`].
    pub fn resize_with(&mut self, len: usize, fill: impl FnMut() -> T) {
        let more = len.saturating_sub(self.0.len());
        count(more + if len > self.0.capacity() { moving::<T>(self.0.len()) } else { 0 });
        self.0.resize_with(len, fill);
    }

    /// See [`Vec::reserve_exact`].
    pub fn reserve_exact(&mut self, more: usize) {
        if self.0.len() + more > self.0.capacity() {
            count(moving::<T>(self.0.len()));
        }
        self.0.reserve_exact(more);
    }

    /// Its entries, a step each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.0.iter().inspect(|_| count(1))
    }

    /// Its entries from a place on, a step each.
    pub fn iter_from(&self, from: usize) -> impl DoubleEndedIterator<Item = &T> {
        self.0.get(from..).unwrap_or_default().iter().inspect(|_| count(1))
    }

    /// Its entries to change, a step each.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut T> + ExactSizeIterator {
        self.0.iter_mut().inspect(|_| count(1))
    }

    /// Entries in a row, a step each.
    pub fn slice(&self, range: Range<usize>) -> &[T] {
        count(range.len());
        &self.0[range]
    }

    /// All entries in a row. Nothing is counted: for who looks at a few of them, and counts these.
    pub fn unvisited(&self) -> &[T] {
        &self.0
    }
}

impl<T> Index<usize> for Counted<Vec<T>> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        count(1);
        &self.0[at]
    }
}

impl<T> IndexMut<usize> for Counted<Vec<T>> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        count(1);
        &mut self.0[at]
    }
}

impl<T> Counted<VecDeque<T>> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// See [`VecDeque::capacity`].
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// See [`VecDeque::push_back`]. O(1) amortised: when it is full all entries are moved.
    pub fn push_back(&mut self, entry: T) {
        count(1 + if self.0.len() == self.0.capacity() { moving::<T>(self.0.len()) } else { 0 });
        self.0.push_back(entry);
    }

    /// See [`VecDeque::push_front`].
    pub fn push_front(&mut self, entry: T) {
        count(1 + if self.0.len() == self.0.capacity() { moving::<T>(self.0.len()) } else { 0 });
        self.0.push_front(entry);
    }

    /// See [`VecDeque::pop_front`].
    pub fn pop_front(&mut self) -> Option<T> {
        count(1);
        self.0.pop_front()
    }

    /// See [`VecDeque::front`].
    pub fn front(&self) -> Option<&T> {
        count(1);
        self.0.front()
    }

    /// See [`VecDeque::get`].
    pub fn get(&self, at: usize) -> Option<&T> {
        count(1);
        self.0.get(at)
    }

    /// See [`VecDeque::get_mut`].
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        count(1);
        self.0.get_mut(at)
    }

    /// See [`VecDeque::append`].
    pub fn append(&mut self, other: &mut Self) {
        count(1 + moving::<T>(other.0.len()));
        self.0.append(&mut other.0);
    }

    /// See [`VecDeque::shrink_to`].
    pub fn shrink_to(&mut self, room: usize) {
        count(1 + moving::<T>(self.0.len()));
        self.0.shrink_to(room);
    }

    /// See [`VecDeque::partition_point`].
    pub fn partition_point(&self, is_before: impl FnMut(&T) -> bool) -> usize {
        count(1);
        self.0.partition_point(is_before)
    }

    /// Its entries, a step each.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.0.iter().inspect(|_| count(1))
    }

    /// Its entries in a range of places, a step each.
    pub fn range(&self, range: impl RangeBounds<usize>) -> impl DoubleEndedIterator<Item = &T> {
        self.0.range(range).inspect(|_| count(1))
    }

    /// The first entries, a step each.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> impl Iterator<Item = T> {
        self.0.drain(range).inspect(|_| count(1))
    }
}
