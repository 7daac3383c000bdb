//! Which answer goes first on one connection (RFC 9218). Pure.

use http::HeaderMap;

use crate::tally::Class;

/// What a client that says nothing means (RFC 9218, section 4.1).
const URGENCY: u8 = 3;
const LEAST_URGENT: u8 = 7;

/// How urgent the client says its request is: 0 is the most, 7 the least.
pub(crate) fn urgency(headers: &HeaderMap) -> u8 {
    let values = headers.get_all("priority").iter().filter_map(|value| value.to_str().ok());
    let members = values.flat_map(|value| value.split(','));
    let mut told = members.filter_map(|member| {
        let member = member.split(';').next().unwrap_or_default().trim();
        let digits = member.strip_prefix("u=")?;
        digits.parse().ok().filter(|urgency| *urgency <= LEAST_URGENT)
    });
    // Of equal keys the last counts (RFC 8941, section 4.2.2).
    told.next_back().unwrap_or(URGENCY)
}

/// The priority of an answer's stream: the higher, the sooner. What the client says comes first. Of requests that are
/// equally urgent (browsers send one urgency for all that a player fetches), what playback waits for comes first: the
/// playlist that tells of the next part, then the part, then a whole segment. Streams of HTTP/3 itself have 0.
pub(crate) fn of(urgency: u8, class: Option<Class>) -> i32 {
    let rank = match class {
        Some(Class::Multivariant | Class::Playlist) => 0,
        Some(Class::Init | Class::Part) => 1,
        Some(Class::Segment) => 2,
        Some(Class::Page | Class::Other) | None => 3,
    };
    -(i32::from(urgency) * 4 + rank) - 1
}

/// Whole segments and files may not take all the room of a connection: what is more urgent comes after them.
pub(crate) fn is_bulk(class: Option<Class>) -> bool {
    matches!(class, Some(Class::Segment | Class::Page | Class::Other) | None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urgency_is_read_and_nonsense_is_not() {
        for (value, expected) in [
            ("u=0", 0),
            ("u=7, i", 7),
            ("i, u=1", 1),
            ("u=2;x=1,i=?0", 2),
            ("u=1, u=5", 5),
            ("u=8", 3),
            ("u=-1", 3),
            ("u", 3),
            ("U=1", 3),
            ("i", 3),
            ("", 3),
            ("u=999999999999", 3),
            ("u=1, u=9", 1),
        ] {
            let headers = HeaderMap::from_iter([("priority".parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(urgency(&headers), expected, "{value:?}");
        }
        assert_eq!(urgency(&HeaderMap::new()), 3);
    }

    #[test]
    fn urgency_comes_before_the_kind_of_answer() {
        let order = [
            of(0, Some(Class::Segment)),
            of(1, Some(Class::Playlist)),
            of(1, Some(Class::Part)),
            of(1, Some(Class::Segment)),
            of(1, Some(Class::Page)),
            of(2, Some(Class::Multivariant)),
            of(7, None),
        ];
        assert!(order.is_sorted_by(|first, next| first > next), "{order:?}");
        assert!(order[0] < 0, "after HTTP/3's own streams");
    }
}
