//! What HTTP/2 holds of bodies that were [handed over](super::Handover), whose bytes are those of many
//! streams.
//!
//! They count in the account of their connection only while their reader makes no progress, so that whoever
//! reads in time costs nothing. All other bodies count where they are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::accounts::Accounts;
use super::portion::PORTION;
use crate::budget::{Full, Reservation};

/// What HTTP/2 keeps of a frame beside its bytes.
const OF_FRAME: u64 = 256;

/// What HTTP/2 holds of one stream at most, in bytes: its buffer, and what it was handed last.
const HELD: u64 = 64 * 1024 + PORTION as u64;

/// What is known of such a body.
#[derive(Debug)]
pub(super) struct UnreadBody {
    accounts: Arc<Accounts>,
    /// Bytes that were handed out, and what they cost beside that.
    bytes: AtomicU64,
    frames: AtomicU64,
    /// While its reader makes no progress.
    held: Mutex<Option<Reservation>>,
}

impl UnreadBody {
    pub(super) fn new(accounts: Arc<Accounts>) -> Self {
        Self { accounts, bytes: AtomicU64::new(0), frames: AtomicU64::new(0), held: Mutex::default() }
    }

    /// Counts a frame. One task hands them out.
    pub(super) fn hand_out(&self, bytes: usize) {
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
        self.frames.store(self.frames.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The most that HTTP/2 may hold of it: of small frames there are more.
    fn most(&self) -> usize {
        let (bytes, frames) = (self.bytes.load(Ordering::Relaxed), self.frames.load(Ordering::Relaxed));
        let held = bytes.min(HELD);
        let frames = (frames * held).div_ceil(bytes.max(1));
        usize::try_from(held + frames * OF_FRAME).unwrap_or(usize::MAX)
    }

    /// Counts it while there is no progress. False when its connection has no room for it.
    pub(super) fn count(&self, is_stuck: bool) -> bool {
        let mut held = self.held.lock();
        if !is_stuck {
            *held = None;
        } else if held.is_none() {
            match self.accounts.sending().reserve(self.most()) {
                Ok(reservation) => *held = Some(reservation),
                Err(Full::Share) => return false,
                // Its connection ends.
                Err(Full::Budget) => {}
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Weak;

    use super::super::MemorySettings;
    use super::super::accounts::Budgets;
    use super::*;
    use crate::budget::Holder;

    struct Connection;

    impl Holder for Connection {
        fn caller(&self) -> Option<u64> {
            None
        }

        fn peer(&self) -> IpAddr {
            Ipv4Addr::LOCALHOST.into()
        }

        fn cut(&self, budget: &'static str) {
            unreachable!("{budget} is not full");
        }
    }

    #[test]
    fn handed_out_bytes_count_while_nothing_is_read() {
        let holder: Weak<dyn Holder> = Arc::<Connection>::downgrade(&Arc::new(Connection));
        let memory = MemorySettings { sending_connection: 150_000, ..MemorySettings::UNLIMITED };
        let accounts = Accounts::new(Budgets::new(memory), holder);
        let account = accounts.sending();
        let [first, second] = [(); 2].map(|()| UnreadBody::new(Arc::clone(&accounts)));
        first.hand_out(1_000);
        assert!(first.count(false) && account.held() == 0, "whoever reads costs nothing");
        assert!(first.count(true) && first.count(true));
        assert_eq!(account.held(), 1_256, "once");
        for _ in 0..1_000 {
            first.hand_out(1_000);
            second.hand_out(1_000);
        }
        assert!(first.count(false) && first.count(true));
        // Not more than HTTP/2 holds: 98 304 bytes, in 99 frames of those.
        assert_eq!(account.held(), 98_304 + 99 * 256);
        assert!(!second.count(true), "its connection has no room for it");
        assert!(first.count(false) && second.count(true));
        drop((first, second));
        assert_eq!(account.held(), 0);
    }
}
