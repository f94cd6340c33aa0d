//! A keyset file: what is read is written back as the same keys, and what is not is refused without showing a line of it.
#![no_main]

use bursar::seal::FileKeyset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match FileKeyset::parse(text) {
        Ok(keyset) => {
            let written = keyset.to_text();
            let again = FileKeyset::parse(written.expose()).expect("what was written is read");
            assert_eq!(again.to_text().expose(), written.expose());
        }
        Err(error) => {
            let shown = error.to_string();
            let long = |word: &&str| word.len() >= 16;
            assert!(!text.split_whitespace().filter(long).any(|word| shown.contains(word)), "{shown}");
        }
    }
});
