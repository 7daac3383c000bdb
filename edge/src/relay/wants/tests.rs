//! Names of viewers' choice, and who waits.

use super::table::{MAX_OF_ONE, MAX_STREAMS, MAX_UNKNOWN};
use super::*;

fn numbered(number: usize) -> StreamName {
    format!("live/s{number}").parse().unwrap()
}

fn from(host: u8) -> Option<IpAddr> {
    Some([10, 0, 0, host].into())
}

#[tokio::test]
async fn who_waits_is_told() {
    let (wants, name) = (Wants::default(), "live/show".parse().unwrap());
    let coming = wants.line(&name, "e/v0", None).unwrap();
    wants.changed().await;
    wants.settle(&name, "e/v0", Due::Here);
    assert_eq!(coming.settled().await, Due::Here);
}

#[test]
fn what_cannot_be_said_to_a_node_is_not_wanted() {
    let (wants, name) = (Wants::default(), "live/show".parse().unwrap());
    let long = "a".repeat(201);
    for line in ["a b", "a%20b", "..", "a/../b", "\u{fc}", "a?b", "a#b", "a\\b", "", &long] {
        assert!(wants.line(&name, line, None).is_none(), "{line}");
    }
    assert!(!wants.streams().contains(&name));
    assert!(wants.line(&name, "e1/v0", None).is_some());
}

#[tokio::test]
async fn made_up_names_give_way_to_others_and_streams_that_are_here_do_not() {
    let wants = Wants::default();
    wants.keep(&numbered(0));
    let here = wants.stream(&numbered(1), None);
    wants.settle(&numbered(1), "", Due::Here);
    let coming = wants.stream(&numbered(2), None).unwrap();
    for number in 3..MAX_STREAMS {
        assert!(wants.stream(&numbered(number), from((number % 32) as u8)).is_some());
        if number != 9 {
            wants.settle(&numbered(number), "", Due::Absent);
        }
    }
    // Any number of others: what nobody has goes first, the oldest before the others.
    for number in 0..MAX_STREAMS {
        let name = format!("live/t{number}").parse().unwrap();
        assert!(wants.stream(&name, from((number % 32) as u8)).is_some(), "{number}");
        let present = |number| wants.streams().contains(&numbered(number));
        assert!(present(0) && present(1), "{number}");
        if number == 0 {
            assert!(present(2) && present(9) && !present(3) && present(MAX_STREAMS - 1));
        }
    }
    assert_eq!(here.unwrap().settled().await, Due::Here);
    // Who waited longest for what nobody was known to have is told so.
    assert_eq!(coming.settled().await, Due::Absent);
}

#[test]
fn one_client_has_room_for_so_many_names_and_gets_it_back() {
    let wants = Wants::default();
    let ask = |number, host| wants.stream(&numbered(number), from(host)).is_some();
    assert!((0..MAX_OF_ONE).all(|number| ask(number, 1)));
    assert!(!ask(MAX_OF_ONE, 1) && ask(3, 1), "only what is new is refused");
    assert!(ask(MAX_OF_ONE, 2));
    assert!(ask(MAX_OF_ONE, 1), "what another one asks for as well");
    wants.settle(&numbered(0), "", Due::Here);
    wants.settle(&numbered(0), "", Due::Here);
    assert!(ask(MAX_OF_ONE + 1, 1) && !ask(MAX_OF_ONE + 2, 1));
    wants.streams().remove(&numbered(5));
    assert!(ask(MAX_OF_ONE + 2, 1) && !ask(MAX_OF_ONE + 3, 1));
    (0..MAX_OF_ONE + 9).for_each(|number| wants.streams().remove(&numbered(number)));
    assert!(wants.streams().owed.is_empty());
}

#[tokio::test]
async fn made_up_lines_give_way_to_others_and_lines_that_are_known_do_not() {
    let (wants, name): (_, StreamName) = (Wants::default(), numbered(0));
    let real = wants.line(&name, "e/v0", None).unwrap();
    if let Some(line) = wants.streams().get_mut(&name).and_then(|one| one.lines.get_mut("e/v0")) {
        line.known = true;
    }
    let first = wants.line(&name, "x/first", None).unwrap();
    for number in 0..2 * MAX_UNKNOWN {
        assert!(wants.line(&name, &format!("x/{number}"), None).is_some());
    }
    assert_eq!(first.settled().await, Due::Absent);
    assert_eq!(wants.streams().get_mut(&name).unwrap().lines.len(), MAX_UNKNOWN + 1);
    wants.settle(&name, "e/v0", Due::Here);
    assert_eq!(real.settled().await, Due::Here);
}
