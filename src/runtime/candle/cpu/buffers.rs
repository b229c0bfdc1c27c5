//! Which buffer holds which value: those that are never alive together share one.

/// When a value is alive, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Number of values.
    pub len: usize,
    /// The first step that writes it.
    pub from: usize,
    /// The last step that reads it.
    pub to: usize,
}

/// Buffers for values: per value its buffer, and each buffer's length.
///
/// Greedy, largest first: the smallest buffer whose values are never alive together with this one, else a new one.
/// A step's output never shares a buffer with its inputs.
pub fn assign(lives: &[Life]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(lives[i].len), lives[i].from));
    let mut buffer_of = vec![0; lives.len()];
    // Lengths of the buffers, each with the values that it holds in turn.
    let mut sizes: Vec<usize> = vec![];
    let mut held: Vec<Vec<Life>> = vec![];
    for i in order {
        let life = lives[i];
        let together = |other: &Life| life.from <= other.to && other.from <= life.to;
        // Buffers were made by falling length: the last that is free is the smallest.
        let b = (0..sizes.len()).rev().find(|&b| !held[b].iter().any(together)).unwrap_or(sizes.len());
        if b == sizes.len() {
            sizes.push(life.len);
            held.push(vec![]);
        }
        held[b].push(life);
        buffer_of[i] = b;
    }
    (buffer_of, sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_live_together_never_share() {
        // A chain with a long residual: 0 → 1 → 2 → 3, and 0 again at step 3.
        let lives = [
            Life { len: 10, from: 0, to: 3 },
            Life { len: 20, from: 1, to: 2 },
            Life { len: 5, from: 2, to: 3 },
            Life { len: 10, from: 3, to: 4 },
        ];
        let (buffer, sizes) = assign(&lives);
        for (i, a) in lives.iter().enumerate() {
            assert!(sizes[buffer[i]] >= a.len);
            for (j, b) in lives.iter().enumerate().skip(i + 1) {
                let together = a.from <= b.to && b.from <= a.to;
                assert!(!together || buffer[i] != buffer[j], "{i} and {j}");
            }
        }
        assert_eq!(sizes.len(), 3, "the last value takes the second one's buffer");
    }
}
