//! Who waits for whom, over all shards: deadlocks of which each server sees only a part.
//!
//! A server names a transaction that is open on it by its *virtual transaction id*, which it gives to no
//! other before it is started anew. So a transaction over several shards is a list of such names, its
//! branches; its own weir knows them, and publishes them while one of them waits for a lock. Everything
//! else the servers say: which branch waits, since when, and for whom. Two looks, one after the other, that
//! find the same wait have found it at every moment in between: waits that are in both were there at the
//! same time, on whatever shards they are.
//!
//! A transaction goes on only when all its branches do. So those on a circle of waits never go on, unless
//! one of them gives up. It is the youngest: the oldest is never chosen and gets through some time.
use crate::backend::lock_waits::{Branch, Name, Pid, Seen, Spread, Wait};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A circle of waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deadlock {
    /// The youngest of its transactions over several shards.
    pub victim: Name,
    /// In words, a line for each wait; the victim's comes first.
    pub story: String,
}

/// Those that both looks have found, of all shards each; the second was later than all of the first.
pub fn deadlocks(transactions: &[Spread], first: &[Seen], second: &[Seen]) -> Vec<Deadlock> {
    let mut graph = Graph::of(transactions, first, second);
    let mut youngest: Vec<&Spread> = transactions.iter().collect();
    youngest.sort_by_key(|one| std::cmp::Reverse((one.began, &one.name)));
    let mut found = Vec::new();
    for transaction in youngest {
        let Some(node) = graph.node_of(transaction) else { continue };
        if let Some(circle) = graph.circle_through(node) {
            found.push(Deadlock { victim: transaction.name.clone(), story: story(&circle) });
            // It is about to end, and with it all circles that it is on.
            graph.edges.remove(&node);
        }
    }
    found
}

/// A transaction: one of those over several shards, or a branch that is one of its own.
type Node = usize;

struct Graph<'w> {
    nodes: HashMap<&'w Branch, Node>,
    edges: BTreeMap<Node, Vec<Edge<'w>>>,
}

#[derive(Clone, Copy)]
struct Edge<'w> {
    waiter: &'w Seen,
    wait: &'w Wait,
    blocker: &'w (Branch, Pid),
    to: Node,
}

impl<'w> Graph<'w> {
    fn of(transactions: &'w [Spread], first: &'w [Seen], second: &'w [Seen]) -> Self {
        let mut nodes = HashMap::new();
        for (node, transaction) in transactions.iter().enumerate() {
            for (branch, _) in &transaction.branches {
                nodes.entry(branch).or_insert(node);
            }
        }
        let mut next = transactions.len();
        let mut node_of = |branch: &'w Branch| {
            *nodes.entry(branch).or_insert_with(|| {
                next += 1;
                next - 1
            })
        };
        let waits = first.iter().filter_map(|seen| Some((&seen.branch, seen.wait.as_ref()?)));
        let before: HashMap<&Branch, &Wait> = waits.collect();
        let mut edges: BTreeMap<Node, Vec<Edge<'w>>> = BTreeMap::new();
        for waiter in second {
            let Some(wait) = &waiter.wait else { continue };
            let before = before.get(&waiter.branch).filter(|before| before.since == wait.since);
            let Some(before) = before else { continue };
            let from = node_of(&waiter.branch);
            for blocker in wait.blockers.iter().filter(|one| before.blockers.contains(one)) {
                let to = node_of(&blocker.0);
                edges.entry(from).or_default().push(Edge { waiter, wait, blocker, to });
            }
        }
        Self { nodes, edges }
    }

    fn node_of(&self, transaction: &Spread) -> Option<Node> {
        transaction.branches.iter().find_map(|(branch, _)| self.nodes.get(branch)).copied()
    }

    /// The shortest way back to it.
    fn circle_through(&self, start: Node) -> Option<Vec<Edge<'w>>> {
        let mut seen = BTreeSet::new();
        let mut ways: VecDeque<(Node, Vec<Edge<'w>>)> = VecDeque::from([(start, Vec::new())]);
        while let Some((node, way)) = ways.pop_front() {
            for edge in self.edges.get(&node).into_iter().flatten() {
                let mut way = way.clone();
                way.push(*edge);
                if edge.to == start {
                    return Some(way);
                }
                if seen.insert(edge.to) {
                    ways.push_back((edge.to, way));
                }
            }
        }
        None
    }
}

/// As PostgreSQL tells a deadlock.
fn story(circle: &[Edge<'_>]) -> String {
    let mut story = String::new();
    let mut before = circle.last();
    for (position, edge) in circle.iter().enumerate() {
        let Edge { waiter: Seen { branch, pid, .. }, wait, blocker, .. } = *edge;
        let same = before.is_some_and(|before| before.blocker.0 == *branch);
        let of = if same || position == 0 { "" } else { ", of the same transaction," };
        let blocked = match blocker.1 {
            0 => "a prepared transaction".to_owned(),
            pid => format!("process {pid}"),
        };
        let end = if position + 1 == circle.len() { "" } else { "\n" };
        let (shard, lock) = (&branch.shard, &wait.lock);
        let line = format!(
            "Process {pid} on shard {shard}{of} waits for {lock}; blocked by {blocked}.{end}"
        );
        story.push_str(&line);
        before = Some(edge);
    }
    story
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn branch(text: &str) -> Branch {
        let (shard, id) = text.split_once(':').unwrap();
        Branch { shard: shard.to_owned(), id: id.to_owned() }
    }

    fn name(client: u32) -> Name {
        Name { weir: "w".to_owned(), client }
    }

    /// The number says also when it began.
    fn spread(number: u32, branches: &[&str]) -> Spread {
        let branches = branches.iter().map(|text| (branch(text), pid(text))).collect();
        Spread { name: name(number), began: number.into(), branches }
    }

    fn pid(text: &str) -> Pid {
        text.bytes().map(i32::from).sum()
    }

    fn wait(waiter: &str, blockers: &[&str]) -> Seen {
        let wait = Wait {
            since: 5,
            age: Duration::from_secs(1),
            lock: "ShareLock on transaction 9".to_owned(),
            blockers: blockers.iter().map(|text| (branch(text), pid(text))).collect(),
        };
        Seen { branch: branch(waiter), pid: pid(waiter), began: None, wait: Some(wait) }
    }

    fn victims(transactions: &[Spread], first: &[Seen], second: &[Seen]) -> Vec<u32> {
        deadlocks(transactions, first, second).iter().map(|found| found.victim.client).collect()
    }

    /// Two transactions that have locked what the other wants, each on another shard.
    fn crossed() -> (Vec<Spread>, Vec<Seen>) {
        let transactions = vec![spread(1, &["a:1", "b:1"]), spread(2, &["a:2", "b:2"])];
        (transactions, vec![wait("a:1", &["a:2"]), wait("b:2", &["b:1"])])
    }

    #[test]
    fn a_circle_over_two_shards_ends_its_youngest_transaction() {
        let (transactions, waits) = crossed();
        let found = deadlocks(&transactions, &waits, &waits);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].victim, name(2));
        let lines: Vec<&str> = found[0].story.lines().collect();
        assert!(lines[0].starts_with("Process 206 on shard b waits for ShareLock"), "{lines:?}");
        assert!(lines[1].starts_with("Process 204 on shard a, of the same transaction, waits"));
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_wait_that_ended_between_the_looks_is_no_part_of_a_circle() {
        let (transactions, waits) = crossed();
        let mut later = waits.clone();
        later[0].wait.as_mut().unwrap().since += 1;
        assert!(victims(&transactions, &waits, &later).is_empty(), "it waits anew");
        let mut other = waits.clone();
        other[1] = wait("b:2", &["b:9"]);
        assert!(victims(&transactions, &waits, &other).is_empty(), "for somebody else");
        assert!(victims(&transactions, &[], &waits).is_empty());
    }

    #[test]
    fn transactions_of_one_shard_are_part_of_the_way() {
        let transactions = vec![spread(1, &["a:1", "b:1"]), spread(2, &["a:2", "b:2"])];
        let waits = [wait("a:1", &["a:7"]), wait("a:7", &["a:2"]), wait("b:2", &["b:1"])];
        assert_eq!(victims(&transactions, &waits, &waits), [2]);
    }

    #[test]
    fn circles_apart_have_a_victim_each_and_circles_together_one() {
        let mut transactions = vec![spread(1, &["a:1", "b:1"]), spread(2, &["a:2", "b:2"])];
        transactions.extend([spread(3, &["a:3", "b:3"]), spread(4, &["a:4", "b:4"])]);
        let mut waits = crossed().1;
        waits.extend([wait("a:3", &["a:4"]), wait("b:4", &["b:3"])]);
        assert_eq!(victims(&transactions, &waits, &waits), [4, 2]);
        // 4 blocks both 1 and 2, and waits for both.
        let waits = [wait("a:1", &["a:4"]), wait("b:2", &["b:4"]), wait("c:4", &["c:1", "c:2"])];
        let transactions = [
            spread(1, &["a:1", "c:1"]),
            spread(2, &["b:2", "c:2"]),
            spread(4, &["a:4", "b:4", "c:4"]),
        ];
        assert_eq!(victims(&transactions, &waits, &waits), [4]);
    }

    #[test]
    fn a_line_of_waits_is_no_circle() {
        let transactions = [spread(1, &["a:1", "b:1"]), spread(2, &["a:2", "b:2"])];
        let waits = [wait("a:1", &["a:2"]), wait("b:1", &["b:2", "b:3"])];
        assert!(victims(&transactions, &waits, &waits).is_empty());
    }

    proptest! {
        /// Without the victims' waits nobody waits in a circle any more, and every victim did.
        #[test]
        fn victims_are_on_circles_and_leave_none(
            edges in proptest::collection::vec((0u32..6, 0u32..6, 0usize..3), 0..14),
        ) {
            let shards = ["a", "b", "c"];
            let transactions: Vec<Spread> = (0..6)
                .map(|n| {
                    let branches: Vec<String> = shards.iter().map(|s| format!("{s}:{n}")).collect();
                    spread(n, &branches.iter().map(String::as_str).collect::<Vec<_>>())
                })
                .collect();
            let waits: Vec<Seen> = edges
                .iter()
                .map(|(from, to, shard)| {
                    let (from, to) = (format!("{}:{from}", shards[*shard]), format!("{}:{to}", shards[*shard]));
                    wait(&from, &[&to])
                })
                .collect();
            // One wait of a branch at a time.
            let mut seen = BTreeSet::new();
            let waits: Vec<Seen> = waits.into_iter().filter(|w| seen.insert(w.branch.clone())).collect();
            let reach = |without: &[u32], start: u32| {
                let mut todo = vec![start];
                let mut reached = BTreeSet::new();
                while let Some(at) = todo.pop() {
                    for wait in waits.iter().filter(|w: &&Seen| w.branch.id == at.to_string()) {
                        let to: u32 = wait.wait.as_ref().unwrap().blockers[0].0.id.parse().unwrap();
                        if !without.contains(&at) && reached.insert(to) {
                            todo.push(to);
                        }
                    }
                }
                reached.contains(&start)
            };
            let victims = victims(&transactions, &waits, &waits);
            for victim in &victims {
                prop_assert!(reach(&[], *victim));
            }
            for n in 0..6 {
                prop_assert!(!reach(&victims, n), "{n} still waits for itself: {victims:?}");
            }
        }
    }
}
