//! Numbers as bytes: LEB128 in the fewest bytes, so that each number has one form. All that the log keeps has it.

/// Why bytes are no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    /// They end too early.
    Truncated,
    /// It is above 2^64 - 1.
    TooLarge,
    /// It has a shorter form.
    Overlong,
}

/// Appends a number, in 1 to 10 bytes.
pub fn put(number: u64, out: &mut Vec<u8>) {
    let mut rest = number;
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        out.push(low | 0x80);
        rest >>= 7;
    }
    let [low, ..] = rest.to_le_bytes();
    out.push(low);
}

/// Reads the number at `offset`, and puts that forward to what follows; in an error, past the byte that is at fault.
///
/// # Errors
///
/// Why there is none.
pub fn take(bytes: &[u8], offset: &mut usize) -> Result<u64, NumberFault> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = *bytes.get(*offset).ok_or(NumberFault::Truncated)?;
        *offset += 1;
        // Nine bytes hold 63 bits. A tenth holds the last one, and is the last.
        if shift == 63 && byte > 1 {
            return Err(NumberFault::TooLarge);
        }
        // A last byte of 0 says nothing.
        if byte == 0 && shift > 0 {
            return Err(NumberFault::Overlong);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
        shift += 7;
    }
}
