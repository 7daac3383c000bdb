//! Whether pictures are two fields each, by what is seen in them rather than by what is said of them (AVP-19).
//!
//! libavfilter's `idet` says of a picture whether its lines are of two times. That takes a few milliseconds, so that it is
//! asked about the first pictures of a source and about some now and then, and only where fields are to be expected:
//! pictures that are flagged so, and those of the sizes and rates of interlaced television. In between the last judgement
//! holds, and before the first one the flag does.

use aqueduct_common::{Timescale, Track};

use crate::sys::{Graph, GraphInput, Picture, Scan, Shape, has_filter};

/// Pictures that the first judgement, and one against the last, is made of.
const WINDOW: u32 = 100;
/// Pictures of a look now and then, and after which whole pictures are known.
const LOOK: u32 = 25;
/// Seconds from one look to the next.
const EVERY: i64 = 10;
/// Of these pictures as many have to show something: a still one has no fields.
const TELLING: u32 = 10;
/// Share of pictures with combs of one order, less those of the other, from which on fields are joined, and up to which they are no longer. Film in a 2:3 pattern,
/// which is treated as fields, has two of five.
const JOIN: f32 = 0.3;
const LEAVE: f32 = 0.1;
/// Share that leaves no doubt of whole pictures, before all are seen. Fields are never joined so early: what only looks like
/// them may keep to one order for a second or two.
const CLEAR: f32 = 0.02;
/// Lines of interlaced television; 1088 are 1080 whose cropping was forgotten.
const LINES: [u32; 5] = [480, 486, 576, 1_080, 1_088];
/// Its most frames a second.
const RATE: i64 = 31;
/// Where `idet` notes what it sees.
const KEY: &str = "lavfi.idet.single.current_frame";

/// Watches a source's pictures.
pub(super) struct Watch {
    judge: Judge,
    /// idet, while it looks.
    graph: Option<(Shape, Graph)>,
    /// Pictures until the next look.
    wait: u32,
    /// Pictures from one look to the next.
    every: u32,
    /// Pictures of television's sizes may be fields.
    slow: bool,
    able: bool,
}

impl Watch {
    /// For the pictures of a source.
    pub(super) fn new(track: &Track) -> Self {
        let (spacing, second) = (track.grid.spacing().as_flicks().max(1), i64::from(Timescale::FLICKS.hz()));
        let every = u32::try_from(EVERY * second / spacing).unwrap_or(u32::MAX).max(LOOK);
        let slow = spacing.saturating_mul(RATE) >= second;
        Self { judge: Judge::default(), graph: None, wait: 0, every, slow, able: has_filter("idet") }
    }

    /// Looks at a picture where that is due, and sets how it was taken where that is known. Says in words what was found,
    /// where it is new and not what the picture's flag says.
    pub(super) fn see(&mut self, picture: &mut Picture) -> Option<&'static str> {
        let before = self.judge.verdict;
        let expected = picture.is_flagged_interlaced() || (self.slow && LINES.contains(&picture.height()));
        if self.able && expected && picture.device().is_none() {
            match self.wait.checked_sub(1) {
                Some(wait) => self.wait = wait,
                None => self.look(picture),
            }
        }
        let verdict = self.judge.verdict?;
        let flagged = picture.is_flagged_interlaced();
        picture.set_scan(verdict);
        match (verdict == Scan::Progressive, flagged) {
            _ if before == Some(verdict) => None,
            (true, true) => Some("the picture is flagged as interlaced and is not: it is left whole"),
            (false, false) => {
                Some("the picture is interlaced, although its flags do not say so: its fields are joined")
            }
            _ => None,
        }
    }

    fn look(&mut self, picture: &Picture) {
        let shape = picture.shape();
        if self.graph.as_ref().is_none_or(|(built, _)| *built != shape) {
            let input = GraphInput { like: picture, timescale: 1 };
            let Ok(graph) = Graph::build(&input, "[in]idet[out0]", 1) else {
                self.able = false;
                return;
            };
            self.graph = Some((shape, graph));
        }
        let Some((_, graph)) = &mut self.graph else { return };
        self.able = graph.push(picture).is_ok();
        while let Ok(Some(seen)) = graph.pull(0, 1) {
            if self.judge.see(seen.note(KEY).as_deref().and_then(scan)) {
                self.graph = None;
                self.wait = self.every - LOOK;
                return;
            }
        }
    }
}

/// idet's words; `None` where it cannot say.
fn scan(word: &str) -> Option<Scan> {
    match word {
        "tff" => Some(Scan::UpperFirst),
        "bff" => Some(Scan::LowerFirst),
        "progressive" => Some(Scan::Progressive),
        _ => None,
    }
}

/// Judges by many pictures, and is slow to change its mind: pure.
#[derive(Debug, Default)]
struct Judge {
    verdict: Option<Scan>,
    /// A first look is over.
    begun: bool,
    looked: u32,
    upper: u32,
    lower: u32,
    whole: u32,
}

impl Judge {
    /// Takes what was seen in one picture. True where this look is over.
    fn see(&mut self, seen: Option<Scan>) -> bool {
        self.looked += 1;
        match seen {
            Some(Scan::UpperFirst) => self.upper += 1,
            Some(Scan::LowerFirst) => self.lower += 1,
            Some(Scan::Progressive) => self.whole += 1,
            None => {}
        }
        if !self.looked.is_multiple_of(LOOK) {
            return false;
        }
        let last = self.looked >= WINDOW;
        let settled = self.judge(last);
        let over = last || (settled && self.begun);
        if over {
            *self = Self { verdict: self.verdict, begun: true, ..Self::default() };
        }
        over
    }

    /// True where nothing more has to be looked at.
    fn judge(&mut self, last: bool) -> bool {
        let telling = self.upper + self.lower + self.whole;
        if telling < TELLING {
            return true;
        }
        // Fields come in one order. Fine lines that move look like fields too, but now in one order and now in the other.
        let share = self.upper.abs_diff(self.lower) as f32 / telling as f32;
        if last && share >= JOIN {
            self.verdict = Some(if self.lower > self.upper { Scan::LowerFirst } else { Scan::UpperFirst });
            true
        } else if share <= if last { LEAVE } else { CLEAR } {
            self.verdict = Some(Scan::Progressive);
            true
        } else {
            match self.verdict {
                Some(Scan::Progressive) => share < JOIN,
                Some(_) => share > LEAVE,
                None => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Option<Scan> = Some(Scan::UpperFirst);
    const WHOLE: Option<Scan> = Some(Scan::Progressive);

    /// Looks at pictures of a pattern until the look is over; how many that took.
    fn look(judge: &mut Judge, pattern: &[Option<Scan>]) -> usize {
        1 + pattern.iter().cycle().position(|seen| judge.see(*seen)).unwrap()
    }

    #[test]
    fn whole_pictures_are_known_after_a_second_and_fields_after_four() {
        for seen in [FIELDS, Some(Scan::LowerFirst), WHOLE] {
            let mut judge = Judge::default();
            (0..25).for_each(|_| assert!(!judge.see(seen)));
            assert_eq!(judge.verdict, WHOLE.filter(|_| seen == WHOLE));
            assert_eq!(look(&mut judge, &[seen]), 75);
            assert_eq!(judge.verdict, seen);
            assert_eq!(look(&mut judge, &[seen]), 25, "the next looks are short");
        }
    }

    #[test]
    fn film_in_a_two_three_pattern_counts_as_fields() {
        let mut judge = Judge::default();
        assert_eq!(look(&mut judge, &[WHOLE, WHOLE, WHOLE, FIELDS, FIELDS]), 100);
        assert_eq!(judge.verdict, FIELDS);
    }

    #[test]
    fn a_judgement_is_changed_only_by_a_long_look_or_a_clear_one() {
        let mut judge = Judge::default();
        look(&mut judge, &[WHOLE]);
        // One in five: neither joined nor, once they are, left.
        let some = [WHOLE, WHOLE, FIELDS, WHOLE, WHOLE];
        assert_eq!(look(&mut judge, &some), 25);
        assert_eq!(judge.verdict, WHOLE);
        assert_eq!(look(&mut judge, &[WHOLE, FIELDS]), 100);
        assert_eq!(judge.verdict, FIELDS);
        assert_eq!(look(&mut judge, &some), 25);
        assert_eq!(judge.verdict, FIELDS);
        assert_eq!(look(&mut judge, &[WHOLE]), 25);
        assert_eq!(judge.verdict, WHOLE);
    }

    #[test]
    fn combs_of_either_order_are_no_fields() {
        let mut judge = Judge::default();
        assert_eq!(look(&mut judge, &[FIELDS, Some(Scan::LowerFirst), WHOLE]), 100);
        assert_eq!(judge.verdict, WHOLE);
    }

    #[test]
    fn a_still_picture_says_nothing() {
        let mut judge = Judge::default();
        assert_eq!(look(&mut judge, &[None]), 100);
        assert_eq!(judge.verdict, None, "its flag counts");
        look(&mut judge, &[FIELDS]);
        assert_eq!(look(&mut judge, &[None, None, None, WHOLE]), 25);
        assert_eq!(judge.verdict, FIELDS, "too little was seen to change it");
    }
}
