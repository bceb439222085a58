//! States that are read from bytes, as snapshots keep them: of a swarm, or the table of revoked tokens.

use starling_core::wire::state::{self, StateDecoder, StateVersion};
use starling_core::{SharedCommand, Swarm, apply, wire};

/// How often what is due is carried out afterwards.
const MOST: usize = 16;

/// Reads a state, and goes on with it.
///
/// # Panics
///
/// When what is read breaks an invariant, then or when what is due in it is carried out, when it has two forms, or when
/// pieces of it are read as another state.
pub fn states(bytes: &[u8]) {
    if let Ok(table) = wire::revocations::decode(bytes) {
        table.check();
        assert_eq!(wire::revocations::encode(&table), bytes, "a table has one form");
    }
    let Ok(swarm) = state::decode(bytes) else {
        assert!(in_pieces(bytes).is_err(), "it is no state, and its pieces are one");
        return;
    };
    swarm.check();
    assert_eq!(state::encode(&swarm, StateVersion::NEWEST), bytes, "a state has one form");
    let twin = in_pieces(bytes).expect("it is a state, and so are its pieces");
    go_on(swarm, twin);
}

/// Reads it in pieces that are cut where nothing ends.
fn in_pieces(bytes: &[u8]) -> Result<Swarm, state::StateError> {
    let mut decoder = StateDecoder::default();
    for piece in bytes.chunks(7) {
        decoder = decoder.feed(piece)?;
    }
    decoder.finish()
}

/// Carries out what is due in both, until nothing is.
fn go_on(swarm: Swarm, twin: Swarm) {
    let (mut slot, mut twin) = (Some(Box::new(swarm)), Some(Box::new(twin)));
    for _ in 0..MOST {
        assert_eq!(running_digest(slot.as_deref()), running_digest(twin.as_deref()), "they are one swarm");
        let Some((at, due)) = slot.as_deref().and_then(|swarm| Some((swarm.now(), swarm.next_expiry()?))) else {
            return;
        };
        let (at, expire) = (at.max(due), || SharedCommand::Expire.into());
        let (done, again) = (apply(&mut slot, expire(), at), apply(&mut twin, expire(), at));
        assert_eq!(
            done.map(|(applied, _)| (applied.revision, applied.events.len())),
            again.map(|(applied, _)| (applied.revision, applied.events.len())),
        );
        slot.iter().for_each(|swarm| swarm.check());
    }
}

fn running_digest(swarm: Option<&Swarm>) -> Option<u64> {
    swarm.map(|swarm| state::running_digest(swarm, StateVersion::NEWEST))
}
