//! `grpc-timeout`: how long a client will wait for its call.

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use tokio::time::Instant;

const NAME: HeaderName = HeaderName::from_static("grpc-timeout");

/// The most digits of a timeout, by the gRPC over HTTP/2 page.
const DIGITS: usize = 8;

/// When the client of a call gives it up. Rides in the extensions of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline(pub(super) Instant);

/// A `grpc-timeout` that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The deadline of a call that came at `now`; `None` = it waits for ever.
///
/// # Errors
///
/// When the header is not at most eight digits and one of `H M S m u n`, or is there twice.
pub(super) fn deadline(headers: &HeaderMap, now: Instant) -> Result<Option<Deadline>, Malformed> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Malformed);
    }
    let timeout = parse(value.as_bytes()).ok_or(Malformed)?;
    // A time that no clock will reach is for ever.
    Ok(now.checked_add(timeout).map(Deadline))
}

fn parse(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=DIGITS).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_timeout_unit_is_parsed() {
        let seconds = Duration::from_secs;
        for (text, timeout) in [
            ("1H", seconds(3_600)),
            ("2M", seconds(120)),
            ("3S", seconds(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0n", Duration::ZERO),
            ("99999999H", seconds(99_999_999 * 3_600)),
            ("00000001S", seconds(1)),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(timeout), "{text}");
        }
    }

    #[test]
    fn invalid_timeouts_are_refused() {
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", " 1S", "1S ", "123456789S", "0x1S", "1SS", "٣S"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn repeated_timeout_is_refused() {
        let (mut headers, now) = (HeaderMap::new(), Instant::now());
        assert_eq!(deadline(&headers, now), Ok(None));
        headers.append(NAME, "1S".parse().unwrap());
        assert!(deadline(&headers, now).unwrap().is_some());
        headers.append(NAME, "1S".parse().unwrap());
        assert_eq!(deadline(&headers, now), Err(Malformed));
    }
}
