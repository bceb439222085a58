//! Records of TLS 1.2 with any content, as no library sends them.

use std::sync::Arc;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, ConnectionTrafficSecrets};

use crate::ending::Ending;
use crate::wire::secured;

/// Seals records, each with the next number.
pub(crate) struct SealedRecords {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    number: u64,
}

impl SealedRecords {
    /// Makes the handshake, and takes the keys of what the client sends: those of ChaCha20-Poly1305.
    pub(crate) async fn open(tcp: TcpStream, config: Arc<ClientConfig>) -> Result<(TcpStream, Self), Ending> {
        let stream = secured(tcp, &TlsConnector::from(config)).await?;
        let (tcp, connection) = stream.into_inner();
        let secrets = connection.dangerous_extract_secrets().map_err(|_| Ending::Closed)?;
        let (number, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets.tx else {
            return Err(Ending::Closed);
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).map_err(|_| Ending::Closed)?;
        let iv = iv.as_ref().try_into().map_err(|_| Ending::Closed)?;
        Ok((tcp, Self { key: LessSafeKey::new(key), iv, number }))
    }

    /// Appends a record (RFC 5246, 6.2.3.3; RFC 7905).
    pub(crate) fn seal(&mut self, out: &mut Vec<u8>, kind: u8, content: &[u8]) {
        let mut nonce = self.iv;
        let number = self.number.to_be_bytes();
        nonce[NONCE_LEN - number.len()..].iter_mut().zip(number).for_each(|(byte, other)| *byte ^= other);
        let length = |bytes: usize| u16::try_from(bytes).expect("records are short").to_be_bytes();
        let mut head = [0; 13];
        head[..8].copy_from_slice(&number);
        head[8..11].copy_from_slice(&[kind, 3, 3]);
        head[11..].copy_from_slice(&length(content.len()));
        let mut sealed = content.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(head), &mut sealed).expect("records are short");
        out.extend_from_slice(&[kind, 3, 3]);
        out.extend_from_slice(&length(sealed.len()));
        out.extend_from_slice(&sealed);
        self.number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_is_opened_by_its_number() {
        let key = || LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).unwrap());
        let mut records = SealedRecords { key: key(), iv: [1; NONCE_LEN], number: 2 };
        let mut out = Vec::new();
        records.seal(&mut out, 23, b"content");
        assert_eq!((&out[..5], records.number), (&[23, 3, 3, 0, 23][..], 3));
        let mut nonce = [1; NONCE_LEN];
        nonce[NONCE_LEN - 1] ^= 2;
        let head = [0, 0, 0, 0, 0, 0, 0, 2, 23, 3, 3, 0, 7];
        let opened = key().open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(head), &mut out[5..]).unwrap();
        assert_eq!(opened, b"content");
    }
}
