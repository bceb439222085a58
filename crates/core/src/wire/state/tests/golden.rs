//! The bytes of the pinned samples, field by field.

/// What version 1 writes for each of [`Sample::pinned`](super::samples::Sample::pinned). It stays as it is.
#[rustfmt::skip]
pub(super) const GOLDEN: [&str; 4] = [
    // a livestream that nobody has joined
    concat!(
        "01 01 ", // version, kind
        "4d 01 e907 ", // epoch, revision, now
        "05 7469746c65 e0d403 ", // metadata, retention
        "00 ", // requests
        "00 00 00 00 00 00 00 ", // joins, leaves, peak
        "00 00 00 00 ", // time on air, since when, reparentings, reports
        "01 00 ", // unique nodes
        "e907 00 ", // created at, ended
        "01 ", // state
        "03 02 a0c21e d00f c0843d d00f e0a712 00 ", // configuration, the first one
        "01 01 ", // named broadcaster, broadcaster
        "00 ", // keys
        "01 e907 00 00 00 00 00 ", // absent since, terms
        "01 00 ", // topology, started at
        "00 ", // CHAT
        "00 00 00 00 00 00 00 ", // lengths
    ),
    // `Sample::full_livestream`
    concat!(
        "01 01 ", // version, kind
        "4d 16 8908 ", // epoch, revision, now
        "05 7469746c65 e0d403 ", // metadata, retention
        "02 ", // requests
        "f607 10 02 09 696e74657265737473 09 0a ", // at, node, method, name, fingerprint, revision
        "f707 01 08 02 676f 02 0b ", // at, node, method, name, fingerprint, revision
        "08 01 00 01 00 00 08 ", // joins, leaves, peak
        "0f 01 8708 09 01 ", // time on air, since when, reparentings, reports
        "01 08 01 0b 02 01 01 01 01 9a02 ", // unique nodes
        "e907 00 ", // created at, ended
        "02 ", // state
        "03 02 a0c21e d00f c0843d 8407 e0a712 01 03 02 a0c21e d00f c0843d d00f e0a712 ", // configuration, the first one
        "01 0c ", // named broadcaster, broadcaster
        "01 0505050505050505050505050505050505050505050505050505050505050505 0606060606060606060606060606060606060606060606060606060606060606 ", // keys
        "00 16 02 16 02 00 00 00 ", // absent since, terms with their homes
        "02 01 f707 ", // topology, started at
        "01 04 06 80e09abd01 9f9c01 ", // CHAT: sequence, judged, quota
        "02 02 01 00 02 06 04 ", // lengths
        "11 f2f004 ff02 948d06 ", // bans
        "0e 9e02 ", // moderators
        "0f ", // mutes
        "0e 01 ", // free slots
        "44 04 01 e907 02 04 b0ea01 05 6669727374 05 02 ", // member 1
        "09 02 0c f407 02 02 02 00 02 0d 3230332e302e3131332e373a35 ", // member 12
        "19 04 ac02 940a 02 02 01 01 0d 3230332e302e3131332e373a35 01 6d ", // member 300
        "0a 03 0e f607 02 02 08 0d 3230332e302e3131332e373a35 ", // member 14
        "08 05 0f f707 02 02 0d 3230332e302e3131332e373a35 ", // member 15
        "e801 04 10 f807 02 02 0d 3230332e302e3131332e373a35 04 02 04 03 03 07 6a6f696e2d3136 07 07 02 00 01 05 01 fe2e 00 05 01 01 9e4e ", // member 16
        "0a 05 03 08 01 ", // tree
        "02 0e 01 f607 01 01 00 00 00 c0a8a504 8fcb01 ", // author 14
        "01 0f 01 f707 00 02 00 00 01 02 02 01 80ade204 bfbb01 ", // author 15, who is muted
        "02 ac02 01 940a 01 01 00 00 00 c0a8a504 9f9c01 ", // author 300
        "01 10 01 f807 09 09 00 00 02 01 02 00 04 08 00 9899e903 efab01 ", // author 16
    ),
    // `Sample::ended_livestream`
    concat!(
        "01 01 ", // version, kind
        "4d 04 ec07 ", // epoch, revision, now
        "05 7469746c65 e0d403 ", // metadata, retention
        "01 ", // requests
        "ec07 01 05 04 6f766572 04 04 ", // at, node, method, name, fingerprint, revision
        "02 00 00 00 00 02 02 ", // joins, leaves, peak
        "00 00 00 00 ", // time on air, since when, reparentings, reports
        "01 02 04 05 ", // unique nodes
        "e907 01 ec07 01 ", // created at, ended
        "04 ", // state
        "03 02 a0c21e d00f c0843d d00f e0a712 00 ", // configuration, the first one
        "01 01 ", // named broadcaster, broadcaster
        "00 ", // keys
        "01 e907 00 00 00 00 00 ", // absent since, terms
        "01 00 ", // topology, started at
        "00 ", // CHAT
        "00 00 00 02 00 00 00 ", // lengths
        "04 ec07 04 04 04 03 03 01 00 04 04 01 a70d ", // last member
        "05 f107 04 04 04 03 03 01 00 04 04 01 a60d ", // last member
    ),
    // `Sample::full_group`
    concat!(
        "01 02 ", // version, kind
        "4e 10 f807 ", // epoch, revision, now
        "00 e0d403 ", // metadata, retention
        "02 ", // requests
        "f307 08 11 05 7368617265 05 0b ", // at, node, method, name, fingerprint, revision
        "f707 08 03 03 736179 03 0f ", // at, node, method, name, fingerprint, revision
        "06 02 01 00 00 00 05 ", // joins, leaves, peak
        "00 01 e907 00 00 ", // time on air, since when, reparentings, reports
        "01 05 02 01 02 01 02 ", // unique nodes
        "e907 00 ", // created at, ended
        "10 a0c21e d00f d00f 00 ", // configuration, the first one
        "b0ea01 01 02 01 06 01 08 00 ", // time when empty, named owner, owner, who shares, empty since
        "01 00 00 00 02 03 00 ", // lengths
        "ffffffffffffffffff01 c801 ", // bans
        "00 08 ", // free slots
        "8402 09 06 ee07 04 06 b0ea01 00 0c 03 00 0c 03 00 ", // member 6
        "8001 0b 03 eb07 02 02 03 00 01 03 01 ae1f 01 06 01 02 01 9627 01 08 03 05 00 ", // member 3
        "9002 0a 08 f007 0a 02 06 63616d657261 0d 03 00 0d 03 00 00 ", // member 8
    ),
];
