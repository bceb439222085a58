//! Preambles as proxies write them, and as they do not.

use tokio::io::AsyncWriteExt;

use super::*;

const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// 192.0.2.1:4711 to 10.0.0.1:443.
const ADDRESSES4: &[u8] = &[192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];

fn client(address: &str) -> Announced {
    Announced::Client(address.parse().unwrap())
}

/// A preamble with this command and family, and what follows its length.
fn preamble(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
}

/// The addresses of a client of IPv6.
fn addresses6(client: &str) -> Vec<u8> {
    let client: std::net::Ipv6Addr = client.parse().unwrap();
    [&client.octets()[..], &[0; 15], &[1, 0x12, 0x67, 1, 0xbb]].concat()
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A preamble of IPv4 with these extensions, of which the last is a checksum changed by `change`.
fn sealed(extensions: &[u8], change: u32) -> Vec<u8> {
    let without = [ADDRESSES4, extensions, &extension(3, &[0; 4])].concat();
    let mut sealed = preamble(PROXY, TCP4, &without);
    let checksum = crc32c(sealed.iter().copied()) ^ change;
    let at = sealed.len() - 4;
    sealed[at..].copy_from_slice(&checksum.to_be_bytes());
    sealed
}

/// What a preamble says, and how many bytes are left of what came.
async fn received(bytes: &[u8]) -> (Result<Announced, PreambleError>, usize) {
    let mut left = bytes;
    let announced = receive(&mut left).await;
    (announced, left.len())
}

async fn refused(bytes: &[u8]) -> String {
    received(bytes).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn client_of_each_family_is_read() {
    let unix = [b"/run/proxy.sock".as_slice(), &[0; 201]].concat();
    let longest = [ADDRESSES4, &extension(4, &vec![0; LONGEST - HEAD - ADDRESSES4.len() - EXTENSION_HEAD])].concat();
    for (bytes, expected) in [
        (preamble(PROXY, TCP4, ADDRESSES4), client("192.0.2.1")),
        // Of a client of QUIC.
        (preamble(PROXY, 0x12, ADDRESSES4), client("192.0.2.1")),
        (preamble(PROXY, TCP6, &addresses6("2001:db8::1")), client("2001:db8::1")),
        (preamble(PROXY, 0x22, &addresses6("2001:db8::1")), client("2001:db8::1")),
        (preamble(PROXY, TCP6, &addresses6("::ffff:192.0.2.1")), client("192.0.2.1")),
        (preamble(PROXY, 0x31, &unix), Announced::Unknown),
        (preamble(PROXY, 0, &[]), Announced::Unknown),
        (preamble(PROXY, 0, ADDRESSES4), Announced::Unknown),
        (preamble(PROXY, TCP4, &longest), client("192.0.2.1")),
    ] {
        let followed = [&bytes[..], b"PRI * HTTP/2.0"].concat();
        let (announced, left) = received(&followed).await;
        assert_eq!((announced.unwrap(), left), (expected, 14), "{bytes:?}");
    }
}

#[tokio::test]
async fn proxies_may_speak_for_themselves() {
    for family in [0, TCP4, TCP6, 0x31, 0xff] {
        for rest in [&[][..], ADDRESSES4, &[0xff; 300]] {
            let (announced, left) = received(&preamble(LOCAL, family, rest)).await;
            assert_eq!((announced.unwrap(), left), (Announced::Itself, 0));
        }
    }
}

#[tokio::test]
async fn every_cut_is_told_from_what_is_whole() {
    let whole = sealed(&extension(2, b"starling.example"), 0);
    assert!(matches!(received(&[]).await.0, Err(PreambleError::Silent)));
    for end in 1..whole.len() {
        assert!(matches!(received(&whole[..end]).await.0, Err(PreambleError::Truncated)), "{end}");
    }
    assert_eq!(received(&whole).await.0.unwrap(), client("192.0.2.1"));
}

#[tokio::test]
async fn preamble_may_come_byte_by_byte() {
    let whole = preamble(PROXY, TCP6, &addresses6("2001:db8::1"));
    let (mut proxy, mut server) = tokio::io::duplex(1);
    let (announced, ()) = tokio::join!(receive(&mut server), async {
        for byte in &whole {
            proxy.write_all(&[*byte]).await.unwrap();
        }
    });
    assert_eq!(announced.unwrap(), client("2001:db8::1"));
    proxy.write_all(b"P").await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), b'P', "what follows is left");
}

#[tokio::test]
async fn no_changed_byte_makes_another_client_unnoticed() {
    let whole = sealed(&extension(5, b"id"), 0);
    // Where it says that a checksum follows: with another type it is passed over.
    let checksum = whole.len() - 4 - EXTENSION_HEAD;
    for at in 0..whole.len() {
        for change in [1, 0x10, 0x80, 0xff] {
            let mut changed = whole.clone();
            changed[at] ^= change;
            match received(&changed).await.0 {
                Ok(announced @ Announced::Client(_)) => assert_eq!((at, announced), (checksum, client("192.0.2.1"))),
                // Another command, or another family, and with it no checksum.
                Ok(Announced::Itself) => assert_eq!((at, change), (12, 1)),
                Ok(Announced::Unknown) => assert_eq!((at, change), (13, 0x10)),
                Err(_) => {}
            }
        }
    }
}

#[tokio::test]
async fn others_than_proxies_are_refused_at_once() {
    for (bytes, expected) in [
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], "does not begin with a preamble"),
        (b"G", "does not begin with a preamble"),
        (b"\x16\x03\x01", "does not begin with a preamble"),
        (b"\r\n\r\n\0\r\nQUIT\r", "does not begin with a preamble"),
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n", "speaks version 1"),
    ] {
        // It waits for no more than what shows it: the other end stays open.
        let (mut proxy, mut server) = tokio::io::duplex(1_024);
        proxy.write_all(bytes).await.unwrap();
        let refused = receive(&mut server).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{bytes:?}: {refused}");
    }
}

#[tokio::test]
async fn what_the_protocol_reserves_is_refused() {
    for (command, family) in [(0x11, TCP4), (0x31, TCP4), (0x22, TCP4), (0x2f, TCP4), (PROXY, 0x41), (PROXY, 0x13)] {
        let refused = refused(&preamble(command, family, &[0; 300])).await;
        assert!(refused.starts_with("the preamble is malformed: "), "{command}, {family}: {refused}");
    }
}

#[tokio::test]
async fn lengths_that_do_not_fit_are_refused() {
    for (family, bytes) in [(TCP4, 11), (TCP6, 35), (0x31, 215), (TCP4, 0)] {
        let refused = refused(&preamble(PROXY, family, &vec![0; bytes])).await;
        assert!(refused.starts_with("the preamble is malformed: "), "{family}, {bytes}: {refused}");
    }
    for command in [PROXY, LOCAL] {
        let refused = refused(&preamble(command, TCP4, &vec![0; LONGEST - HEAD + 1])).await;
        assert_eq!(refused, "the preamble has 4097 bytes, and 4096 are allowed");
        assert!(matches!(
            received(&preamble(command, TCP4, &[0; 65_535])).await.0,
            Err(PreambleError::TooLong(65_551))
        ));
    }
}

#[tokio::test]
async fn extensions_are_passed_over_if_they_fit() {
    let some = [extension(1, b"h2"), extension(0x20, &[1, 0, 0, 0, 0]), extension(0xea, b"vpce-1"), extension(4, b"")];
    let some = some.concat();
    assert_eq!(received(&preamble(PROXY, TCP4, &[ADDRESSES4, &some].concat())).await.0.unwrap(), client("192.0.2.1"));
    for cut in [&[1][..], &[1, 0], &[1, 0, 1], &[1, 0xff, 0xff, 0]] {
        let refused = refused(&preamble(PROXY, TCP4, &[ADDRESSES4, &some, cut].concat())).await;
        assert!(refused.starts_with("the preamble is malformed: "), "{cut:?}: {refused}");
    }
}

#[tokio::test]
async fn checksum_is_verified_where_it_is_there() {
    for extensions in [Vec::new(), extension(2, b"starling.example")] {
        assert_eq!(received(&sealed(&extensions, 0)).await.0.unwrap(), client("192.0.2.1"));
        assert_eq!(refused(&sealed(&extensions, 1)).await, "the checksum of the preamble is wrong");
    }
    let short = [ADDRESSES4, &extension(3, &[0; 3])].concat();
    assert_eq!(refused(&preamble(PROXY, TCP4, &short)).await, "the checksum of the preamble is wrong");
}

#[test]
fn checksum_is_that_of_the_standard() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
    assert_eq!(crc32c([0xff; 32].into_iter()), 0x62a8_ab43);
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}
