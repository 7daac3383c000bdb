//! Parameter sets by their ids, as frames replace them in band (RTMP-49).

use bytes::Bytes;

/// NAL unit type and id of a parameter set.
type SetId = (u8, u32);

/// The units of a record. Ids are read once for each unit, so that a frame full of parameter sets costs no more than
/// its length.
#[derive(Debug)]
pub(super) struct Sets {
    units: Vec<(Option<SetId>, Bytes)>,
    id: fn(&[u8]) -> Option<SetId>,
    changed: bool,
}

impl Sets {
    /// The units of a record. `id` gives `None` for what is no parameter set.
    pub(super) fn new(units: Vec<Bytes>, id: fn(&[u8]) -> Option<SetId>) -> Self {
        let units = units.into_iter().map(|unit| (id(&unit), unit)).collect();
        Self { units, id, changed: false }
    }

    /// Puts a set in the place of the one with its id, or at the end.
    pub(super) fn store(&mut self, set: &Bytes) {
        let Some(wanted) = (self.id)(set) else { return };
        match self.units.iter_mut().find(|(id, _)| *id == Some(wanted)) {
            Some((_, known)) if known == set => return,
            Some((_, known)) => *known = set.clone(),
            None => self.units.push((Some(wanted), set.clone())),
        }
        self.changed = true;
    }

    /// The units, if any of them is new.
    pub(super) fn changed(self) -> Option<Vec<Bytes>> {
        self.changed.then(|| self.units.into_iter().map(|(_, unit)| unit).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static ASKED: Cell<usize> = const { Cell::new(0) };
    }

    fn second_byte(unit: &[u8]) -> Option<SetId> {
        ASKED.set(ASKED.get() + 1);
        Some((unit[0], unit[1].into()))
    }

    #[test]
    fn an_id_is_read_once_for_each_unit() {
        let unit = |id: u8, body: u8| Bytes::copy_from_slice(&[7, id, body]);
        let mut sets = Sets::new((0..100).map(|id| unit(id, 0)).collect(), second_byte);
        for body in 0..50 {
            sets.store(&unit(99, body));
            sets.store(&unit(100, body));
        }
        assert_eq!(ASKED.get(), 200);
        let units = sets.changed().unwrap();
        assert_eq!((units.len(), &units[99], &units[100]), (101, &unit(99, 49), &unit(100, 49)));
    }

    #[test]
    fn sets_that_are_there_change_nothing() {
        let known = Bytes::from_static(&[7, 0, 1]);
        let mut sets = Sets::new(vec![known.clone()], second_byte);
        sets.store(&known);
        assert_eq!(sets.changed(), None);
    }
}
