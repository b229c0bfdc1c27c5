//! Names that are each given once.

use std::collections::{HashMap, HashSet};

/// Names that are taken.
#[derive(Debug, Default)]
pub struct Names {
    taken: HashSet<String>,
    /// How often each name was asked for.
    asked: HashMap<String, usize>,
}

impl Names {
    /// `base`, or one derived from it that was not taken yet (`base.2`, `base.3`).
    pub fn unique(&mut self, base: &str) -> String {
        let count = self.asked.entry(base.to_owned()).or_default();
        loop {
            *count += 1;
            let name = if *count == 1 { base.to_owned() } else { format!("{base}.{count}") };
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_comes_twice() {
        let mut names = Names::default();
        let given = ["a", "a.2", "a", "b", "a", "a.2"].map(|base| names.unique(base));
        assert_eq!(given, ["a", "a.2", "a.3", "b", "a.4", "a.2.2"]);
    }
}
