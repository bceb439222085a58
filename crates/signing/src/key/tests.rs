use super::*;
use crate::hexadecimal::from_hex;
use crate::message::SwarmTag;

/// Seed, public key, message, signature: RFC 8032, section 7.1, tests 1, 2, 3 and SHA(abc).
const RFC_8032: [[&str; 4]; 4] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
         d25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c\
         387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659\
         4a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd\
         454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e030\
         3dca179c138ac17ad9bef1177331a704",
    ],
];

/// The eight points of small order, and the two other encodings of those that have one.
const SMALL_ORDER: [&str; 8] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// The order of the group, little end first: S and S + L are one scalar.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn bytes(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

const UPDATE: SignedUpdate<'_> = SignedUpdate {
    kind: SwarmTag::Livestream,
    swarm: 7,
    epoch: 8,
    session: 9,
    source: 10,
    channel: 1,
    track: 0,
    publisher_sequence: 11,
    publish_time: Some((12, 13)),
    urgent: false,
    keyframe: true,
    temporal_layer: 0,
    payload: b"payload",
};

#[test]
fn the_vectors_of_rfc_8032_hold() {
    for [seed, public, message, signature] in RFC_8032 {
        let key = SigningKey::from_seed(&from_hex(seed).unwrap()).unwrap();
        assert_eq!(key.public_key().to_string(), public);
        assert_eq!(to_hex(&key.sign_bytes(&bytes(message))), signature);
        let known = PublicKey::new(&bytes(public)).unwrap();
        assert_eq!(known.verify_bytes(&bytes(message), &bytes(signature)), Ok(()));
        assert_eq!(known.verify_bytes(&[&bytes(message)[..], b"x"].concat(), &bytes(signature)), Err(SignatureError));
    }
}

#[test]
fn node_id_is_53_bits_of_the_digest() {
    // sha256 of the key of test 1 begins with 21fe31dfa154a261: 0x21fe31dfa154a261 >> 11.
    let key = PublicKey::new(&bytes(RFC_8032[0][1])).unwrap();
    let digest: [u8; 32] = Sha256::digest(key.bytes()).into();
    assert_eq!(to_hex(&digest[..8]), "21fe31dfa154a261");
    assert_eq!(key.node_id(), 0x21fe_31df_a154_a261 >> 11);
    assert!((0..=255).all(|seed| (1..1 << 53).contains(&self::key(seed).public_key().node_id())));
}

#[test]
fn what_is_no_strong_key_is_refused() {
    for text in SMALL_ORDER {
        assert_eq!(PublicKey::new(&bytes(text)), Err(KeyError::SmallOrder), "{text}");
    }
    assert_eq!(PublicKey::new(&[2; 32]), Err(KeyError::NoPoint));
    for length in [0, 31, 33, 64] {
        assert_eq!(PublicKey::new(&vec![1; length]), Err(KeyError::Length(length)));
    }
}

#[test]
fn signature_is_the_only_one_of_its_update() {
    let key = key(1);
    let signature = key.sign(&UPDATE);
    assert_eq!(key.public_key().verify(&UPDATE, &signature), Ok(()));
    for bit in 0..8 * SIGNATURE_BYTES {
        let mut altered = signature;
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.public_key().verify(&UPDATE, &altered), Err(SignatureError), "bit {bit}");
    }
    // S + L verifies where S is not checked to be canonical.
    let mut other = signature;
    let mut carry = 0;
    for (byte, order) in other[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        let [low, high] = sum.to_le_bytes();
        (*byte, carry) = (low, high.into());
    }
    assert_eq!(key.public_key().verify(&UPDATE, &other), Err(SignatureError));
    for length in [0, 1, 63, 65, 128] {
        assert_eq!(key.public_key().verify(&UPDATE, &vec![0; length]), Err(SignatureError));
    }
    assert_eq!(self::key(2).public_key().verify(&UPDATE, &signature), Err(SignatureError), "another key");
}

#[test]
fn a_point_of_small_order_signs_nothing() {
    // With R and the key of small order, S = 0 verifies any message where this is allowed.
    for text in SMALL_ORDER {
        let forged = [bytes(text), vec![0; 32]].concat();
        assert_eq!(key(1).public_key().verify(&UPDATE, &forged), Err(SignatureError), "{text}");
    }
}

#[test]
fn a_secret_key_is_not_shown() {
    let shown = format!("{:?}", key(0xa5));
    assert!(!shown.contains("a5a5"), "{shown}");
    assert!(shown.contains(&key(0xa5).public_key().to_string()));
}
