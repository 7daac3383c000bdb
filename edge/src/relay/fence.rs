//! Which history of a stream may be shown under names that are shown already. Pure.
//!
//! An origin that cannot reach the directory goes on with its stream, though another one may have taken it over by now, under
//! the same names (`docs/decisions/0014-a-standby-goes-on-in-place.md`). The younger history counts, and a node that has
//! followed it does not go back: one name would come to mean two things (EDGE-29).

use std::collections::{BTreeSet, HashMap};

/// What a node says that it has of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Which life of the stream: a later one has a greater number.
    pub epoch: u64,
    /// Lines that can be wanted. Their names are those of the stream's URLs.
    pub lines: BTreeSet<String>,
}

/// The history that is followed.
#[derive(Clone, Debug, Default)]
pub struct Fence {
    followed: Option<(usize, Offer)>,
    /// Greatest number of a lease under which one was followed; 0 where the directory had no word in it.
    term: u64,
    /// Greatest epoch that was over when that lease was heard, though by its clock it is the younger one.
    over: u64,
}

impl Offer {
    /// It has lines of the same names. Two origins that share no directory name theirs apart.
    fn shares(&self, other: &Self) -> bool {
        self.lines.iter().any(|line| !line.is_empty() && other.lines.contains(line))
    }

    /// An older history of the same names.
    fn is_older_than(&self, other: &Self) -> bool {
        self.epoch < other.epoch && self.shares(other)
    }
}

impl Fence {
    /// What this node has is followed from now on. `term` is the number of its lease, where the directory says that the
    /// stream is its own: a newer one than any before ends every history there was, whatever its epoch.
    pub fn follow(&mut self, node: usize, offers: &HashMap<usize, Offer>, term: Option<u64>) {
        let Some(offer) = offers.get(&node) else { return };
        let last = self.followed.take();
        if last.as_ref().is_some_and(|(_, last)| !last.shares(offer)) {
            self.over = 0;
        }
        let last = last.filter(|(followed, _)| *followed != node).map(|(_, last)| last);
        if let Some(term) = term.filter(|term| *term > self.term) {
            let ahead = offers.values().chain(&last).filter(|other| offer.is_older_than(other));
            (self.term, self.over) = (term, ahead.map(|other| other.epoch).fold(self.over, u64::max));
        }
        self.followed = Some((node, offer.clone()));
    }

    /// Nothing of it is shown any more: whatever there is may be. Answers whether that is news.
    pub fn lift(&mut self) -> bool {
        self.over = 0;
        self.followed.take().is_some()
    }

    /// A history that was over when the one that is followed had its lease. Who feeds on from the followed one has its
    /// epoch.
    fn is_over(&self, offer: &Offer) -> bool {
        let rival = |last: &Offer| last.epoch != offer.epoch && last.shares(offer);
        offer.epoch <= self.over && self.followed.as_ref().is_some_and(|(_, last)| rival(last))
    }

    /// Whether what this node has may not be shown, though it says that it has the stream. A newer lease than any before
    /// stands above the numbers of epochs, which are only as good as the nodes' clocks.
    pub fn bars(&self, node: usize, offers: &HashMap<usize, Offer>, term: Option<u64>) -> bool {
        let Some(offer) = offers.get(&node) else { return false };
        let follows = self.followed.as_ref().is_some_and(|(followed, _)| *followed == node);
        if term.is_some_and(|term| term > self.term || follows && term == self.term) {
            return false;
        }
        // A node that begins anew with its clock set back is still itself.
        let older = self.followed.as_ref().is_some_and(|(_, last)| offer.is_older_than(last));
        let behind = !follows && (older || self.is_over(offer));
        behind || offers.values().any(|other| offer.is_older_than(other) && !self.is_over(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(epoch: u64, lines: &[&str]) -> Offer {
        Offer { epoch, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    fn two(first: Offer, second: Offer) -> HashMap<usize, Offer> {
        HashMap::from([(0, first), (1, second)])
    }

    #[test]
    fn who_followed_the_younger_history_does_not_go_back() {
        let (mut fence, lines) = (Fence::default(), ["", "e1/v0"]);
        let both = two(offer(10, &lines), offer(20, &lines));
        assert!(
            fence.bars(0, &both, None) && !fence.bars(1, &both, None),
            "both are seen: the younger counts"
        );
        fence.follow(1, &both, None);
        let old = HashMap::from([(0, offer(10, &lines))]);
        assert!(fence.bars(0, &old, None), "the younger one's node is gone, and its names are still shown");
        assert!(!fence.bars(0, &HashMap::from([(0, offer(21, &lines))]), None), "it began anew");
        assert!(fence.lift() && !fence.lift());
        assert!(!fence.bars(0, &old, None), "nothing is shown any more");
    }

    #[test]
    fn histories_under_other_names_are_nobody_s_rivals() {
        let mut fence = Fence::default();
        let both = two(offer(10, &["", "e1/v0"]), offer(20, &["", "e2/v0"]));
        fence.follow(1, &both, None);
        assert!(!fence.bars(0, &both, None) && !fence.bars(1, &both, None));
    }

    #[test]
    fn a_node_whose_clock_was_set_back_is_still_itself() {
        let (mut fence, lines) = (Fence::default(), ["", "e1/v0"]);
        fence.follow(0, &HashMap::from([(0, offer(20, &lines))]), None);
        assert!(!fence.bars(0, &HashMap::from([(0, offer(10, &lines))]), None));
        assert!(fence.bars(1, &HashMap::from([(1, offer(10, &lines))]), None));
    }

    #[test]
    fn a_newer_lease_stands_above_the_clocks_and_an_old_word_does_not() {
        let (mut fence, lines) = (Fence::default(), ["", "e1/v0"]);
        let both = two(offer(20, &lines), offer(10, &lines));
        fence.follow(0, &both, Some(5));
        // The other one took the stream over, and its clock is behind.
        assert!(fence.bars(1, &both, None) && !fence.bars(1, &both, Some(9)));
        fence.follow(1, &both, Some(9));
        assert!(!fence.bars(1, &both, Some(9)), "it stays while the first one has not heard of it");
        // Here the directory is away, and its last word is the first one's lease.
        let both = two(offer(10, &lines), offer(20, &lines));
        let mut fence = Fence::default();
        fence.follow(0, &both, Some(5));
        assert!(!fence.bars(0, &both, Some(5)), "what is shown goes on");
        fence.follow(1, &both, None);
        assert!(fence.bars(0, &both, Some(5)), "and is not gone back to by an old word");
    }

    #[test]
    fn the_holder_of_a_newer_lease_is_gone_back_to_after_a_cut_and_who_lost_the_stream_is_not_taken_meanwhile()
     {
        let lines = ["", "e1/v0"];
        let (holder, lost) = (offer(10, &lines), offer(20, &lines));
        let both = two(holder.clone(), lost.clone());
        // The one that lost it, whose clock is ahead, is followed or only heard of when the lease is.
        for followed in [true, false] {
            let mut fence = Fence::default();
            if followed {
                fence.follow(1, &HashMap::from([(1, lost.clone())]), Some(9));
            }
            let heard = if followed { HashMap::from([(0, holder.clone())]) } else { both.clone() };
            fence.follow(0, &heard, Some(15));
            assert!(fence.bars(1, &HashMap::from([(1, lost.clone())]), None), "the holder's link is down");
            for term in [Some(15), None] {
                assert!(!fence.bars(0, &both, term) && fence.bars(1, &both, None), "it is back: {term:?}");
            }
            // A node that is fed by the holder has the same history, and takes its place.
            let fed = HashMap::from([(1, lost.clone()), (2, holder.clone())]);
            assert!(!fence.bars(2, &fed, None));
            fence.follow(2, &fed, None);
            assert!(fence.bars(1, &fed, None) && !fence.bars(0, &both, Some(15)));
            // Who takes the stream over later is followed.
            assert!(!fence.bars(1, &two(holder.clone(), offer(21, &lines)), None));
            assert!(fence.lift() && !fence.bars(1, &HashMap::from([(1, lost.clone())]), None));
        }
    }

    #[test]
    fn what_was_over_says_nothing_of_other_names() {
        let (mut fence, lines) = (Fence::default(), ["", "e1/v0"]);
        let both = two(offer(10, &lines), offer(20, &lines));
        fence.follow(0, &both, Some(15));
        let anew = two(offer(11, &["", "e2/v0"]), offer(20, &lines));
        fence.follow(2, &HashMap::from([(2, offer(12, &["", "e3/v0"]))]), None);
        assert!(!fence.bars(0, &anew, None) && !fence.bars(1, &anew, None));
    }
}
