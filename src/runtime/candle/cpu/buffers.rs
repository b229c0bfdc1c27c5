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
/// Greedy, in order of birth: the smallest free buffer that fits, else the largest one grown, else a new one.
/// A step's output never shares a buffer with its inputs.
pub fn assign(lives: &[Life]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&i| lives[i].from);
    let mut buffer_of = vec![0; lives.len()];
    let mut sizes: Vec<usize> = vec![];
    let mut busy_until: Vec<usize> = vec![];
    for i in order {
        let life = lives[i];
        let free = || (0..sizes.len()).filter(|&b| busy_until[b] < life.from);
        let fitting = free().filter(|&b| sizes[b] >= life.len).min_by_key(|&b| sizes[b]);
        let chosen = fitting.or_else(|| free().max_by_key(|&b| sizes[b]));
        let b = chosen.unwrap_or(sizes.len());
        if b == sizes.len() {
            sizes.push(life.len);
            busy_until.push(life.to);
        }
        sizes[b] = sizes[b].max(life.len);
        busy_until[b] = life.to;
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
