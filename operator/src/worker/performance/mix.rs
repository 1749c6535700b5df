//! Which page is asked next: sets by their weight, pages of a set in turn.

use launchway_crds::pipeline::PageSet;

const PATHS_MAX: usize = 5000;

/// The mix of pages. The view number `k` always asks for the same page, so that two runs ask for the same.
#[derive(Clone, Debug)]
pub(super) struct Mix {
    paths: Vec<String>,
    /// For each set: its first path and how many it has.
    sets: Vec<(usize, usize)>,
    /// Of a hundred views: which set, and the how manieth of the set in this hundred.
    order: Vec<(usize, usize)>,
    weights: Vec<usize>,
}

impl Mix {
    /// Spreads the sets evenly over a hundred views.
    ///
    /// # Errors
    /// When a weight is below 0 or they do not sum up to 100, a set is there twice or has no page, or a path does not begin with `/`.
    pub(super) fn new(sets: &[PageSet]) -> Result<Self, String> {
        let weight = |set: &PageSet| {
            usize::try_from(set.weight).map_err(|_| format!("sets: {:?} has weight {}, below 0", set.name, set.weight))
        };
        let weights: Vec<usize> = sets.iter().map(weight).collect::<Result<_, _>>()?;
        let sum = weights.iter().fold(0_usize, |sum, weight| sum.saturating_add(*weight));
        if sum != 100 {
            return Err(format!("sets: the weights sum up to {sum} instead of 100"));
        }
        let (mut paths, mut places): (Vec<String>, Vec<(usize, usize)>) = (vec![], vec![]);
        for (index, set) in sets.iter().enumerate() {
            let name = set.name;
            if sets[..index].iter().any(|other| other.name == name) {
                return Err(format!("sets: {name:?} is there twice"));
            }
            if set.paths.is_empty() && set.weight > 0 {
                return Err(format!("sets: {name:?} has weight {} and no paths", set.weight));
            }
            if let Some(path) = set.paths.iter().find(|path| !path.starts_with('/')) {
                return Err(format!("sets: {name:?}: the path {path:?} does not begin with /"));
            }
            places.push((paths.len(), set.paths.len()));
            paths.extend(set.paths.iter().cloned());
        }
        if paths.len() > PATHS_MAX {
            return Err(format!("sets: {} paths, at most {PATHS_MAX} are asked", paths.len()));
        }
        Ok(Self { paths, sets: places, order: spread(&weights), weights })
    }

    /// Every path, set by set.
    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The path, as a place in [`Self::paths`], that the view number `view` asks for.
    pub(super) fn page(&self, view: u64) -> usize {
        let view = usize::try_from(view).unwrap_or(usize::MAX);
        let (set, nth) = self.order[view % self.order.len()];
        let before = view / self.order.len() * self.weights[set];
        let (first, count) = self.sets[set];
        first + (before + nth) % count
    }
}

/// Smooth weighted turns: whoever waited for the largest share of its weight comes next.
fn spread(weights: &[usize]) -> Vec<(usize, usize)> {
    let mut used = vec![0; weights.len()];
    (1..=100)
        .map(|turn| {
            // Views that the set should have had by now, times 100, less those that it had.
            let due = |set: usize| (weights[set] * turn).cast_signed() - (used[set] * 100_usize).cast_signed();
            let set = (0..weights.len()).max_by_key(|set| (due(*set), usize::MAX - set)).unwrap_or_default();
            used[set] += 1;
            (set, used[set] - 1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use launchway_crds::pipeline::PageSetName::{self, New, Other, Popular};

    fn set(name: PageSetName, weight: i32, paths: &[&str]) -> PageSet {
        PageSet { name, weight, paths: paths.iter().map(|path| (*path).to_string()).collect() }
    }

    #[test]
    fn sets_come_by_weight_and_pages_in_turn() {
        let sets = [set(Popular, 70, &["/a", "/b"]), set(Other, 25, &["/c", "/d", "/e"]), set(New, 5, &["/f"])];
        let mix = Mix::new(&sets).unwrap();
        let mut counts = [0; 6];
        for view in 0..600 {
            counts[mix.page(view)] += 1;
        }
        assert_eq!(counts, [210, 210, 50, 50, 50, 30]);
        // Not one set after the other: any twenty views have their share of each.
        for from in 0..80 {
            let new = (from..from + 20).filter(|view| mix.page(*view) == 5).count();
            assert!((0..=2).contains(&new), "{new} in the views from {from}");
        }
    }

    #[test]
    fn every_division_of_a_hundred_is_exact() {
        for (a, b) in [(1, 1), (33, 33), (98, 1), (0, 50), (50, 50), (99, 0)] {
            let weights = [a, b, 100 - a - b];
            let order = spread(&weights);
            for (set, weight) in weights.iter().enumerate() {
                assert_eq!(order.iter().filter(|(found, _)| *found == set).count(), *weight, "{weights:?}");
            }
        }
    }

    #[test]
    fn a_wrong_mix_is_told() {
        for (sets, why) in [
            (vec![], "sum up to 0"),
            (vec![set(Popular, 99, &["/"])], "sum up to 99"),
            (vec![set(Popular, i32::MAX, &["/"]), set(Other, i32::MAX, &["/"])], "sum up to 4294967294"),
            (vec![set(Popular, 101, &["/"]), set(Other, -1, &["/"])], "Other has weight -1, below 0"),
            (vec![set(Popular, 50, &["/"]), set(Popular, 50, &["/"])], "Popular is there twice"),
            (vec![set(Popular, 100, &[])], "weight 100 and no paths"),
            (vec![set(Popular, 100, &["a.html"])], "does not begin with /"),
        ] {
            assert!(Mix::new(&sets).unwrap_err().contains(why), "{why}");
        }
        assert!(Mix::new(&[set(Popular, 100, &["/"]), set(New, 0, &[])]).is_ok());
    }
}
