//! Landlock: the kernel refuses every file, and what else its version knows of.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};

/// Handles every access and allows none.
pub(super) fn confine() -> Result<(), String> {
    let status = Ruleset::default()
        // Files are what every version has, and what this wall is for.
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .map_err(|cause| cause.to_string())?
        // Newer kernels refuse more: truncation, device ioctls, TCP, abstract sockets, signals.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V7))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V7)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V7)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self())
        .map_err(|cause| cause.to_string())?;
    if status.ruleset == RulesetStatus::NotEnforced || !status.no_new_privs {
        return Err("the kernel did not enforce it".to_owned());
    }
    Ok(())
}
