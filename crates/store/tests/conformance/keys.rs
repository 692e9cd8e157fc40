use std::time::Duration;

use domain::{KeyId, Secret, SecretHeader};
use store::NewKey;

use crate::on_both;
use crate::world::{NOW, World, bytes, new_key, secs};

const DAY: Duration = secs(24 * 3600);

async fn a_key_is_known_by_its_secret_until_it_is_revoked(world: World) {
    let new = new_key("ours");
    world.store.create_key(&new).await.expect("created");
    let find = async |secret: &Secret| world.store.authenticate(secret).await.expect("read");
    assert_eq!(find(&new.api_key).await, Some(new.key.clone()));
    assert_eq!(find(&Secret::new("ak_other")).await, None);
    let later = NOW.plus(secs(1));
    assert!(world.store.revoke_key(&new.key.id, later).await.expect("revoked"));
    assert!(!world.store.revoke_key(&new.key.id, later).await.expect("answered"), "revoked twice");
    assert!(!world.store.revoke_key(&KeyId::from_random(bytes()), later).await.expect("answered"));
    assert_eq!(find(&new.api_key).await, None);
    let keys = world.store.keys().await.expect("read");
    assert_eq!(keys[0].revoked_at, Some(later));
    let secrets = world.store.signing_keys(&new.key.id, NOW).await.expect("read").secrets;
    assert_eq!(secrets, [new.webhook_secret], "what was promised to a revoked key can be signed");
}

async fn a_configured_key_is_put_at_each_start(world: World) {
    let mut new = new_key("configured");
    for _ in 0..2 {
        assert!(!world.store.put_key(&new, DAY, NOW).await.expect("put"), "nothing was before");
        assert_eq!(world.store.authenticate(&new.api_key).await.expect("read"), Some(new.key.clone()));
        let secrets = world.store.signing_keys(&new.key.id, NOW).await.expect("read").secrets;
        assert_eq!(secrets, [new.webhook_secret.clone()]);
    }
    let (old_api_key, old_secret) = (new.api_key.clone(), new.webhook_secret.clone());
    (new.api_key, new.webhook_secret) = (Secret::new("ak_new"), Secret::new("whsec_new"));
    assert!(world.store.put_key(&new, DAY, NOW).await.expect("put"));
    assert_eq!(world.store.authenticate(&old_api_key).await.expect("read"), None);
    assert_eq!(world.store.authenticate(&new.api_key).await.expect("read"), Some(new.key.clone()));
    let secrets = async |at| world.store.signing_keys(&new.key.id, at).await.expect("read").secrets;
    assert_eq!(secrets(NOW.plus(DAY).minus(secs(1))).await, [new.webhook_secret.clone(), old_secret]);
    assert_eq!(secrets(NOW.plus(DAY)).await, [new.webhook_secret.clone()]);
    assert_eq!(world.store.keys().await.expect("read"), [new.key.clone()]);

    let lease = {
        world.submit(&crate::world::job(&new.key.id)).await;
        world.claim(crate::world::LONG).await
    };
    assert_eq!(world.complete(&lease).await, 1);
    world.store.put_key(&new, DAY, NOW).await.expect("put");
    let lease = {
        world.submit(&crate::world::job(&new.key.id)).await;
        world.claim(crate::world::LONG).await
    };
    assert_eq!(world.complete(&lease).await, 2, "a new start began to count anew");
}

/// As nodes do while a new configuration is brought to one after the other.
async fn two_configured_secrets_both_sign_while_nodes_of_both_start_in_turn(world: World) {
    let old = new_key("configured");
    let new = NewKey { webhook_secret: Secret::new("whsec_new"), ..old.clone() };
    let secrets = async |at| world.store.signing_keys(&old.key.id, at).await.expect("read").secrets;
    let put = async |key, at| world.store.put_key(key, DAY, at).await.expect("put");
    let (first, second) = (old.webhook_secret.clone(), new.webhook_secret.clone());
    put(&old, NOW).await;
    let hours = |hours: u64| NOW.plus(secs(hours * 3600));
    put(&new, NOW).await;
    assert!(put(&old, hours(1)).await, "the old one is the newest again");
    assert_eq!(secrets(hours(1)).await, [first.clone(), second.clone()]);
    put(&new, hours(2)).await;
    assert!(!put(&new, hours(25)).await, "a start with what there is changes nothing");
    assert_eq!(secrets(hours(25)).await, [second.clone(), first]);
    assert_eq!(secrets(hours(26)).await, [second]);
}

async fn secrets_rotate_with_an_overlap(world: World) {
    let new = new_key("ours");
    let key = &new.key.id;
    world.store.create_key(&new).await.expect("created");
    let [second, third] = ["whsec_2", "whsec_3"].map(Secret::new);
    let signing = async |at| world.store.signing_keys(key, at).await.expect("read").secrets;
    assert!(world.store.rotate_secret(key, &second, DAY, NOW).await.expect("rotated"));
    let end = NOW.plus(DAY);
    assert_eq!(signing(end.minus(secs(1))).await, [second.clone(), new.webhook_secret.clone()]);
    assert_eq!(signing(end).await, std::slice::from_ref(&second));
    let later = NOW.plus(secs(60));
    assert!(world.store.rotate_secret(key, &third, secs(10), later).await.expect("rotated"));
    assert_eq!(signing(later).await, [third.clone(), second, new.webhook_secret]);
    assert_eq!(signing(later.plus(secs(10))).await, [third], "the shorter overlap did not end the first");
    let nobody = KeyId::from_random(bytes());
    assert!(!world.store.rotate_secret(&nobody, &Secret::new("x"), DAY, NOW).await.expect("answered"));
}

async fn private_keys_and_a_header_are_kept_with_a_key(world: World) {
    let (key, nobody) = (world.key().await, KeyId::from_random(bytes()));
    let [old, new] = ["whsk_1", "whsk_2"].map(Secret::new);
    for private_key in [&old, &new] {
        assert!(world.store.add_private_key(&key, private_key).await.expect("added"));
    }
    assert!(!world.store.add_private_key(&nobody, &old).await.expect("answered"));
    let signing = async || world.store.signing_keys(&key, NOW).await.expect("read");
    assert_eq!(signing().await.private_keys, [new.clone(), old.clone()]);
    assert!(!world.store.remove_private_key(&nobody, &old).await.expect("answered"));
    for is_there in [true, false] {
        assert_eq!(world.store.remove_private_key(&key, &old).await.expect("answered"), is_there);
        assert_eq!(signing().await.private_keys, std::slice::from_ref(&new));
    }
    assert_eq!(signing().await.header, None);
    for value in ["t0ken", "another"] {
        let header = SecretHeader { name: "x-token".to_owned(), value: Secret::new(value) };
        assert!(world.store.set_header(&key, Some(&header)).await.expect("set"));
        assert_eq!(signing().await.header, Some(header));
    }
    assert!(world.store.set_header(&key, None).await.expect("unset"));
    assert_eq!(signing().await.header, None);
    assert!(!world.store.set_header(&nobody, None).await.expect("answered"));
}

on_both! {
    secrets_rotate_with_an_overlap
    two_configured_secrets_both_sign_while_nodes_of_both_start_in_turn
    private_keys_and_a_header_are_kept_with_a_key
    a_key_is_known_by_its_secret_until_it_is_revoked
    a_configured_key_is_put_at_each_start
}
