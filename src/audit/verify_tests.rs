//! Tampering is found, and nothing else is called tampering.

use super::*;
use crate::audit::{
    chain::file_number,
    faulty::{Disk, Fault, chain, group, key, opened, releases, trail, verified},
};
use crate::clock::Timestamp;
use proptest::prelude::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Files as their names and lines.
type Files = Vec<(String, Vec<String>)>;

/// Two files of five lines and one of four.
fn written() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    for start in 0..3_u64 {
        let mut chain = opened(folder.path(), 1 << 30);
        let lines = if start < 2 { 4 } else { 3 };
        chain.append(Timestamp::from_secs(9), &group(start * 10..start * 10 + lines)).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| file_number(name).is_some())
        .collect();
    names.sort();
    let lines = |name: &String| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        (name.clone(), text.lines().map(str::to_owned).collect())
    };
    let files = names.iter().map(lines).collect();
    (folder, files)
}

fn write(files: &Files) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, lines) in files {
        let text = lines.join("\n") + "\n";
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn report(files: &Files, with_key: bool) -> Report {
    let (folder, key) = (write(files), key());
    let against = Against { key: with_key.then_some(&key), anchors: &[] };
    verify(&trail(folder.path()), &against).unwrap()
}

/// Where the first problem is, and what.
fn problem(report: &Report) -> Option<(&str, u64, What)> {
    let first = report.findings.iter().find(|found| found.weight == Weight::Problem)?;
    Some((&first.file, first.line, first.what))
}

#[test]
fn what_was_written_is_sound() {
    let (folder, files) = written();
    let report = verified(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!((report.files, report.lines, report.first_seq), (3, 14, 1));
    assert_eq!(report.head.unwrap().last_seq, 14);
    assert_eq!(files.iter().map(|(_, lines)| lines.len()).collect::<Vec<_>>(), [5, 5, 4]);
}

#[test]
fn every_field_of_every_line_that_is_altered_is_found() {
    let (_kept, files) = written();
    let lines: Vec<_> =
        (0..files.len()).flat_map(|file| (0..files[file].1.len()).map(move |line| (file, line))).collect();
    let mut altered = 0;
    for (file, line) in lines {
        let last = (file, line) == (2, 3);
        let parsed: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&files[file].1[line]).unwrap();
        for field in parsed.keys() {
            // The first character or digit of the field's value becomes another one.
            let text = &files[file].1[line];
            let at = text.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
            let at = at + text[at..].find(|c: char| c.is_ascii_alphanumeric()).unwrap();
            let other = if &text[at..=at] == "1" { "2" } else { "1" };
            let mut files = files.clone();
            files[file].1[line].replace_range(at..=at, other);
            assert_ne!(report(&files, true).problems(), 0, "{field} of {file}:{line} with the key");
            // Nothing carries the hash of the last line: without the key only a break in its own form shows.
            let seen = report(&files, false).problems() > 0;
            assert!(seen || last, "{field} of {file}:{line} without the key");
            altered += 1;
        }
    }
    assert!(altered > 140, "{altered}");
}

#[test]
fn a_line_that_is_removed_moved_or_repeated_is_found_at_its_place() {
    let (_kept, files) = written();
    let name = |file: usize| files[file].0.as_str();
    let changed = |change: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        change(&mut files);
        report(&files, false)
    };
    let removed = changed(&|files| drop(files[1].1.remove(2)));
    // The file is shorter than the next one says, too.
    assert_eq!(problem(&removed), Some((name(1), 3, What::Missing { from: 8, to: 8 })));
    let swapped = changed(&|files| files[1].1.swap(2, 3));
    assert_eq!(problem(&swapped), Some((name(1), 3, What::Missing { from: 8, to: 8 })));
    let repeated = changed(&|files| {
        let line = files[2].1[1].clone();
        files[2].1.insert(2, line);
    });
    assert_eq!(problem(&repeated), Some((name(2), 3, What::OutOfOrder { seq: 12, after: 12 })));
    let first = changed(&|files| drop(files[0].1.remove(0)));
    assert_eq!(problem(&first).unwrap().2, What::NotAFile);
    let replaced = changed(&|files| files[1].1[2] = files[1].1[2].replace("/c11", "/c66"));
    assert_eq!(problem(&replaced), Some((name(1), 3, What::Altered)));
    let across = changed(&|files| files[0].1[4] = files[0].1[4].replace("/c3", "/c6"));
    assert_eq!(problem(&across), Some((name(0), 5, What::Altered)));
    let broken = changed(&|files| files[0].1[2] = "{}".to_owned());
    assert_eq!(problem(&broken), Some((name(0), 3, What::NotALine)));
}

#[test]
fn every_line_that_is_removed_swapped_or_repeated_is_found() {
    let (_kept, files) = written();
    for file in 0..3 {
        for line in 0..files[file].1.len() {
            let is_last = (file, line) == (2, files[2].1.len() - 1);
            let mut without = files.clone();
            without[file].1.remove(line);
            // Without an anchor nobody knows of lines behind the last one.
            assert_eq!(report(&without, false).problems() == 0, is_last, "{file}:{line} removed");
            let mut twice = files.clone();
            let copy = twice[file].1[line].clone();
            twice[file].1.insert(line, copy);
            assert_ne!(report(&twice, false).problems() + beyond(&twice), 0, "{file}:{line} repeated");
            if line > 0 {
                let mut swapped = files.clone();
                swapped[file].1.swap(line - 1, line);
                assert_ne!(report(&swapped, false).problems(), 0, "{file}:{line} swapped");
            }
        }
    }
}

/// A whole line behind the end that the next file names is no part of the trail; it is told as torn.
fn beyond(files: &Files) -> usize {
    report(files, false).findings.iter().filter(|found| matches!(found.what, What::Torn { .. })).count()
}

#[test]
fn a_file_that_is_missing_cut_or_another_one_is_found() {
    let (_kept, files) = written();
    let without = |file: usize| {
        let mut files = files.clone();
        files.remove(file);
        report(&files, false)
    };
    // Retention takes the oldest files: that is told, and is no problem.
    let first = without(0);
    assert_eq!(first.problems(), 0, "{:?}", first.findings);
    assert_eq!(first.findings[0].what, What::BeginsLater { seq: 6 });
    assert_eq!(problem(&without(1)).unwrap().2, What::FileMissing { number: 2 });
    let mut cut = files.clone();
    cut[1].1.pop();
    let found = report(&cut, false);
    assert!(
        found.findings.iter().any(|found| matches!(found.what, What::Cut { .. })),
        "{:?}",
        found.findings
    );
    let mut renamed = files.clone();
    renamed[2].0 = "00000004.jsonl".to_owned();
    assert_ne!(report(&renamed, false).problems(), 0);
    let (_other, foreign) = written();
    let mut mixed = files.clone();
    mixed[1].1 = foreign[1].1.clone();
    mixed[2].1 = foreign[2].1.iter().map(|line| line.replace("000000007\"", "000000008\"")).collect();
    assert_ne!(report(&mixed, false).problems(), 0);
}

#[test]
fn a_chain_that_somebody_wrote_anew_is_found_by_the_key_or_an_anchor() {
    let (folder, _) = written();
    let head = verified(folder.path()).head.unwrap();
    // The forger has the folder, the program and another key.
    let forged = tempfile::tempdir().unwrap();
    let options = crate::audit::chain::Options {
        key: std::sync::Arc::new(AuditKey::parse(&crate::seal::fresh_audit_key()).unwrap()),
        replica: crate::audit::event::Name::of(&"one"),
        rotate_bytes: 1 << 30,
        new_chain: Uuid::from_u128(7),
    };
    let shelf = Disk::default().shelf(forged.path());
    let mut chain = crate::audit::chain::Chain::open(shelf, options).unwrap();
    chain.append(Timestamp::from_secs(9), &group(0..13)).unwrap();
    let anchors = [Head { seq: head.last_seq, hash: head.head }];
    let look = |key: Option<&AuditKey>, anchors: &[Head], folder: &Path| {
        verify(&trail(folder), &Against { key, anchors }).unwrap().problems()
    };
    assert_eq!(look(None, &[], forged.path()), 0);
    assert_eq!(look(Some(&key()), &[], forged.path()), 14);
    assert_eq!(look(None, &anchors, forged.path()), 1);
    assert_eq!(look(Some(&key()), &anchors, folder.path()), 0);
}

#[test]
fn problems_are_bounded_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = opened(folder.path(), 1 << 30);
    chain.append(Timestamp::from_secs(9), &group(0..300)).unwrap();
    let path: PathBuf = folder.path().join("00000001.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"mac\":", "\"mac:\"")).unwrap();
    let report = verified(folder.path());
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert!(report.problems() >= 300, "{}", report.problems());
}

/// What happens to a trail in its life.
#[derive(Debug, Clone)]
enum Happening {
    Group(u64),
    Restart,
    /// The process dies in the middle of a group of so many, with this part of its bytes on the disk, in 1/256.
    Crash(u64, u8),
    /// The disk fails for one group.
    Failure(Fault),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        5 => (1..6_u64).prop_map(Happening::Group),
        1 => Just(Happening::Restart),
        2 => (1..6_u64, any::<u8>()).prop_map(|(count, part)| Happening::Crash(count, part)),
        2 => prop_oneof![Just(Fault::Full), Just(Fault::NoSync), Just(Fault::ReadOnly)]
            .prop_map(Happening::Failure),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever crashes and fails: what was confirmed is in the trail, in its order, and the trail is sound.
    #[test]
    fn no_life_of_a_trail_looks_like_tampering(
        rotate in 500..6000_u64,
        happenings in prop::collection::vec(happening(), 1..16),
    ) {
        let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        let open = || chain(disk.shelf(folder.path()), rotate).unwrap();
        let (mut present, mut next, mut confirmed) = (Some(open()), 0, Vec::new());
        for happening in happenings {
            let chain = present.get_or_insert_with(&open);
            match happening {
                Happening::Group(count) => {
                    chain.append(Timestamp::from_secs(1), &group(next..next + count)).unwrap();
                    confirmed.extend(next..next + count);
                    next += count;
                }
                Happening::Restart => present = None,
                Happening::Crash(count, part) => {
                    let before = sizes(folder.path());
                    chain.append(Timestamp::from_secs(1), &group(next..next + count)).unwrap();
                    next += count;
                    present = None;
                    cut(folder.path(), &before, part);
                }
                Happening::Failure(fault) => {
                    disk.is(fault);
                    chain.append(Timestamp::from_secs(1), &group(next..next + 2)).unwrap_err();
                    disk.is(Fault::Sound);
                    next += 2;
                }
            }
        }
        drop(present);
        let report = verified(folder.path());
        prop_assert_eq!(report.problems(), 0, "{:#?}", report.findings);
        let mut found = releases(folder.path());
        // More may be on record than was confirmed: what a crash left whole.
        found.retain(|number| confirmed.contains(number));
        prop_assert_eq!(found, confirmed);
    }

    /// Any one byte of any file: with the key nothing passes.
    #[test]
    fn no_byte_of_a_trail_can_change_unseen(place in any::<prop::sample::Index>(), flip in 1..=255_u8) {
        let (folder, files) = written();
        let total: usize = files.iter().map(|(_, lines)| lines.iter().map(|line| line.len() + 1).sum::<usize>()).sum();
        let mut at = place.index(total);
        for (name, lines) in &files {
            let length = lines.iter().map(|line| line.len() + 1).sum::<usize>();
            if at < length {
                let path = folder.path().join(name);
                let mut bytes = fs::read(&path).unwrap();
                bytes[at] ^= flip;
                fs::write(&path, bytes).unwrap();
                break;
            }
            at -= length;
        }
        let report = verified(folder.path());
        // The last line feed of all is nobody's: without it the last line counts as torn.
        let torn = matches!(report.findings[..], [Finding { what: What::Torn { .. }, .. }]);
        prop_assert!(report.problems() > 0 || torn);
    }
}

fn sizes(folder: &Path) -> Vec<(u64, u64)> {
    let size = |number| fs::metadata(folder.join(file_name(number))).unwrap().len();
    trail(folder).files.into_iter().map(|number| (number, size(number))).collect()
}

/// Leaves a part of what was written since, as a crash does.
fn cut(folder: &Path, before: &[(u64, u64)], part: u8) {
    for (number, size) in sizes(folder) {
        let old = before.iter().find(|(other, _)| *other == number).map_or(0, |(_, old)| *old);
        // One that was set aside made place for another.
        let old = old.min(size);
        let path = folder.join(file_name(number));
        let left = old + (size - old) * u64::from(part) / 256;
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
    }
}
