//! Which neighbours import which, and the rings among them.

use crate::modules::Source;
use std::collections::{BTreeMap, BTreeSet};

/// The imports between what stands directly in one folder.
pub struct Imports {
    /// From, to, and the file that imports.
    edges: BTreeMap<(String, String), String>,
}

impl Imports {
    /// The imports between what stands directly in `folder` of the crate; the empty path is `src` itself.
    pub fn between(source: &Source, folder: &[&str]) -> Self {
        let within = |path: &[String]| path.len() > folder.len() && path.iter().zip(folder).all(|(a, b)| a == b);
        let mut edges = BTreeMap::new();
        for module in source.modules.iter().filter(|module| within(&module.path)) {
            let from = &module.path[folder.len()];
            for path in module.paths.iter().filter(|path| path[0] == "crate" && within(&path[1..])) {
                let to = &path[1 + folder.len()];
                if to != from && source.stands(folder, to) {
                    edges.entry((from.clone(), to.clone())).or_insert_with(|| module.file.clone());
                }
            }
        }
        Self { edges }
    }

    pub fn count(&self) -> usize {
        self.edges.len()
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, &String, &String)> {
        self.edges.iter().map(|((from, to), file)| (from, to, file))
    }

    /// Each pair that imports each other, directly or by way of others, with a file that does.
    pub fn rings(&self) -> Vec<String> {
        self.edges
            .iter()
            .filter(|((from, to), _)| self.reaches(to, from))
            .map(|((from, to), file)| format!("{from} imports {to} ({file}), which imports {from} in turn"))
            .collect()
    }

    fn reaches(&self, from: &str, to: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                open.extend(self.edges.keys().filter(|(a, _)| a == at).map(|(_, b)| b.as_str()));
            }
        }
        false
    }
}

#[test]
fn a_ring_by_way_of_a_third_is_found() {
    let edge = |from: &str, to: &str| ((from.to_owned(), to.to_owned()), format!("{from}.rs"));
    let straight = Imports { edges: BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("a", "c")]) };
    assert!(straight.rings().is_empty());
    let ring = Imports { edges: BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a")]) };
    assert_eq!(ring.rings().len(), 3);
}
