//! Bytes as text, for files and command lines.

/// A text that is not so many bytes in hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {digits} hexadecimal digits")]
pub struct HexError {
    /// How many digits there must be.
    digits: usize,
}

/// Two digits for each byte.
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("four bits are one digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes that a text names, capital letters or not.
///
/// # Errors
///
/// [`HexError`] when there is another number of digits, or something else than digits.
pub fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let wrong = HexError { digits: 2 * N };
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()))
        .collect::<Option<_>>()
        .ok_or(wrong)?;
    if digits.len() != 2 * N {
        return Err(wrong);
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_digits_and_come_back() {
        assert_eq!(to_hex(&[0, 0x0f, 0xa5, 0xff]), "000fa5ff");
        assert_eq!(from_hex("000fA5Ff"), Ok([0, 0x0f, 0xa5, 0xff]));
        for wrong in ["", "000fa5f", "000fa5ff00", "000fa5fg", "+00fa5ff", "000fa5é"] {
            assert_eq!(from_hex::<4>(wrong), Err(HexError { digits: 8 }), "{wrong}");
        }
    }
}
