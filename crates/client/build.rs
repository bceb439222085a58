//! Compiles `proto/` with protox, so that nobody has to install protoc.

use std::error::Error;

const FILES: [&str; 4] = [
    "starling/swarm/v1/swarm.proto",
    "starling/swarm/v1/server.proto",
    "starling/livestream/v1/livestream.proto",
    "starling/group/v1/group.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    let mut config = tonic_prost_build::Config::new();
    // By its name a message finds its descriptor.
    config.enable_type_names();
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
