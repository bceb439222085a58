//! How much of a body is handed to HTTP/2 at once.

/// What is handed out at once at most, in bytes.
pub(super) const PORTION: usize = 32 * 1024;

/// A DATA frame below this many bytes is copied by HTTP/2, and counted by some
/// clients against a flood (`too_many_data_frames` of h2 0.4).
const SMALLEST: usize = 256;

/// HTTP/2 cuts what it is handed into DATA frames of this many bytes, unless the client
/// takes larger ones.
const FRAME: usize = 16 * 1024;

/// How much of so many bytes is handed out at a time, so that no frame is small unless all
/// of it is.
pub(super) fn portion(length: usize) -> usize {
    let is_small = |rest| (1..SMALLEST).contains(&rest);
    let most = length.min(PORTION);
    let tail = if most > FRAME { most % FRAME } else { 0 };
    if is_small(length - most) || is_small(tail) { most - SMALLEST } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_frame_is_small_unless_all_is() {
        for length in SMALLEST..5 * PORTION {
            let mut left = length;
            while left > 0 {
                let handed_out = portion(left);
                assert!(handed_out <= PORTION && handed_out <= left);
                let last_frame = if handed_out.is_multiple_of(FRAME) { FRAME } else { handed_out % FRAME };
                assert!(last_frame.min(handed_out) >= SMALLEST, "{handed_out} of {left} of {length}");
                left -= handed_out;
            }
        }
    }
}
