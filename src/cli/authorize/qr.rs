//! A URL as a QR code for a terminal: light on dark, two rows of modules to a line where the terminal knows such
//! characters, plain ASCII where it may not.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};
use std::ffi::OsString;

/// Longest URL that is drawn, in bytes: longer ones do not fit a terminal.
const URL_BYTES_MAX: usize = 230;

/// What a code is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    HalfBlocks,
    Ascii,
}

/// What the terminal can show, by the locale that it was told (POSIX: the first of these that is set counts).
pub(super) fn ink(variable: impl Fn(&str) -> Option<OsString>) -> Ink {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") { Ink::HalfBlocks } else { Ink::Ascii }
}

/// The picture, with an empty line after it; nothing where the URL is too long for one.
pub(super) fn drawn(url: &str, ink: Ink) -> Option<String> {
    if url.len() > URL_BYTES_MAX {
        return None;
    }
    let code = QrCode::with_error_correction_level(url, EcLevel::L).ok()?;
    let picture = match ink {
        // Terminals are dark as a rule: what is printed is light, and the quiet zone has to be.
        Ink::HalfBlocks => code
            .render::<Dense1x2>()
            .dark_color(Dense1x2::Light)
            .light_color(Dense1x2::Dark)
            .quiet_zone(true)
            .build(),
        Ink::Ascii => code
            .render::<char>()
            .dark_color(' ')
            .light_color('#')
            .module_dimensions(2, 1)
            .quiet_zone(true)
            .build(),
    };
    Some(picture + "\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_says_what_a_terminal_can_show() {
        let ink = |set: &[(&str, &str)]| {
            let set: Vec<_> =
                set.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
            super::ink(|name| set.iter().find(|(each, _)| each == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(ink(&[("LANG", "en_US.UTF-8")]), Ink::HalfBlocks);
        assert_eq!(ink(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]), Ink::Ascii);
        assert_eq!(ink(&[("LC_ALL", ""), ("LC_CTYPE", "C.utf8")]), Ink::HalfBlocks);
        assert_eq!(ink(&[]), Ink::Ascii);
    }

    /// Reads the modules back: 1 is dark, as on paper. A light module is printed.
    fn modules(picture: &str) -> Vec<Vec<u8>> {
        let mut rows = Vec::new();
        for line in picture.trim_end_matches('\n').split('\n') {
            let half = |upper: bool| {
                let printed = |c: char| match c {
                    '\u{2588}' => true,
                    '\u{2580}' => upper,
                    '\u{2584}' => !upper,
                    _ => false,
                };
                line.chars().map(|c| u8::from(!printed(c))).collect::<Vec<_>>()
            };
            rows.push(half(true));
            rows.push(half(false));
        }
        rows
    }

    #[test]
    fn both_inks_draw_the_same_code_with_a_quiet_zone() {
        let url = "https://login.example.com/device?user_code=WDJB-MJHT";
        let blocks = modules(&drawn(url, Ink::HalfBlocks).unwrap());
        let ascii = drawn(url, Ink::Ascii).unwrap();
        let ascii: Vec<Vec<u8>> = ascii
            .trim_end_matches('\n')
            .split('\n')
            .map(|line| line.as_bytes().chunks(2).map(|pair| u8::from(pair == b"  ")).collect())
            .collect();
        assert!(ascii.len() > 21);
        assert_eq!(blocks[..ascii.len()], ascii[..]);
        let code = QrCode::with_error_correction_level(url, EcLevel::L).unwrap();
        assert_eq!(ascii.len(), code.width() + 8, "four light modules on each side");
        assert!(ascii[..4].iter().flatten().all(|module| *module == 0));
        for (y, row) in code.to_colors().chunks(code.width()).enumerate() {
            let want: Vec<u8> = row.iter().map(|color| u8::from(*color == qrcode::Color::Dark)).collect();
            assert_eq!(ascii[y + 4][4..4 + code.width()], want[..], "row {y}");
        }
    }

    #[test]
    fn what_does_not_fit_a_terminal_is_not_drawn() {
        assert!(drawn(&format!("https://example.com/{}", "x".repeat(300)), Ink::HalfBlocks).is_none());
    }
}
