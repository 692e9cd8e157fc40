//! Whose turn it is: key after key, and of each key receiver after receiver, round and round.
//!
//! Who wants a turn for as long as it takes has one after each of the other keys had at most one for each of its own
//! other receivers: nobody can be passed over twice by the same line, and so none can be starved.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::ops::Bound::{Excluded, Included, Unbounded};

use domain::{KeyId, Receiver};

/// Lines, each of one key at one receiver.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    keys: BTreeMap<KeyId, Round>,
    /// The key that had the last turn.
    last: Option<KeyId>,
}

#[derive(Debug, Default)]
struct Round {
    receivers: BTreeSet<Receiver>,
    /// The receiver that had the key's last turn.
    last: Option<Receiver>,
}

impl Rounds {
    /// A line joins, unless it is in already.
    pub(super) fn join(&mut self, key: &KeyId, receiver: &Receiver) {
        if let Some(round) = self.keys.get_mut(key) {
            if !round.receivers.contains(receiver) {
                round.receivers.insert(receiver.clone());
            }
            return;
        }
        let receivers = BTreeSet::from([receiver.clone()]);
        self.keys.insert(key.clone(), Round { receivers, last: None });
    }

    /// A line has nothing more to want.
    pub(super) fn leave(&mut self, key: &KeyId, receiver: &Receiver) {
        if let Some(round) = self.keys.get_mut(key) {
            round.receivers.remove(receiver);
            if round.receivers.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// Gives the turn to the first line after the last one's that wants it.
    pub(super) fn next(&mut self, wants: impl Fn(&KeyId, &Receiver) -> bool) -> Option<(KeyId, Receiver)> {
        let (key, receiver) = self.find(wants)?;
        if let Some(round) = self.keys.get_mut(&key) {
            round.last = Some(receiver.clone());
        }
        self.last = Some(key.clone());
        Some((key, receiver))
    }

    /// Whose turn it would be.
    pub(super) fn find(&self, wants: impl Fn(&KeyId, &Receiver) -> bool) -> Option<(KeyId, Receiver)> {
        let find = |(key, round): (&KeyId, &Round)| {
            let receiver = after(&round.last, |range| round.receivers.range::<Receiver, _>(range))
                .find(|receiver| wants(key, receiver))?;
            Some((key.clone(), receiver.clone()))
        };
        after(&self.last, |range| self.keys.range::<KeyId, _>(range)).find_map(find)
    }
}

/// All of what there is once, from the one after `last`.
fn after<'a, T, I: Iterator>(
    last: &'a Option<T>,
    range: impl Fn((Bound<&'a T>, Bound<&'a T>)) -> I,
) -> impl Iterator<Item = I::Item> {
    let (after, before) = match last {
        Some(last) => (range((Excluded(last), Unbounded)), Some(range((Unbounded, Included(last))))),
        None => (range((Unbounded, Unbounded)), None),
    };
    after.chain(before.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use url::Url;

    use super::*;

    fn line(key: u8, receiver: u8) -> (KeyId, Receiver) {
        let url = Url::parse(&format!("https://h{receiver:03}.example/")).expect("a URL");
        (KeyId::from_random([key; 8]), Receiver::of(&url))
    }

    fn rounds(lines: &[(u8, u8)]) -> Rounds {
        let mut rounds = Rounds::default();
        for (key, receiver) in lines.iter().map(|(key, receiver)| line(*key, *receiver)) {
            rounds.join(&key, &receiver);
        }
        rounds
    }

    #[test]
    fn keys_have_as_many_turns_whatever_they_have_and_so_have_the_receivers_of_a_key() {
        let mut rounds = rounds(&[(1, 1), (2, 1), (2, 2), (2, 3), (3, 3), (3, 4)]);
        let turns: Vec<_> = (0..18).map(|_| rounds.next(|_, _| true).expect("a turn")).collect();
        let count = |of: &dyn Fn(&(KeyId, Receiver)) -> bool| turns.iter().filter(|turn| of(turn)).count();
        for key in [1, 2, 3] {
            assert_eq!(count(&|(of, _)| *of == line(key, 0).0), 6, "key {key}");
        }
        for receiver in [1, 2, 3] {
            assert_eq!(count(&|turn| *turn == line(2, receiver)), 2, "receiver {receiver} of key 2");
        }
    }

    #[test]
    fn a_turn_goes_to_who_wants_it_and_who_left_wants_nothing() {
        let mut rounds = rounds(&[(1, 1), (1, 2), (2, 1)]);
        let (key, receiver) = line(1, 2);
        assert_eq!(rounds.next(|_, of| *of == receiver), Some(line(1, 2)));
        assert_eq!(rounds.next(|of, _| *of == key), Some(line(1, 1)));
        rounds.leave(&key, &receiver);
        assert_eq!(rounds.next(|_, of| *of == receiver), None);
        rounds.leave(&key, &line(1, 1).1);
        assert_eq!(
            (rounds.next(|_, _| true), rounds.next(|_, _| true)),
            (Some(line(2, 1)), Some(line(2, 1)))
        );
    }

    /// Whoever else comes, goes and wants, in whatever order.
    #[test]
    fn who_goes_on_wanting_has_a_turn_within_a_round() {
        const KEYS: u8 = 7;
        const RECEIVERS: u8 = 9;
        let mut state = 1_u64;
        let mut random = |below: u8| {
            // Knuth's MMIX generator: the same numbers in every run.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8 % below
        };
        let mut rounds = rounds(&[]);
        let patient = [line(0, 4), line(3, 0), line(6, 8)];
        patient.iter().for_each(|(key, receiver)| rounds.join(key, receiver));
        let mut waited: HashMap<&(KeyId, Receiver), usize> = HashMap::new();
        for _ in 0..20_000 {
            for _ in 0..4 {
                let other = line(random(KEYS), random(RECEIVERS));
                match random(2) {
                    _ if patient.contains(&other) => {}
                    0 => rounds.join(&other.0, &other.1),
                    _ => rounds.leave(&other.0, &other.1),
                }
            }
            let sulks = line(random(KEYS), random(RECEIVERS));
            let turn = rounds.next(|key, receiver| {
                let this = (key.clone(), receiver.clone());
                patient.contains(&this) || this != sulks
            });
            let turn = turn.expect("somebody wants it");
            for one in &patient {
                let waited = waited.entry(one).or_default();
                *waited = if turn == *one { 0 } else { *waited + 1 };
                assert!(*waited < usize::from(KEYS) * usize::from(RECEIVERS), "{one:?} is starved");
            }
        }
    }
}
