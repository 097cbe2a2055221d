// SPDX-License-Identifier: MIT OR Apache-2.0
//! The few statistics the report needs.
//!
//! Not here: which figures are compared with which (`report.rs`).

/// The middle of `values`, or the mean of the two middle ones; `None` if there are none.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// The value that `share` (0 to 1) of `values` do not exceed; sorts them. 0 if there are none.
pub(super) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let mut below = 0;
    while below + 1 < values.len() && ((below + 1) as f64) < share * values.len() as f64 {
        below += 1;
    }
    values.get(below).copied().unwrap_or(0.0)
}

/// Smallest and largest of `values`; `None` if there are none.
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().min_by(f64::total_cmp)?;
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_outlier() {
        assert_eq!(median(&[1.0, 900.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 2.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((quantile(&mut values, 0.5) - 50.0).abs() < f64::EPSILON);
        assert!((quantile(&mut values, 0.99) - 99.0).abs() < f64::EPSILON);
        assert!((quantile(&mut values, 1.0) - 100.0).abs() < f64::EPSILON);
        assert!(quantile(&mut [], 0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn the_range_spans_all() {
        assert_eq!(range(&[3.0, 1.0, 2.0]), Some((1.0, 3.0)));
        assert_eq!(range(&[]), None);
    }
}
