//! A spark line of block characters.

use crate::facts::report::Trend;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// There is nothing to count on this day.
const NO_DATA: char = '·';

/// A character for each day, by the largest number; a day without one is a dot. Empty if no day has a number.
pub(super) fn spark(trend: &Trend) -> String {
    let Some(most) = trend.iter().flatten().copied().reduce(f64::max) else {
        return String::new();
    };
    let steps = (BLOCKS.len() - 1) as f64;
    let block = |value: f64| {
        let share = if most > 0.0 { (value / most).clamp(0.0, 1.0) } else { 0.0 };
        BLOCKS.get((share * steps).round() as usize).copied().unwrap_or(NO_DATA)
    };
    trend.iter().map(|value| value.map_or(NO_DATA, block)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_without_data_is_no_zero() {
        assert_eq!(spark(&vec![None, Some(0.0), Some(2.0), Some(4.0)]), "·▁▅█");
        assert_eq!(spark(&vec![Some(0.0), None]), "▁·");
    }

    #[test]
    fn without_any_data_there_is_no_line() {
        assert_eq!(spark(&vec![None; 28]), "");
        assert_eq!(spark(&Trend::new()), "");
    }
}
