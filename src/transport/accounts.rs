//! The budgets of one server, and the accounts of one connection.

use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::{BudgetUse, MemorySettings};
use crate::budget::{Account, Budget, Holder, Reservation};

/// What a peer may send on one connection before it is read, in bytes.
pub(super) const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What the connections of one server may hold.
#[derive(Debug)]
pub(crate) struct Budgets {
    receiving: Arc<Budget>,
    sending: Arc<Budget>,
    streams: Arc<Budget>,
}

impl Budgets {
    pub(crate) fn new(memory: MemorySettings) -> Arc<Self> {
        let MemorySettings { receiving, receiving_connection, sending, sending_connection, streams } = memory;
        Arc::new(Self {
            receiving: Budget::new("memory.receiving_bytes", receiving, receiving_connection),
            sending: Budget::new("memory.sending_bytes", sending, sending_connection),
            // How many streams one connection may have is a limit of HTTP/2.
            streams: Budget::new("memory.streams_bytes", streams, streams),
        })
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
}

/// What one connection holds. Its accounts are opened when they are first used: most connections wait for
/// updates, read in time and send what comes whole, and need one of them.
#[derive(Debug)]
pub(crate) struct Accounts {
    budgets: Arc<Budgets>,
    holder: Weak<dyn Holder>,
    receiving: OnceLock<Arc<Account>>,
    sending: OnceLock<Arc<Account>>,
    streams: OnceLock<Arc<Account>>,
    /// How many streams send what nobody asks for, and what is set aside for them.
    blocked: Mutex<(usize, Option<Reservation>)>,
}

impl Accounts {
    /// Those of one more connection.
    pub(super) fn new(budgets: Arc<Budgets>, holder: Weak<dyn Holder>) -> Arc<Self> {
        Arc::new(Self {
            budgets,
            holder,
            receiving: OnceLock::new(),
            sending: OnceLock::new(),
            streams: OnceLock::new(),
            blocked: Mutex::default(),
        })
    }

    /// Requests that have not come whole.
    pub(crate) fn receiving(&self) -> &Arc<Account> {
        self.receiving.get_or_init(|| self.budgets.receiving.open(Weak::clone(&self.holder)))
    }

    /// Answers that are made and not taken.
    pub(crate) fn sending(&self) -> &Arc<Account> {
        self.sending.get_or_init(|| self.budgets.sending.open(Weak::clone(&self.holder)))
    }

    /// What its streams hold by being open.
    pub(crate) fn streams(&self) -> &Arc<Account> {
        self.streams.get_or_init(|| self.budgets.streams.open(Weak::clone(&self.holder)))
    }

    /// Notes that nobody asks for what a stream sends, because its answer is not read. While one stream is so,
    /// as much as the window of the connection counts as being received.
    pub(super) fn block(&self) {
        let (streams, held) = &mut *self.blocked.lock();
        *streams += 1;
        if held.is_none() {
            // Without room its share is used up already, or it is being cut.
            *held = self.receiving().reserve(CONNECTION_WINDOW as usize).ok();
        }
    }

    /// Notes that such a stream is asked again, or over.
    pub(super) fn unblock(&self) {
        let (streams, held) = &mut *self.blocked.lock();
        *streams -= 1;
        if *streams == 0 {
            *held = None;
        }
    }
}
