//! Generates the wire and record types. `protox` compiles the protos, so no `protoc` has to be installed.

use prost::Message;
use std::{env, error::Error, fs, path::PathBuf};

/// The public API, beside what imports what.
const PUBLIC: &str = "bursar/v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let api = protox::compile(public_files()?, ["proto"])?;
    fs::write(out.join("api_descriptor.bin"), api.encode_to_vec())?;
    tonic_prost_build::configure().build_server(true).build_client(true).compile_fds(api)?;

    let records = protox::compile(["bursar/store/v1/record.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_client(false)
        .btree_map(".")
        .compile_fds(records)?;
    Ok(())
}

fn public_files() -> Result<Vec<String>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(PathBuf::from("proto").join(PUBLIC))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".proto") {
            files.push(format!("{PUBLIC}/{name}"));
        }
    }
    files.sort();
    Ok(files)
}
