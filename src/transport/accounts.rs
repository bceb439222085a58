//! The budgets of one server, and the accounts of one connection.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{BudgetUse, MemorySettings};
use crate::budget::{Account, Budget, Holder, Reservation};

/// What a peer may send on one connection before it is read, in bytes.
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What the connections of one server may hold.
#[derive(Clone, Debug)]
pub(crate) struct Budgets {
    receiving: Arc<Budget>,
    sending: Arc<Budget>,
    streams: Arc<Budget>,
}

impl Budgets {
    pub(crate) fn new(memory: MemorySettings) -> Self {
        let MemorySettings { receiving, receiving_connection, sending, sending_connection, streams } = memory;
        Self {
            receiving: Budget::new("memory.receiving_bytes", receiving, receiving_connection),
            sending: Budget::new("memory.sending_bytes", sending, sending_connection),
            // How many streams one connection may have is a limit of HTTP/2.
            streams: Budget::new("memory.streams_bytes", streams, streams),
        }
    }

    /// What of each is used.
    pub(super) fn uses(&self) -> impl Iterator<Item = BudgetUse> {
        [&self.receiving, &self.sending, &self.streams].into_iter().map(|budget| BudgetUse {
            name: budget.name(),
            used: budget.used(),
            limit: budget.limit(),
            cut: budget.cut(),
        })
    }

    /// The accounts of one more connection.
    pub(super) fn open(&self, holder: Weak<dyn Holder>) -> Accounts {
        let receiving = self.receiving.open(Weak::clone(&holder));
        Accounts {
            unasked: Arc::new(Unasked { receiving: Arc::clone(&receiving), blocked: Mutex::default() }),
            receiving,
            sending: self.sending.open(Weak::clone(&holder)),
            streams: self.streams.open(holder),
        }
    }
}

/// What one connection holds.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Requests that have not come whole.
    pub(crate) receiving: Arc<Account>,
    /// Answers that are made and not taken.
    pub(crate) sending: Arc<Account>,
    /// What its streams hold by being open.
    pub(crate) streams: Arc<Account>,
    /// What it may have sent that nobody asks for.
    pub(super) unasked: Arc<Unasked>,
}

/// What a connection may have sent that nobody asks for, because its answers are not read: as much
/// as the window of the connection, for as long as one of its streams is so.
#[derive(Debug)]
pub(super) struct Unasked {
    receiving: Arc<Account>,
    /// How many streams are blocked, and what is set aside for them.
    blocked: Mutex<(usize, Option<Reservation>)>,
}

impl Unasked {
    pub(super) fn block(&self) {
        let (streams, held) = &mut *self.blocked.lock();
        *streams += 1;
        if held.is_none() {
            // Without room its share is used up already, or it is being cut.
            *held = self.receiving.reserve(CONNECTION_WINDOW as usize).ok();
        }
    }

    pub(super) fn unblock(&self) {
        let (streams, held) = &mut *self.blocked.lock();
        *streams -= 1;
        if *streams == 0 {
            *held = None;
        }
    }
}
