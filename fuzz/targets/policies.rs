//! A set of policies and workloads: sound, or refused with a place and a reason for each mistake; and no set takes the
//! wall between tenants down.
#![no_main]

use bursar::access::policies::{Policies, PolicyFile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (policies, workloads) = text.split_once('\0').unwrap_or((text, ""));
    let files = [("a.cedar", policies), ("b.toml", workloads)];
    let files = files.map(|(name, text)| PolicyFile { name: name.to_owned(), text: text.to_owned() });
    match Policies::load(&files) {
        Ok((set, _)) => assert!(set.count() > 0, "an empty set is none"),
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            for mistake in &mistakes.0 {
                assert!(mistake.at.line >= 1 && !mistake.problem.is_empty());
            }
        }
    }
});
