//! Isolation of transactions: whether what they read and wrote can be explained by running them one
//! after the other.
//!
//! **What it models.** The dependency graph of Adya, Liskov and O'Neil ("Generalized isolation level
//! definitions", ICDE 2000). Vertices are transactions. For each object the versions are known, not
//! guessed from values as black-box checkers have to (Kingsbury and Alvaro, "Elle", VLDB 2020): an
//! access says which version it found. Edges: whoever wrote a version comes before whoever found it
//! (write-read; write-write if the finder overwrote it), and whoever found a version comes before
//! whoever overwrote it (read-write). The transactions are isolated (serializable) exactly if there
//! is no cycle.
//!
//! An access that writes also finds the version before it: operations of entities are functions of the
//! state. So two accesses that overwrite one version (a state that forked) are a cycle by themselves.
//!
//! **Cost.** Linear in the number of accesses, as long as versions have few finders. Vertices without a
//! predecessor are taken away until none is left (Kahn 1962); what stays holds a cycle, of which a
//! short one is told.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

/// How many vertices a short cycle is looked for from.
const SOURCES_MAX: usize = 64;

/// A version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(u32);

/// Which of the three dependencies an edge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependency {
    /// The first wrote what the second found, and did not change.
    WriteRead,
    /// The first wrote what the second overwrote.
    WriteWrite,
    /// The first found what the second overwrote.
    ReadWrite,
}

/// A dependency of one transaction on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The transaction that comes first.
    pub from: u32,
    /// The one that comes after it.
    pub to: u32,
    /// Why.
    pub dependency: Dependency,
    /// The access of the first, by its number.
    pub first: u32,
    /// The access of the second.
    pub second: u32,
}

#[derive(Default)]
struct VersionNode {
    /// The transaction and access that wrote it; none of an initial version.
    writer: Option<(u32, u32)>,
    /// Who found it, last access of each run of accesses.
    finders: Vec<(u32, u32)>,
    /// Who overwrote it.
    overwriters: Vec<(u32, u32)>,
}

/// What transactions did to the versions of objects.
#[derive(Default)]
pub struct Dependencies {
    versions: Vec<VersionNode>,
    edges: Vec<Edge>,
    accesses: u32,
    transactions: u32,
}

impl Dependencies {
    /// A version that nobody wrote: the first of an object.
    pub fn initial(&mut self) -> Version {
        self.version(None)
    }

    fn version(&mut self, writer: Option<(u32, u32)>) -> Version {
        let number = u32::try_from(self.versions.len()).expect("fewer than 2^32 versions");
        self.versions.push(VersionNode { writer, ..VersionNode::default() });
        Version(number)
    }

    /// How many accesses there were; the next one has this number.
    pub fn accesses(&self) -> u32 {
        self.accesses
    }

    /// A transaction finds a version, and writes the next one if it `writes`; the version after it.
    pub fn access(&mut self, found: Version, transaction: u32, writes: bool) -> Version {
        let access = self.accesses;
        self.accesses += 1;
        self.transactions = self.transactions.max(transaction + 1);
        let here = (transaction, access);
        let index = found.0 as usize;
        if let Some(writer) = self.versions[index].writer {
            let dependency = if writes { Dependency::WriteWrite } else { Dependency::WriteRead };
            self.edge(writer, here, dependency);
        }
        for at in 0..self.versions[index].overwriters.len() {
            // Whoever finds what it has overwritten itself is a cycle alone.
            let (overwriter, by) = self.versions[index].overwriters[at];
            self.edges.push(Edge {
                from: transaction,
                to: overwriter,
                dependency: Dependency::ReadWrite,
                first: access,
                second: by,
            });
        }
        if writes {
            for at in 0..self.versions[index].finders.len() {
                let finder = self.versions[index].finders[at];
                self.edge(finder, here, Dependency::ReadWrite);
            }
        }
        let node = &mut self.versions[index];
        match node.finders.last_mut().filter(|(last, _)| *last == transaction) {
            Some(last) => *last = here,
            None => node.finders.push(here),
        }
        if !writes {
            return found;
        }
        node.overwriters.push(here);
        self.version(Some(here))
    }

    fn edge(&mut self, first: (u32, u32), second: (u32, u32), dependency: Dependency) {
        let ((from, first), (to, second)) = (first, second);
        if from != to {
            self.edges.push(Edge { from, to, dependency, first, second });
        }
    }

    /// A short cycle, if there is one: each edge leads to the transaction at which the next begins, and
    /// the last to the first.
    pub fn cycle(&self) -> Option<Vec<Edge>> {
        let count = self.transactions as usize;
        let (starts, outgoing) = self.adjacency(count);
        let out = |vertex: usize| &outgoing[starts[vertex] as usize..starts[vertex + 1] as usize];
        let mut incoming = vec![0u32; count];
        self.edges.iter().for_each(|edge| incoming[edge.to as usize] += 1);
        let mut free: Vec<usize> = (0..count).filter(|vertex| incoming[*vertex] == 0).collect();
        let mut left = count;
        while let Some(vertex) = free.pop() {
            left -= 1;
            for edge in out(vertex) {
                let to = self.edges[*edge as usize].to as usize;
                incoming[to] -= 1;
                if incoming[to] == 0 {
                    free.push(to);
                }
            }
        }
        if left == 0 {
            return None;
        }
        let stuck = (0..count).filter(|vertex| incoming[*vertex] > 0).take(SOURCES_MAX);
        let cycles = stuck.filter_map(|source| {
            // Only edges among what is stuck can be part of a cycle.
            let mut by: Vec<Option<u32>> = vec![None; count];
            let mut queue = VecDeque::from([source]);
            while let Some(vertex) = queue.pop_front() {
                for edge in out(vertex) {
                    let to = self.edges[*edge as usize].to as usize;
                    if incoming[to] == 0 || by[to].is_some() {
                        continue;
                    }
                    by[to] = Some(*edge);
                    if to == source {
                        return Some(self.walk_back(&by, source));
                    }
                    queue.push_back(to);
                }
            }
            None
        });
        cycles.min_by_key(Vec::len).or_else(|| self.any_cycle(&incoming, &starts, &outgoing))
    }

    /// A cycle by following predecessors: everything that is stuck has one that is stuck.
    fn any_cycle(&self, incoming: &[u32], starts: &[u32], outgoing: &[u32]) -> Option<Vec<Edge>> {
        let mut predecessor: Vec<Option<u32>> = vec![None; incoming.len()];
        for vertex in (0..incoming.len()).filter(|vertex| incoming[*vertex] > 0) {
            for edge in &outgoing[starts[vertex] as usize..starts[vertex + 1] as usize] {
                predecessor[self.edges[*edge as usize].to as usize] = Some(*edge);
            }
        }
        let mut vertex = incoming.iter().position(|left| *left > 0)?;
        for _ in 0..incoming.len() {
            vertex = self.edges[predecessor[vertex]? as usize].from as usize;
        }
        Some(self.walk_back(&predecessor, vertex))
    }

    fn walk_back(&self, by: &[Option<u32>], source: usize) -> Vec<Edge> {
        let mut cycle = Vec::new();
        let mut vertex = source;
        while let Some(edge) = by[vertex] {
            let edge = self.edges[edge as usize];
            cycle.push(edge);
            vertex = edge.from as usize;
            if vertex == source {
                break;
            }
        }
        cycle.reverse();
        cycle
    }

    /// The edges by the vertex from which they lead: where each vertex's begin, and their indices.
    fn adjacency(&self, count: usize) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; count + 1];
        self.edges.iter().for_each(|edge| starts[edge.from as usize + 1] += 1);
        for vertex in 0..count {
            starts[vertex + 1] += starts[vertex];
        }
        let mut fill = starts.clone();
        let mut outgoing = vec![0u32; self.edges.len()];
        for (index, edge) in self.edges.iter().enumerate() {
            let place = &mut fill[edge.from as usize];
            outgoing[*place as usize] = index as u32;
            *place += 1;
        }
        (starts, outgoing)
    }
}
