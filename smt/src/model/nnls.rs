//! Least squares with coefficients that are not negative, by Lawson's and Hanson's active sets (Solving Least Squares
//! Problems, 1974, chapter 23), and columns that depend on others.

/// How many times as many rounds as there are columns are made. Each makes the fit better, so that it ends by itself; this
/// is for rounding errors alone.
const ROUNDS: usize = 10;
/// A column of which others leave less than this is one that depends on them.
const DEPENDENT: f64 = 1e-10;

/// An orthogonal basis of some columns, made one after the other (modified Gram-Schmidt, each column twice).
#[derive(Default)]
struct Basis {
    directions: Vec<Vec<f64>>,
    /// Of each column the parts in all directions up to its own.
    parts: Vec<Vec<f64>>,
}

impl Basis {
    /// Adds a column; `false` if it depends on those that were added.
    fn add(&mut self, column: &[f64]) -> bool {
        let whole = norm(column);
        let mut rest = column.to_vec();
        let mut parts = vec![0.0; self.directions.len()];
        for _ in 0..2 {
            for (direction, part) in self.directions.iter().zip(&mut parts) {
                let along = dot(direction, &rest);
                *part += along;
                subtract(&mut rest, along, direction);
            }
        }
        let left = norm(&rest);
        if left <= DEPENDENT * whole {
            return false;
        }
        rest.iter_mut().for_each(|number| *number /= left);
        self.directions.push(rest);
        parts.push(left);
        self.parts.push(parts);
        true
    }

    /// The coefficients with which the columns come nearest to `target`.
    fn solve(&self, target: &[f64]) -> Vec<f64> {
        let mut rest = target.to_vec();
        let mut solution = Vec::with_capacity(self.directions.len());
        for direction in &self.directions {
            let along = dot(direction, &rest);
            subtract(&mut rest, along, direction);
            solution.push(along);
        }
        for at in (0..solution.len()).rev() {
            let coefficient = solution[at] / self.parts[at][at];
            solution[at] = coefficient;
            for (before, part) in self.parts[at][..at].iter().enumerate() {
                solution[before] -= coefficient * part;
            }
        }
        solution
    }
}

/// Which columns are 0 or depend on those before them.
pub(super) fn dependent(columns: &[Vec<f64>]) -> Vec<usize> {
    let mut basis = Basis::default();
    let depends = |at: &usize| !basis.add(&columns[*at]);
    (0..columns.len()).filter(depends).collect()
}

/// The coefficients, none below 0, with which `columns` come nearest to `target`. `None` if rounding errors keep it from an
/// end.
pub(super) fn nnls(columns: &[Vec<f64>], target: &[f64]) -> Option<Vec<f64>> {
    let count = columns.len();
    let longest = columns
        .iter()
        .map(|column| norm(column))
        .fold(0.0, f64::max);
    let tolerance = 10.0 * f64::EPSILON * longest * norm(target);
    let mut solution = vec![0.0; count];
    let mut chosen: Vec<usize> = Vec::new();
    // Those by which the fit would only seem to get better.
    let mut useless = vec![false; count];
    for _ in 0..=ROUNDS * count {
        let rest = residual(columns, target, &solution);
        let gain = |at: &usize| dot(&columns[*at], &rest);
        let next = (0..count)
            .filter(|at| !chosen.contains(at) && !useless[*at] && gain(at) > tolerance)
            .max_by(|one, other| gain(one).total_cmp(&gain(other)));
        let Some(next) = next else {
            return Some(solution);
        };
        chosen.push(next);
        match fit(columns, target, &chosen) {
            Some(fitted) if fitted.last().is_some_and(|new| *new > 0.0) => {
                useless.fill(false);
                move_to(columns, target, &mut chosen, &mut solution, fitted);
            }
            _ => {
                chosen.pop();
                useless[next] = true;
            }
        }
    }
    None
}

/// Goes from `solution` towards `fitted`, which has one number for each of the chosen, as far as nothing gets negative; what
/// is 0 there is chosen no more, and the rest is fitted anew.
fn move_to(
    columns: &[Vec<f64>],
    target: &[f64],
    chosen: &mut Vec<usize>,
    solution: &mut [f64],
    mut fitted: Vec<f64>,
) {
    while fitted.iter().any(|number| *number <= 0.0) {
        let blocked = chosen.iter().zip(&fitted).filter(|(_, new)| **new <= 0.0);
        let step = blocked
            .map(|(at, new)| solution[*at] / (solution[*at] - new))
            .fold(1.0, f64::min);
        let mut kept = Vec::new();
        for (at, new) in chosen.iter().zip(&fitted) {
            solution[*at] += step * (new - solution[*at]);
            if solution[*at] > f64::EPSILON {
                kept.push(*at);
            } else {
                solution[*at] = 0.0;
            }
        }
        // One at least reached 0, but for rounding.
        if kept.len() == chosen.len() {
            let least = (0..kept.len()).min_by(|a, b| fitted[*a].total_cmp(&fitted[*b]));
            let dropped = kept.remove(least.unwrap_or(0));
            solution[dropped] = 0.0;
        }
        *chosen = kept;
        let Some(next) = fit(columns, target, chosen) else {
            return;
        };
        fitted = next;
    }
    for (at, new) in chosen.iter().zip(fitted) {
        solution[*at] = new;
    }
}

/// The coefficients of the chosen alone; `None` if they depend on each other.
fn fit(columns: &[Vec<f64>], target: &[f64], chosen: &[usize]) -> Option<Vec<f64>> {
    let mut basis = Basis::default();
    let independent = chosen.iter().all(|at| basis.add(&columns[*at]));
    independent.then(|| basis.solve(target))
}

fn residual(columns: &[Vec<f64>], target: &[f64], solution: &[f64]) -> Vec<f64> {
    let mut rest = target.to_vec();
    for (column, coefficient) in columns.iter().zip(solution) {
        subtract(&mut rest, *coefficient, column);
    }
    rest
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn norm(column: &[f64]) -> f64 {
    dot(column, column).sqrt()
}

fn subtract(from: &mut [f64], times: f64, column: &[f64]) {
    for (number, of) in from.iter_mut().zip(column) {
        *number -= times * of;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Karush's, Kuhn's and Tucker's conditions, which hold at the optimum alone.
        #[test]
        fn every_solution_is_the_optimum(
            columns in prop::collection::vec(prop::collection::vec(-10i8..10, 7), 1..6),
            target in prop::collection::vec(-10i8..10, 7)
        ) {
            let columns: Vec<Vec<f64>> =
                columns.iter().map(|column| column.iter().map(|n| f64::from(*n)).collect()).collect();
            let target: Vec<f64> = target.iter().map(|number| f64::from(*number)).collect();
            let solution = nnls(&columns, &target).unwrap();
            let rest = residual(&columns, &target, &solution);
            for (column, coefficient) in columns.iter().zip(&solution) {
                let gain = dot(column, &rest);
                prop_assert!(*coefficient >= 0.0);
                prop_assert!(gain <= 1e-8, "{gain}");
                prop_assert!(*coefficient == 0.0 || gain.abs() <= 1e-8, "{coefficient} {gain}");
            }
        }
    }
}
