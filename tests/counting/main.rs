//! A proof by counting: what each RPC and watch does under locks, and what it leaves in memory, does not grow with the
//! population beyond what it changes or answers.
//!
//! Every method of the schema is called over real gRPC with the largest request that is legal, in two worlds that differ
//! by a factor of ten. Steps are counted by the collections of `starling_core::counted` while a lock is held, in debug
//! builds alone. What a loop over anything else would not count, an allocator sees if it copies; `tests/tidy` refuses
//! other maps, sets and queues where locks are held.
#![cfg(debug_assertions)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod groups;
mod livestreams;
mod meter;
mod sets;
mod table;
mod world;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use peak_alloc::PeakAlloc;
use prost::Message;
use prost_types::FileDescriptorSet;

use meter::Phase;
use table::ROWS;
use world::{LARGE, SMALL, Size, World};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The allocator counts for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All methods of the schema, as `package.Service/Method`.
fn methods() -> BTreeSet<String> {
    let descriptors = FileDescriptorSet::decode(starling::pb::DESCRIPTORS).unwrap();
    let mut found = BTreeSet::new();
    for file in &descriptors.file {
        for service in &file.service {
            let name = |method: &prost_types::MethodDescriptorProto| {
                format!("{}.{}/{}", file.package(), service.name(), method.name())
            };
            found.extend(service.method.iter().map(name));
        }
    }
    found
}

/// What every row does in a world of this size, in one thread: there the steps are counted.
fn counted(size: Size) -> Vec<Phase> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let phases = runtime.block_on(async {
        let mut world = World::new(size).await;
        for (method, row) in ROWS {
            world.method = method;
            row(&mut world).await;
        }
        std::mem::take(&mut world.phases)
    });
    runtime.shutdown_background();
    phases
}

#[test]
fn every_method_has_a_row() {
    let rows: BTreeSet<String> = ROWS.iter().map(|(method, _)| (*method).to_owned()).collect();
    assert_eq!(rows.len(), ROWS.len(), "a method has one row");
    assert_eq!(rows, methods(), "add what is missing to tests/counting/table.rs");
}

#[test]
fn work_under_locks_does_not_grow_with_population() {
    let _alone = alone();
    let (small, large) = (counted(SMALL), counted(LARGE));
    let problems = meter::compare(&small, &large);
    assert!(problems.is_empty(), "{} problem(s):\n{}", problems.len(), problems.join("\n"));
}
