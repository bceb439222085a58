//! Which subscriptions wait for updates, and when they are to be woken.
//!
//! A subscription that has read everything parks here under its
//! [`DeliveryClass`](super::subscriber::DeliveryClass). Its way:
//!
//! ```text
//!                    park: nothing urgent unread
//!        reading ───────────────────────────────────► parked
//!           ▲   ◄─── park refused: read again            │ on_append makes the class due
//!           │                                            ▼
//!           └────────── woken by the wake task ◄──── parked, due at now + window
//! ```
//!
//! An update makes each class that gets it due after the delivery window of that class; the
//! wake task, one for each feed that is read, wakes all subscriptions of the classes that are
//! due. So publishing costs O(classes) however many wait (at most 6^5 classes, in practice one
//! to four), and a subscription is woken once per window and not once per update. A
//! subscription that reads, or waits for room in HTTP/2, is not parked and costs nothing.
//!
//! Nothing is missed: the schedule knows the number after the newest update of each channel
//! and kind, so that `park` finds what was appended between the last read and the lock.

mod task;
mod waiting;
mod window;

pub use waiting::NextStep;

pub(super) use task::spawn;
pub(super) use waiting::WakeSchedule;
pub(super) use window::Appended;
