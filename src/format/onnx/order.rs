//! The order of nodes: each after what it depends on, whatever order the file has.

use std::collections::HashMap;

use super::proto::Node;

/// Nodes in topological order (Kahn, 1962). `known` tells which values need no node.
///
/// An error names a value that nothing computes, or a node on a cycle.
pub fn topological(nodes: &[Node], known: impl Fn(&str) -> bool) -> Result<Vec<&Node>, String> {
    let mut producers = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if producers.insert(output.as_str(), i).is_some() {
                return Err(format!("the value {output:?} is defined twice"));
            }
        }
    }
    let mut missing = vec![0usize; nodes.len()];
    let mut users = vec![vec![]; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for input in node.input.iter().filter(|n| !n.is_empty() && !known(n)) {
            let &producer = producers
                .get(input.as_str())
                .ok_or_else(|| format!("node {:?} uses {input:?}, which nothing computes", node.name))?;
            missing[i] += 1;
            users[producer].push(i);
        }
    }
    // Smallest index first keeps a sorted file's own order.
    let mut ready: std::collections::BTreeSet<usize> =
        (0..nodes.len()).filter(|&i| missing[i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(i) = ready.pop_first() {
        order.push(&nodes[i]);
        for &user in &users[i] {
            missing[user] -= 1;
            if missing[user] == 0 {
                ready.insert(user);
            }
        }
    }
    match (0..nodes.len()).find(|&i| missing[i] > 0) {
        None => Ok(order),
        Some(i) => Err(format!("node {:?} depends on itself", nodes[i].name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, input: &str, output: &str) -> Node {
        Node {
            name: name.into(),
            input: vec![input.into()],
            output: vec![output.into()],
            ..Default::default()
        }
    }

    fn names(nodes: &[Node]) -> Result<Vec<String>, String> {
        Ok(topological(nodes, |n| n == "x")?.iter().map(|n| n.name.clone()).collect())
    }

    #[test]
    fn sorts_and_reports_what_cannot_be_sorted() {
        let unsorted = [node("second", "a", "b"), node("first", "x", "a")];
        assert_eq!(names(&unsorted).unwrap(), ["first", "second"]);
        let cycle = [node("n", "b", "a"), node("m", "a", "b")];
        assert!(names(&cycle).unwrap_err().contains("depends on itself"));
        assert!(names(&[node("n", "nowhere", "a")]).unwrap_err().contains("nothing computes"));
        assert!(names(&[node("n", "x", "a"), node("m", "x", "a")]).unwrap_err().contains("twice"));
    }
}
