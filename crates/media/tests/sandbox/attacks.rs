//! What holds, and that the attacks can tell when it does not.

use std::os::unix::fs::PermissionsExt;

use libtest_mimic::Failed;
use media::{Attack, Check, SupervisorConfig, Wall, Walls, checks, checks_within};

use crate::Test;
use crate::scene::{run, start};

pub(crate) const TESTS: &[Test] = &[
    ("every_attack_fails", every_attack_fails),
    ("without_walls_the_attacks_succeed", without_walls_the_attacks_succeed),
    ("each_missing_wall_is_noticed", each_missing_wall_is_noticed),
    ("a_leaking_environment_is_noticed", a_leaking_environment_is_noticed),
];

fn fallen(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| !check.holds).map(|check| check.name.as_str()).collect()
}

fn every_attack_fails() -> Result<(), Failed> {
    run(async {
        let checks = checks(&start(SupervisorConfig::default()).await).await;
        assert!(checks.len() >= 20, "{} checks", checks.len());
        assert!(checks.iter().all(|check| check.holds), "{checks:#?}");
    });
    Ok(())
}

fn without_walls_the_attacks_succeed() -> Result<(), Failed> {
    let mut expected = vec![
        Attack::OpenFile,
        Attack::OpenProgram,
        Attack::ConnectTcp,
        Attack::UdpSocket,
        Attack::UnixSocket,
        Attack::Fork,
        Attack::RunProgram,
        Attack::SignalParent,
        Attack::UseDescriptors,
        Attack::TakeMemory,
        Attack::WriteBeyond,
    ];
    if rustix::process::geteuid().is_root() {
        expected.extend([Attack::OpenMemory, Attack::BecomeRoot]);
    }
    noticed(Walls::NONE, &expected)
}

fn each_missing_wall_is_noticed() -> Result<(), Failed> {
    // Behind several walls, what one holds is seen when those that also hold it are down.
    let filter_down = Walls::ALL.without(Wall::SystemCalls);
    noticed(filter_down, &[Attack::UdpSocket, Attack::UnixSocket, Attack::Fork, Attack::RunData])?;
    noticed(filter_down.without(Wall::Landlock), &[Attack::OpenFile, Attack::OpenProgram])?;
    if rustix::process::geteuid().is_root() {
        noticed(filter_down.without(Wall::Identity), &[Attack::BecomeRoot])?;
    }
    noticed(Walls::ALL.without(Wall::Descriptors), &[Attack::UseDescriptors])?;
    noticed(Walls::ALL.without(Wall::Limits), &[Attack::TakeMemory, Attack::WriteBeyond])
}

/// With just these walls, these attacks get through, and their checks say so.
fn noticed(walls: Walls, expected: &[Attack]) -> Result<(), Failed> {
    run(async {
        let supervisor = start(SupervisorConfig::default()).await;
        let checks = checks_within(&supervisor, walls).await;
        for attack in expected {
            let (_, name) = Attack::ESCAPES.iter().find(|(escape, _)| escape == attack).expect("an escape");
            let check = checks.iter().find(|check| check.name == *name).expect("a check");
            assert!(!check.holds, "{walls:?}: {check:?}");
            assert!(!check.detail.contains("could not be tried"), "{walls:?}: {check:?}");
        }
    });
    Ok(())
}

fn a_leaking_environment_is_noticed() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("leaky");
    let this = std::env::current_exe()?;
    std::fs::write(&program, format!("#!/bin/sh\nSECRET=1 exec '{}' \"$@\"\n", this.display()))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    run(async {
        let supervisor = start(SupervisorConfig { program, ..Default::default() }).await;
        let checks = checks(&supervisor).await;
        assert_eq!(fallen(&checks), ["the environment is empty"]);
    });
    Ok(())
}
