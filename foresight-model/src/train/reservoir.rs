//! A bounded choice of all that came by, each as likely to be in it (Vitter 1985, algorithm R).

/// So many of what was added.
#[derive(Clone, Debug)]
pub struct Reservoir<T> {
    kept: Vec<T>,
    capacity: usize,
    seen: u64,
    rng: fastrand::Rng,
}

impl<T> Reservoir<T> {
    /// Of this size; the same seed makes the same choice.
    #[must_use]
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            kept: Vec::new(),
            capacity,
            seen: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Adds one.
    pub fn add(&mut self, item: T) {
        self.seen += 1;
        if self.kept.len() < self.capacity {
            self.kept.push(item);
            return;
        }
        let place = usize::try_from(self.rng.u64(..self.seen));
        if let Some(kept) = place.ok().and_then(|place| self.kept.get_mut(place)) {
            *kept = item;
        }
    }

    /// What is in it, in no order.
    #[must_use]
    pub fn kept(&self) -> &[T] {
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_and_late_are_as_likely_to_be_kept() {
        let mut reservoir = Reservoir::new(1000, 1);
        for number in 0..10_000_u32 {
            reservoir.add(number);
        }
        assert_eq!(reservoir.kept().len(), 1000);
        let early = reservoir.kept().iter().filter(|number| **number < 5000);
        assert!((400..600).contains(&early.count()));
        let mut none = Reservoir::new(0, 1);
        none.add(1);
        assert!(none.kept().is_empty());
    }
}
