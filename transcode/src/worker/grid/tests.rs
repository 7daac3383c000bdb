use proptest::prelude::*;

use super::*;

const RHYTHM: Rhythm = Rhythm { frame: 3_000, timescale: Timescale::VIDEO, gop: 30 };

fn grid() -> Grid {
    Grid::new(RHYTHM, Timescale::MILLIS, None)
}

fn slots(filled: &Filled) -> (usize, usize) {
    (filled.before.len(), filled.with.len())
}

#[test]
fn a_steady_source_fills_slot_by_slot() {
    let mut grid = grid();
    for k in 0..100i64 {
        let filled = grid.fill(5_000 + k * 1_000 / 30);
        let slot = Slot { dts: 450_000 + k * 3_000, sync: k % 30 == 0 };
        assert_eq!((filled.before, filled.with), (vec![], vec![slot]), "{k}");
    }
}

#[test]
fn a_gap_is_shared_between_both_pictures() {
    let mut grid = grid();
    assert_eq!(slots(&grid.fill(0)), (0, 1));
    // Slots 1 to 4: two are nearer to the picture before, two to this one.
    assert_eq!(slots(&grid.fill(133)), (1, 3));
    // A picture for a slot that is filled is dropped.
    assert_eq!(slots(&grid.fill(140)), (0, 0));
    assert_eq!(slots(&grid.fill(167)), (0, 1));
}

#[test]
fn a_resumed_grid_begins_exactly_where_it_is_told() {
    let mut grid = Grid::new(RHYTHM, Timescale::MILLIS, Some(1_000));
    assert_eq!(grid.fill(934), Filled::default());
    let filled = grid.fill(1_070);
    // The picture before the first slot fills what comes before this one.
    assert_eq!(filled.before, [Slot { dts: 90_000, sync: true }, Slot { dts: 93_000, sync: false }]);
    assert_eq!(filled.with, [Slot { dts: 96_000, sync: false }]);
}

#[test]
fn after_a_break_the_grid_begins_anew_and_never_goes_back() {
    let mut grid = grid();
    grid.fill(0);
    grid.fill(33);
    grid.restart();
    let filled = grid.fill(40);
    assert_eq!(filled.with, [Slot { dts: 6_000, sync: true }]);
}

#[test]
fn more_than_a_second_without_a_picture_leaves_slots_out_up_to_an_idr() {
    let mut grid = grid();
    grid.fill(0);
    let filled = grid.fill(1_700);
    assert!(filled.skipped && filled.with.is_empty());
    assert_eq!(grid.fill(1_900), Filled::default());
    assert_eq!(grid.fill(2_000).with, [Slot { dts: 180_000, sync: true }]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any jitter, drops, duplicates and variable rates up to a second: slots without a hole, an IDR exactly every
    /// GOP, each slot's picture within a slot and a half of its time where pictures are that near.
    #[test]
    fn slots_are_contiguous_and_idrs_on_the_marks(
        steps in prop::collection::vec(0i64..900, 1..200),
        frame in 1_500u32..6_000,
        gop in 1u32..90,
    ) {
        let rhythm = Rhythm { frame, timescale: Timescale::VIDEO, gop };
        let mut grid = Grid::new(rhythm, Timescale::MILLIS, None);
        let (mut pts, mut next, mut previous) = (7_000, None, None);
        let mut index = 0i64;
        for step in steps {
            // Up to 900 ms and mostly far less, duplicates included.
            pts += step * step / 900;
            let filled = grid.fill(pts);
            prop_assert!(!filled.skipped);
            let shown = filled.before.iter().map(|slot| (*slot, previous));
            let shown: Vec<_> = shown.chain(filled.with.iter().map(|slot| (*slot, Some(pts)))).collect();
            for (slot, picture) in shown {
                prop_assert_eq!(slot.dts, next.unwrap_or(slot.dts));
                prop_assert_eq!(slot.sync, index % i64::from(gop) == 0);
                let picture = picture.unwrap_or(pts) * 90;
                let nearest = [previous, Some(pts)].into_iter().flatten().map(|p| (p * 90 - slot.dts).abs()).min();
                prop_assert!((picture - slot.dts).abs() <= nearest.unwrap_or_default() + 2 * i64::from(frame));
                next = Some(slot.dts + i64::from(frame));
                index += 1;
            }
            previous = Some(pts);
        }
    }
}
