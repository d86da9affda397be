//! A byte that selects the place of a secret in a properties file, then the rest of the file. Checks that no error
//! message contains the secret, that properties read the same after they were written with escapes, and that translated
//! properties need no further translation.

#![no_main]

use std::collections::BTreeMap;

use anyhow::Error;
use libfuzzer_sys::fuzz_target;

// The file itself and not its crate, whose allocator does not go with the address sanitizer.
#[path = "../../cli/src/properties.rs"]
mod properties;

use properties::{parse, translate};

const SECRET: &str = "h9Xw2q.Tz71vRk";

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    if text.contains(SECRET) {
        return;
    }
    let place = text.floor_char_boundary(text.len() * usize::from(first / 2) / 128);
    let (before, after) = text.split_at(place);
    let file = match first % 2 {
        0 => format!("{before}\nsasl.password={SECRET}\n{after}"),
        _ => format!("{before}password=\"{SECRET}\";{after}"),
    };
    let found = match parse(&file) {
        Ok(found) => found,
        Err(error) => return hides_the_secret(&error, &file),
    };
    let lines = file.lines().count();
    assert!(found.iter().all(|(number, ..)| (1..=lines).contains(number)), "{found:?}");
    assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "{found:?}");
    reads_the_same_with_escapes(&found);
    let mut properties: BTreeMap<_, _> = found.into_iter().map(|(_, name, value)| (name, value)).collect();
    if let Err(error) = translate(&mut properties) {
        return hides_the_secret(&error, &file);
    }
    let translated = properties.clone();
    let ignored = translate(&mut properties).expect("translated properties");
    assert!(ignored.is_empty(), "{ignored:?}");
    assert_eq!(properties, translated);
});

fn hides_the_secret(error: &Error, file: &str) {
    let message = format!("{error:#}");
    assert!(!message.contains(SECRET), "{message:?} for {file:?}");
}

fn reads_the_same_with_escapes(found: &[(usize, String, String)]) {
    let escaped = |character: char| match u16::try_from(u32::from(character)) {
        Ok(code) => format!("\\u{code:04x}"),
        Err(_) => character.to_string(),
    };
    let escaped = |text: &str| text.chars().map(escaped).collect::<String>();
    let lines = found.iter().map(|(_, name, value)| format!("{}={}\n", escaped(name), escaped(value)));
    let again = parse(&lines.collect::<String>()).expect("properties that were written");
    let pair = |(_, name, value): &(usize, String, String)| (name.clone(), value.clone());
    assert!(again.iter().map(pair).eq(found.iter().map(pair)), "{again:?} and not {found:?}");
}
