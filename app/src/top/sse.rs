//! Server-sent events, taken apart. Pure.

/// Bytes of a line, and of an event, that are kept: the rows of 2,000 streams, and more.
const MOST: usize = 4 << 20;

/// Pieces of a stream in, events out.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Events {
    /// Takes a piece; the events that it completes, as name and data. `None` if the other side sends no such stream.
    pub(super) fn take(&mut self, piece: &[u8]) -> Option<Vec<(String, String)>> {
        let mut events = Vec::new();
        for byte in piece {
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > MOST {
                    return None;
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            if let Some(event) = self.line_ended(line.trim_end_matches('\r'))? {
                events.push(event);
            }
        }
        Some(events)
    }

    fn line_ended(&mut self, line: &str) -> Option<Option<(String, String)>> {
        if line.is_empty() {
            let event = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            return Some((!event.1.is_empty()).then_some(event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() > MOST {
                    return None;
                }
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments keep the connection alive; nothing else is sent.
            _ => {}
        }
        Some(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_whole_however_they_are_cut() {
        let text =
            b": hello\r\nevent: a\ndata: {\"x\":1}\n\nevent: b\ndata: 1\ndata: 2\n\n:\n\ndata: last\n\n";
        let expected = [("a", "{\"x\":1}"), ("b", "1\n2"), ("", "last")];
        for size in 1..text.len() {
            let mut events = Events::default();
            let found: Vec<_> = text.chunks(size).flat_map(|piece| events.take(piece).unwrap()).collect();
            let found: Vec<_> = found.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut events = Events::default();
        let piece = vec![b'x'; 1 << 20];
        assert!((0..5).any(|_| events.take(&piece).is_none()));
    }
}
