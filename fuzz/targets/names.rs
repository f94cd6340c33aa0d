//! Names and filters as callers write them: a name that is taken is written the same, and stays below its tenant.
#![no_main]

use bursar::{
    domain::names::{ClientName, ConnectionName, Owner, TenantName},
    grpc::filter::{Filter, Type},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(name) = text.parse::<ConnectionName>() {
        assert_eq!(name.to_string(), text);
        assert!(text.starts_with(&format!("{}/", name.owner())));
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() < 256 && !text.contains(".."));
    }
    if let Ok(name) = text.parse::<ClientName>() {
        assert_eq!(name.to_string(), text);
        assert!(text.starts_with(&format!("{}/", name.owner)));
    }
    if let Ok(name) = text.parse::<TenantName>() {
        assert_eq!(name.to_string(), text);
    }
    if let Ok(owner) = text.parse::<Owner>() {
        assert_eq!(owner.to_string(), text);
    }
    let _ = Filter::parse(text, &[("state", Type::Word(&["ACTIVE"])), ("at", Type::Time), ("id", Type::Text)]);
});
