//! Divides a run's page into parts, so that each is small, whatever the run is.
//!
//! The room of a page is given to the texts equally: each is shown up to a length that is the same for all and as long as
//! the room allows. If not even short beginnings fit, the page is divided into parts.

use std::{collections::HashMap, ops::Range};

use super::story::{Item, Story};
use crate::{domain::RunId, ui::asked::Asked};

/// The lengths up to which texts are shown, in bytes. The first one with which all fits is taken.
pub(super) const LENGTHS: [usize; 11] =
    [8_000, 6_000, 4_000, 3_000, 2_000, 1_500, 1_000, 700, 500, 350, 250];
/// The length by which the parts are divided.
pub(super) const SHORTEST: usize = LENGTHS[LENGTHS.len() - 1];
/// How many calls of other parts have an anchor in the first part.
pub(super) const ELSEWHERE: usize = 300;
/// A number of a part that is longer than all there are, in digits.
const LONGEST_PART: usize = 99_999;

/// The parts of a page, as ranges of items. There is at least one.
#[derive(Debug)]
pub(super) struct Parts(Vec<Range<usize>>);

impl Parts {
    /// Divides items of these sizes. `whole` is the room of a page that is not divided; `first` and `other` are the rooms
    /// of the first and of the further parts of one that is. An item that is larger than that has a part of its own.
    pub(super) fn of(sizes: &[usize], whole: usize, [first, other]: [usize; 2]) -> Self {
        if sizes.iter().sum::<usize>() <= whole {
            return Self(std::iter::once(0..sizes.len()).collect());
        }
        let (mut parts, mut begin, mut taken) = (Vec::new(), 0, 0);
        for (index, size) in sizes.iter().enumerate() {
            let room = if parts.is_empty() { first } else { other };
            if taken + size > room && index > begin {
                parts.push(begin..index);
                (begin, taken) = (index, 0);
            }
            taken += size;
        }
        parts.push(begin..sizes.len());
        Self(parts)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The items of the part with this number, from 1; of the last part if there is none with it.
    pub(super) fn range(&self, part: usize) -> Range<usize> {
        let part = part.clamp(1, self.count());
        self.0.get(part - 1).cloned().unwrap_or_default()
    }

    /// Where everything is, seen from this part.
    pub(super) fn places(&self, story: &Story<'_>, part: usize) -> Places {
        let mut places = Places { part: part.clamp(1, self.count()), ..Places::default() };
        for (number, range) in (1..).zip(&self.0) {
            for item in story.items.get(range.clone()).unwrap_or_default() {
                match item {
                    Item::Call(call) => {
                        places.calls.extend(call.number.map(|call| (call, number)));
                    }
                    Item::Rating(rating) => {
                        places.ratings.insert(*rating, number);
                    }
                    _ => {}
                }
            }
        }
        places
    }
}

/// In which part each call and each rating is.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The part that is shown; 0 for none.
    part: usize,
    /// The path of the page, seen from another page.
    path: String,
    calls: HashMap<u32, usize>,
    ratings: HashMap<usize, usize>,
}

impl Places {
    /// Of a page that is not divided yet. Each address is as long as it can become.
    pub(super) fn unknown() -> Self {
        Self::default()
    }

    /// These places, seen from another page.
    pub(super) fn seen_from_elsewhere(self, asked: &Asked, run: RunId) -> Self {
        Self { part: 0, path: asked.run_path(run), ..self }
    }

    /// The address of a call of the run.
    pub(super) fn call(&self, asked: &Asked, call: u32) -> String {
        self.address(asked, self.calls.get(&call), &format!("call-{call}"))
    }

    /// The address of a rating with this index and anchor.
    pub(super) fn rating(&self, asked: &Asked, index: usize, anchor: &str) -> String {
        self.address(asked, self.ratings.get(&index), anchor)
    }

    /// The calls of other parts, by number, with the parts.
    pub(super) fn elsewhere(&self) -> Vec<(u32, usize)> {
        let others = self.calls.iter().filter(|(_, part)| **part != self.part);
        let mut others: Vec<_> = others.map(|(call, part)| (*call, *part)).collect();
        others.sort_unstable();
        others
    }

    fn address(&self, asked: &Asked, part: Option<&usize>, anchor: &str) -> String {
        match part {
            Some(part) if *part == self.part => format!("#{anchor}"),
            part => {
                let part = asked.part_of_run(*part.unwrap_or(&LONGEST_PART), anchor);
                format!("{}{part}", self.path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sizes: &[usize], whole: usize, rooms: [usize; 2]) -> Vec<Range<usize>> {
        Parts::of(sizes, whole, rooms).0
    }

    fn one_part(items: usize) -> Vec<Range<usize>> {
        std::iter::once(0..items).collect()
    }

    #[test]
    fn what_fits_is_one_part() {
        assert_eq!(parts(&[], 10, [5, 5]), one_part(0));
        assert_eq!(parts(&[5, 5], 10, [1, 1]), one_part(2));
    }

    #[test]
    fn what_does_not_fit_is_divided_between_items_and_none_is_lost() {
        assert_eq!(parts(&[5, 5, 5, 5], 19, [10, 15]), [0..2, 2..4]);
        assert_eq!(parts(&[5, 50, 5, 5], 19, [10, 15]), [0..1, 1..2, 2..4]);
        assert_eq!(parts(&[50], 19, [10, 15]), one_part(1));
        let divided = Parts::of(&[5, 5, 5], 10, [5, 5]);
        assert_eq!((divided.count(), divided.range(2)), (3, 1..2));
        assert_eq!([divided.range(0), divided.range(9)], [0..1, 2..3]);
    }
}
