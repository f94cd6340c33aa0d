//! The table of attacks in SECURITY.md: written from what the tests assert, and kept current by a test.

use super::{
    records::{ATTACKS, Aim},
    structure::{self, STRUCTURE},
};
use std::{fmt::Write as _, fs};

const FILE: &str = "SECURITY.md";
const BEGIN: &str =
    "<!-- attacks: begin; `UPDATE_DOCS=1 cargo test --test it attacker::page` writes them anew -->\n";
const END: &str = "<!-- attacks: end -->\n";

fn tables() -> String {
    let mut text =
        String::from("| on one record | a running broker | one started afterwards |\n|---|---|---|\n");
    for attack in ATTACKS {
        let whose = match attack.aim {
            Aim::Connection => "connection",
            Aim::Disabled => "disabled connection",
            Aim::Deleted => "deleted connection",
            Aim::Client => "client",
        };
        let (running, fresh) = (attack.running.words(), attack.fresh.words());
        writeln!(text, "| {whose}: {} | {running} | {fresh} |", attack.what).unwrap();
    }
    text.push_str(
        "\n| on the rest of the store | a running broker | one started afterwards |\n|---|---|---|\n",
    );
    for structure::Attack { what, running, fresh, .. } in STRUCTURE {
        writeln!(text, "| {what} | {} | {} |", running.words(), fresh.words()).unwrap();
    }
    text
}

#[test]
fn the_table_of_attacks_is_current() {
    let page = fs::read_to_string(FILE).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("SECURITY.md has a place for the attacks");
    let (_, tail) = rest.split_once(END).unwrap();
    let wanted = format!("{head}{BEGIN}\n{}\n{END}{tail}", tables());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(FILE, &wanted).unwrap();
    }
    let written = fs::read_to_string(FILE).unwrap();
    assert!(written == wanted, "run `UPDATE_DOCS=1 cargo test --test it attacker::page`");
}
