//! The budgets of one server, and the accounts of one connection.

use std::sync::{Arc, Weak};

use super::MemorySettings;
use crate::budget::{Account, Budget, Holder};

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

    /// The accounts of one more connection.
    pub(super) fn open(&self, holder: Weak<dyn Holder>) -> Accounts {
        Accounts {
            receiving: self.receiving.open(Weak::clone(&holder)),
            sending: self.sending.open(Weak::clone(&holder)),
            streams: self.streams.open(holder),
        }
    }
}

/// What one connection holds.
#[derive(Debug)]
#[allow(dead_code, reason = "what is reserved comes next")]
pub(crate) struct Accounts {
    /// Requests that have not come whole.
    pub(crate) receiving: Arc<Account>,
    /// Answers that are made and not taken.
    pub(crate) sending: Arc<Account>,
    /// What its streams hold by being open.
    pub(crate) streams: Arc<Account>,
}
