//! Where lines go: over files, over restarts, over disks that fail.

use super::*;
use crate::audit::{
    event::Event,
    faulty::{Disk, Fault, chain, group, opened, releases, trail, verified},
    verify::{Weight, What},
};
use std::{fs, path::Path};

const BIG: u64 = 1 << 30;

fn now() -> Timestamp {
    Timestamp::from_secs(1000)
}

fn size(folder: &Path, number: u64) -> u64 {
    fs::metadata(folder.join(file_name(number))).unwrap().len()
}

fn sound(folder: &Path) {
    let report = verified(folder);
    assert_eq!(report.problems(), 0, "{:#?}", report.findings);
}

#[test]
fn the_names_of_files_are_their_numbers() {
    for (name, number) in [("00000001.jsonl", Some(1)), ("123456789.jsonl", Some(123_456_789))] {
        assert_eq!(file_number(name), number);
    }
    for other in
        ["1.jsonl", "00000001.jsonl.gz", "0000000a.jsonl", "00000001-1.torn", "lock", "+0000001.jsonl"]
    {
        assert_eq!(file_number(other), None, "{other}");
    }
}

#[test]
fn a_chain_goes_on_in_another_file_when_one_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = opened(folder.path(), 3000);
    for number in 0..20 {
        chain.append(now(), &group(number..number + 1)).unwrap();
    }
    let files = trail(folder.path()).files;
    assert!(files.len() > 2, "{files:?}");
    for &number in &files[..files.len() - 1] {
        let size = size(folder.path(), number);
        assert!((3000..4000).contains(&size), "{size}");
    }
    assert_eq!(releases(folder.path()), (0..20).collect::<Vec<_>>());
    sound(folder.path());
    assert_eq!(verified(folder.path()).head.unwrap().last_seq, chain.head().seq);
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut heads = Vec::new();
    for start in 0..3 {
        let mut chain = opened(folder.path(), BIG);
        if let Some(head) = heads.last() {
            assert_eq!(chain.head(), *head);
        }
        chain.append(now(), &group(start * 10..start * 10 + 3)).unwrap();
        heads.push(chain.head());
    }
    // Opened, and nothing written: nothing is left behind.
    drop(opened(folder.path(), BIG));
    assert_eq!(trail(folder.path()).files, [1, 2, 3]);
    assert_eq!(releases(folder.path()), [0, 1, 2, 10, 11, 12, 20, 21, 22]);
    sound(folder.path());
    assert_eq!(verified(folder.path()).findings, []);
}

#[test]
fn a_failing_disk_costs_the_group_and_nothing_else() {
    for fault in [Fault::Full, Fault::NoSync, Fault::ReadOnly] {
        for before in [0, 1] {
            let (folder, disk) = (tempfile::tempdir().unwrap(), Disk::default());
            let mut chain = chain(disk.shelf(folder.path()), BIG).unwrap();
            let mut want: Vec<u64> = (0..before).collect();
            if before > 0 {
                chain.append(now(), &group(0..before)).unwrap();
            }
            let head = chain.head();
            disk.is(fault);
            // Again and again, as calls keep coming.
            for number in 100..104 {
                chain.append(now(), &group(number..number + 5)).unwrap_err();
                assert_eq!(chain.head(), head, "{fault:?}");
            }
            disk.is(Fault::Sound);
            chain.append(now(), &group(200..203)).unwrap();
            chain.append(now(), &group(203..204)).unwrap();
            want.extend(200..204);
            assert_eq!(releases(folder.path()), want, "{fault:?}");
            sound(folder.path());
            // Whoever comes after finds the same end.
            let head = chain.head();
            drop(chain);
            assert_eq!(opened(folder.path(), BIG).head(), head, "{fault:?}");
        }
    }
}

#[test]
fn a_crash_at_any_byte_of_the_last_group_leaves_a_torn_tail_at_most() {
    let written = tempfile::tempdir().unwrap();
    let mut chain = opened(written.path(), BIG);
    chain.append(now(), &group(0..3)).unwrap();
    let (kept, head) = (size(written.path(), 1), chain.head());
    chain.append(now(), &group(3..5)).unwrap();
    let bytes = fs::read(written.path().join(file_name(1))).unwrap();
    for cut in usize::try_from(kept).unwrap()..=bytes.len() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file_name(1)), &bytes[..cut]).unwrap();
        let report = verified(folder.path());
        assert_eq!(report.problems(), 0, "{cut}: {:?}", report.findings);
        let torn = report.findings.iter().all(|found| matches!(found.what, What::Torn { .. }));
        assert!(torn, "{cut}: {:?}", report.findings);
        // The next start goes on behind the last whole line.
        let mut chain = opened(folder.path(), BIG);
        assert!((head.seq..=head.seq + 2).contains(&chain.head().seq));
        let whole = chain.head().seq - 1;
        chain.append(now(), &group(50..52)).unwrap();
        let want: Vec<u64> = (0..whole).chain(50..52).collect();
        assert_eq!(releases(folder.path()), want, "{cut}");
        let report = verified(folder.path());
        assert_eq!(report.problems(), 0, "{cut}: {:?}", report.findings);
        let ends_whole = bytes[cut - 1] == b'\n';
        assert_eq!(report.findings.is_empty(), ends_whole, "{cut}: {:?}", report.findings);
    }
}

#[test]
fn a_crash_while_a_file_is_begun_sets_it_aside() {
    let written = tempfile::tempdir().unwrap();
    let mut chain = opened(written.path(), 1);
    chain.append(now(), &group(0..2)).unwrap();
    let head = chain.head();
    chain.append(now(), &group(2..3)).unwrap();
    let bytes = fs::read(written.path().join(file_name(2))).unwrap();
    let first = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    for cut in 0..=first {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(written.path().join(file_name(1)), folder.path().join(file_name(1))).unwrap();
        fs::write(folder.path().join(file_name(2)), &bytes[..cut]).unwrap();
        let mut chain = opened(folder.path(), BIG);
        assert_eq!(chain.head(), head, "{cut}");
        chain.append(now(), &group(50..51)).unwrap();
        assert_eq!(releases(folder.path()), [0, 1, 50]);
        let report = verified(folder.path());
        let found: Vec<_> = report.findings.iter().map(|found| (found.weight, found.what)).collect();
        assert_eq!(found, [(Weight::Note, What::SetAside)], "{cut}");
    }
}

#[test]
fn garbage_from_a_lost_power_supply_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = opened(folder.path(), BIG);
    chain.append(now(), &group(0..3)).unwrap();
    let head = chain.head();
    drop(chain);
    let path = folder.path().join(file_name(1));
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[0; 4096]);
    bytes.extend_from_slice(b"\n{\"v\":1,\"seq\":9}\n");
    fs::write(&path, &bytes).unwrap();
    let mut chain = opened(folder.path(), BIG);
    assert_eq!(chain.head(), head);
    chain.append(now(), &group(3..4)).unwrap();
    sound(folder.path());
    assert_eq!(releases(folder.path()), [0, 1, 2, 3]);
}

#[test]
fn what_no_crash_leaves_is_not_written_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = opened(folder.path(), BIG);
    chain.append(now(), &group(0..3)).unwrap();
    drop(chain);
    let path = folder.path().join(file_name(1));
    let sound = fs::read(&path).unwrap();
    let surplus = vec![b'x'; usize::try_from(TORN_MAX).unwrap() + 1];
    for damaged in [[sound.as_slice(), &surplus].concat(), surplus] {
        fs::write(&path, damaged).unwrap();
        let shelf = Disk::default().shelf(folder.path());
        assert!(matches!(super::super::faulty::chain(shelf, BIG), Err(ChainError::Damaged { .. })));
    }
}

#[test]
fn the_end_of_a_long_file_is_found_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = opened(folder.path(), BIG);
    let many = group(0..GROUP_MAX as u64);
    while chain.last.as_ref().is_none_or(|last| last.bytes < TAIL + TORN_MAX) {
        chain.append(now(), &many).unwrap();
    }
    let head = chain.head();
    drop(chain);
    let chain = opened(folder.path(), BIG);
    assert_eq!((chain.head(), chain.id()), (head, Uuid::from_u128(7)));
}

#[test]
fn one_process_writes_to_a_folder() {
    use crate::audit::shelf::{Folder, FolderError};
    let folder = tempfile::tempdir().unwrap();
    let first = Folder::open(folder.path()).unwrap();
    assert!(matches!(Folder::open(folder.path()), Err(FolderError::InUse { .. })));
    drop(first);
    Folder::open(folder.path()).unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Folder::open(&file), Err(FolderError::Unusable { .. })));
}

#[test]
fn only_the_owner_reads_what_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/audit");
    let mut chain = opened(&path, BIG);
    chain.append(now(), &[(now(), Event::Stop { replica: Name::of(&"one") })]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join(file_name(1)))), (0o700, 0o600));
}
