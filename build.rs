//! Generates the wire and record types. `protox` compiles the protos, so no `protoc` has to be installed.

use prost::Message;
use protox::prost_reflect::{DescriptorPool, MessageDescriptor, Value};
use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

/// The public API, beside what imports what.
const PUBLIC: &str = "bursar/v1";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(public_files()?)?;
    let api = compiler.file_descriptor_set();
    fs::write(out.join("api_descriptor.bin"), api.encode_to_vec())?;
    let redacted = redacted(&compiler.descriptor_pool());
    fs::write(out.join("redacted.rs"), debug_impls(&redacted))?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug(redacted.iter().map(|hidden| &hidden.path))
        .compile_fds(api)?;

    let records = protox::compile(["bursar/store/v1/record.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_client(false)
        .btree_map(".")
        .compile_fds(records)?;

    // What plugins speak: this program is their client, tests stand in for them.
    let plugins = protox::compile(["kubernetes/kms/v2/api.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .btree_map(".")
        .skip_debug([".v2.EncryptRequest", ".v2.DecryptResponse"])
        .compile_fds(plugins)?;
    Ok(())
}

fn public_files() -> Result<Vec<String>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(PathBuf::from("proto").join(PUBLIC))? {
        let path = entry?.path();
        if let (Some("proto"), Some(name)) =
            (path.extension().and_then(|e| e.to_str()), path.file_name().and_then(|n| n.to_str()))
        {
            files.push(format!("{PUBLIC}/{name}"));
        }
    }
    files.sort();
    Ok(files)
}

/// A message or oneof that holds a secret.
struct Hidden {
    /// As protobuf names it.
    path: String,
    /// As Rust names it, below the package's module.
    rust: String,
}

/// Everything with a field marked `debug_redact`: its `Debug` must not be generated, or one `{:?}` of a request
/// would print a client secret.
fn redacted(pool: &DescriptorPool) -> Vec<Hidden> {
    let mut hidden = Vec::new();
    for message in pool.all_messages().filter(|message| message.package_name() == "bursar.v1") {
        let secrets: Vec<_> = message
            .fields()
            .filter(|field| {
                let option =
                    field.options().get_field_by_name("debug_redact").map(std::borrow::Cow::into_owned);
                option == Some(Value::Bool(true))
            })
            .collect();
        if secrets.is_empty() {
            continue;
        }
        hidden.push(Hidden { path: format!(".{}", message.full_name()), rust: message.name().to_owned() });
        for oneof in message.oneofs().filter(|oneof| oneof.fields().any(|field| secrets.contains(&field))) {
            hidden.push(Hidden {
                path: format!(".{}", oneof.full_name()),
                rust: format!("{}::{}", module(&message), camel(oneof.name())),
            });
        }
    }
    hidden
}

fn debug_impls(hidden: &[Hidden]) -> String {
    let mut code = String::new();
    for Hidden { rust, .. } in hidden {
        let _ = writeln!(
            code,
            "impl ::core::fmt::Debug for {rust} {{ fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> \
             ::core::fmt::Result {{ f.write_str(\"{rust} [secret]\") }} }}"
        );
    }
    code
}

/// The module that holds a message's oneofs, as prost names it.
fn module(message: &MessageDescriptor) -> String {
    let mut snake = String::new();
    for (i, c) in message.name().char_indices() {
        if c.is_uppercase() && i > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

fn camel(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            word.chars().enumerate().map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c })
        })
        .collect()
}
