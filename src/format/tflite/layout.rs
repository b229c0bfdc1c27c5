//! Channels last: how a graph's values, which are channels first, lie in a TFLite file.
//!
//! Four axes are taken for batch, channel, row, column and stored as batch, row, column, channel; any other
//! number of axes is stored as it is.

/// Which of the graph's axes each stored axis holds, for four axes.
const STORED: [usize; 4] = [0, 2, 3, 1];
/// Where each of the graph's axes is stored, for four axes.
const POSITION: [usize; 4] = [0, 3, 1, 2];

/// Extents as stored.
pub fn shape(graph: &[usize]) -> Vec<usize> {
    each(graph)
}

/// One entry per axis, in the stored order.
pub fn each<T: Clone>(graph: &[T]) -> Vec<T> {
    match graph {
        [..] if graph.len() == 4 => STORED.iter().map(|&a| graph[a].clone()).collect(),
        _ => graph.to_vec(),
    }
}

/// Where an axis of a value of `rank` axes is stored.
pub fn axis(graph: usize, rank: usize) -> usize {
    if rank == 4 { POSITION[graph] } else { graph }
}

/// The permutation from one stored order to another that permutes the graph's axes by `perm`.
pub fn permutation(perm: &[usize]) -> Vec<usize> {
    let rank = perm.len();
    (0..rank)
        .map(|stored| {
            let output = if rank == 4 { STORED[stored] } else { stored };
            axis(perm[output], rank)
        })
        .collect()
}

/// Whether a permutation of a tensor of `shape` leaves its values in the same order.
pub fn keeps_order(shape: &[usize], perm: &[usize]) -> bool {
    let mut moved = perm.iter().filter(|&&a| shape[a] > 1);
    let mut last = None;
    moved.all(|&a| last.replace(a).is_none_or(|l| l < a))
}

/// From the stored order to the graph's, or back.
pub fn to_graph() -> Vec<usize> {
    POSITION.to_vec()
}

/// From the graph's order to the stored one.
pub fn from_graph() -> Vec<usize> {
    STORED.to_vec()
}

/// Values of `shape`, their axes permuted.
pub fn transpose<T: Copy>(values: &[T], shape: &[usize], perm: &[usize]) -> Vec<T> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    let out: Vec<usize> = perm.iter().map(|&a| shape[a]).collect();
    let mut at = vec![0; out.len()];
    let mut result = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        result.push(values[at.iter().zip(perm).map(|(i, &a)| i * strides[a]).sum::<usize>()]);
        for axis in (0..at.len()).rev() {
            at[axis] += 1;
            if at[axis] < out[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_go_where_their_extents_go() {
        let graph = [1, 3, 288, 352];
        assert_eq!(shape(&graph), [1, 288, 352, 3]);
        for (i, n) in graph.into_iter().enumerate() {
            assert_eq!(shape(&graph)[axis(i, 4)], n);
        }
        assert_eq!(shape(&[5, 6]), [5, 6]);
    }

    #[test]
    fn a_permutation_of_the_graph_is_one_of_what_is_stored() {
        // Channels-first to channels-last in the graph.
        let perm = [0, 2, 3, 1];
        let graph = [1, 2, 3, 4];
        let values: Vec<u8> = (0..24).collect();
        let stored = transpose(&values, &graph, &from_graph());
        let moved = transpose(&values, &graph, &perm);
        let moved_stored = transpose(&moved, &[1, 3, 4, 2], &from_graph());
        assert_eq!(transpose(&stored, &shape(&graph), &permutation(&perm)), moved_stored);
        assert_eq!(transpose(&stored, &shape(&graph), &to_graph()), values);
    }

    #[test]
    fn axes_of_one_do_not_matter() {
        assert!(keeps_order(&[1, 1, 1, 8], &[0, 3, 1, 2]));
        assert!(keeps_order(&[1, 8, 8, 1], &[0, 3, 1, 2]));
        assert!(!keeps_order(&[1, 8, 1, 2], &[0, 3, 1, 2]));
    }
}
