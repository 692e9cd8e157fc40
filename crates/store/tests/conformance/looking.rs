use std::collections::HashSet;

use domain::{KeyId, Timestamp};
use store::{Due, Line};

use crate::on_both;
use crate::world::{NOW, World, secs};

/// Of more than so many a look reads only some.
const FEW: usize = 1000;

impl World {
    /// Puts endpoints of a key into the table, the first of which has this number: `receiver` is SQL over `i`.
    async fn endpoints_due(&self, key: &KeyId, count: usize, first: usize, receiver: &str, due: Timestamp) {
        let insert = format!(
            "INSERT INTO endpoints (id, key_id, receiver, url, state, changed_at, failures, due_at) \
             WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {first} + {count}) \
             SELECT 'ep_' || CAST(1000000000000000 + i AS TEXT), '{key}', {receiver}, 'https://h.example/', \
                 'healthy', 0, 0, {} + i FROM n",
            due.as_millis()
        );
        self.run_sql(insert.leak()).await;
    }

    async fn look(&self, from: Option<&Line>) -> Due {
        self.store.due_endpoints(NOW, FEW, from).await.expect("read")
    }
}

fn of<'a>(due: &'a Due, key: &KeyId) -> Vec<&'a str> {
    due.endpoints.iter().filter(|one| one.key == *key).map(|one| one.receiver.as_str()).collect()
}

async fn what_waits_longest_comes_first_where_little_is_due(world: World) {
    let key = world.key().await;
    world.endpoints_due(&key, 500, 1000, "'a.example:443'", NOW.minus(secs(10))).await;
    world.endpoints_due(&key, 500, 0, "'b.example:443'", NOW.minus(secs(10))).await;
    world.endpoints_due(&key, 9, 2000, "'c.example:443'", NOW).await;
    let due = world.look(None).await;
    let expected = [vec!["b.example:443"; 500], vec!["a.example:443"; 500]].concat();
    assert_eq!(of(&due, &key), expected);
    assert_eq!(due.rest, None);
}

async fn the_urls_of_a_receiver_hide_no_other_however_many_are_due(world: World) {
    let (one, two) = (world.key().await, world.key().await);
    world.endpoints_due(&one, 10_001, 0, "'dead.example:443'", NOW.minus(secs(3600))).await;
    for (key, first) in [(&one, 20_000), (&two, 20_001)] {
        let due = NOW.minus(secs(21));
        world.endpoints_due(key, 1, first, "'well.example:443'", due).await;
    }
    world.endpoints_due(&two, 1, 30_000, "'later.example:443'", NOW).await;
    let due = world.look(None).await;
    assert_eq!(of(&due, &two), ["well.example:443"]);
    let (dead, well): (Vec<_>, Vec<_>) =
        of(&due, &one).into_iter().partition(|receiver| *receiver == "dead.example:443");
    assert!(well.len() == 1 && (1..100).contains(&dead.len()), "{} of the dead one", dead.len());
    let longest: HashSet<String> =
        (0..dead.len()).map(|i| format!("ep_{}", 1_000_000_000_000_000 + i)).collect();
    let found = due.endpoints.iter().filter(|one| one.receiver.as_str() == "dead.example:443");
    assert_eq!(found.map(|one| one.id.as_str().to_owned()).collect::<HashSet<_>>(), longest);
    assert_eq!(due.rest, None, "all lines have been seen");
}

async fn the_receivers_of_a_key_hide_no_other_keys_and_each_is_seen_in_its_turn(world: World) {
    const RECEIVERS: usize = 2_000;
    let (before, crowd, after) = (world.key().await, world.key().await, world.key().await);
    let past = NOW.minus(secs(3600));
    world.endpoints_due(&crowd, RECEIVERS, 0, "'h' || CAST(i AS TEXT) || '.example:443'", past).await;
    world.endpoints_due(&crowd, 700, 10_000, "'h' || CAST(i AS TEXT) || '.example:443'", NOW).await;
    for (key, first) in [(&before, 20_000), (&after, 30_000)] {
        world.endpoints_due(key, 1, first, "'well.example:443'", NOW.minus(secs(31))).await;
    }
    let (mut seen, mut rest, mut looks) = (HashSet::new(), None, 0);
    loop {
        let due = world.look(rest.as_ref()).await;
        for key in [&before, &after] {
            assert_eq!(of(&due, key), ["well.example:443"], "look {looks}");
        }
        assert!(due.endpoints.len() < RECEIVERS / 2, "{} in one look", due.endpoints.len());
        seen.extend(of(&due, &crowd).into_iter().map(str::to_owned));
        looks += 1;
        assert!(looks < 20, "a round without an end");
        rest = due.rest;
        if rest.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), RECEIVERS);
}

async fn what_has_just_become_due_is_found_whatever_else_is_due(world: World) {
    let (crowd, key) = (world.key().await, world.key().await);
    world
        .endpoints_due(&crowd, 2_000, 0, "'h' || CAST(i AS TEXT) || '.example:443'", NOW.minus(secs(9)))
        .await;
    world
        .endpoints_due(&key, 3, 50_000, "'a' || CAST(i AS TEXT) || '.example:443'", NOW.minus(secs(51)))
        .await;
    world.endpoints_due(&key, 3, 60_000, "'later.example:443'", NOW).await;
    let find = async |limit| {
        let fresh = world.store.freshly_due_endpoints(NOW.minus(secs(1)), NOW, limit).await.expect("read");
        fresh.iter().map(|one| one.receiver.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(find(9).await, ["a50002.example:443", "a50001.example:443", "a50000.example:443"]);
    assert_eq!(find(1).await, ["a50002.example:443"]);
}

on_both! {
    what_waits_longest_comes_first_where_little_is_due
    the_urls_of_a_receiver_hide_no_other_however_many_are_due
    what_has_just_become_due_is_found_whatever_else_is_due
    the_receivers_of_a_key_hide_no_other_keys_and_each_is_seen_in_its_turn
}
