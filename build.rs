//! Compiles `proto/` with protox, so that nobody has to install protoc.

use std::error::Error;
use std::path::PathBuf;

use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;

const FILES: [&str; 4] = [
    "starling/swarm/v1/swarm.proto",
    "starling/swarm/v1/server.proto",
    "starling/livestream/v1/livestream.proto",
    "starling/group/v1/group.proto",
];

/// What servers of one cluster tell each other: no part of what is described to clients.
const PEER_FILES: [&str; 1] = ["starling/peer/v1/peer.proto"];

/// Fields whose messages are encoded once and sent to many.
const ENCODED_ONCE: [(&str, &str); 3] =
    [("SubscribeUpdatesResponse", "deliveries"), ("LivestreamEventBatch", "events"), ("GroupEventBatch", "events")];

fn main() -> Result<(), Box<dyn Error>> {
    // tonic-prost-build emits none of its own; without it every change rebuilds.
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let mut descriptors = compiler.file_descriptor_set();
    share_encoded(&mut descriptors);
    let mut config = tonic_prost_build::Config::new();
    // By its name a message finds its descriptor.
    config.enable_type_names();
    tonic_prost_build::configure()
        // Clients are `crates/client`'s, with types of their own.
        .build_client(false)
        .bytes(".")
        .codec_path("crate::pb::codec::Codec")
        .compile_fds_with_config(descriptors, config)?;

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(PEER_FILES)?;
    tonic_prost_build::configure()
        .bytes(".")
        .codec_path("crate::pb::codec::Codec")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// Makes the generated code see the fields of [`ENCODED_ONCE`] as `bytes`.
///
/// On the wire an embedded message and a bytes field are the same, so that one
/// encoding, a shared `Bytes`, can be handed to any number of streams. Reflection
/// keeps the true types.
fn share_encoded(descriptors: &mut FileDescriptorSet) {
    let messages = descriptors.file.iter_mut().flat_map(|file| &mut file.message_type);
    for message in messages {
        let name = message.name().to_owned();
        for field in &mut message.field {
            if ENCODED_ONCE.contains(&(name.as_str(), field.name())) {
                field.set_type(Type::Bytes);
                field.type_name = None;
            }
        }
    }
}
