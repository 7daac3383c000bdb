//! A set of public keys and a list of who was cut off, as an operator's web site sends them: behind the first byte.
#![no_main]

use aqueduct_edge::token::{keys_in, named_in};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, text)) = data.split_first() else { return };
    if kind & 1 == 0 {
        let open = keys_in(text, false);
        // A set with fewer kinds of key never has more of them, and a set is never without a key.
        match (open, keys_in(text, true)) {
            (Ok(open), Ok(all)) => assert!((1..=64).contains(&open) && open <= all && all <= 64),
            (Ok(open), Err(_)) => assert!((1..=64).contains(&open)),
            (Err(_), all) => assert!(all.is_err() || all.is_ok_and(|all| (1..=64).contains(&all))),
        }
    } else if let Ok(named) = named_in(text) {
        assert!(named <= text.split(|byte| *byte == b'\n').count());
    }
});
