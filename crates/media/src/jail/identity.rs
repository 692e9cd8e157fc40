//! Privileges, given up for good.

use rustix::process::{Gid, Signal, Uid, geteuid, getppid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

/// `nobody` and `nogroup`: 65534 is the kernel's own overflow id, on every distribution.
const NOBODY: u32 = 65_534;

/// Becomes nobody if it is root, drops every capability, and makes sure that none comes back by running a program.
/// The calls are per thread, and the child has one.
pub(super) fn give_up() -> Result<(), String> {
    let zygote = getppid();
    if geteuid().is_root() {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        set_thread_groups(&[]).map_err(|cause| format!("dropping groups: {cause}"))?;
        set_thread_res_gid(group, group, group).map_err(|cause| format!("changing the group: {cause}"))?;
        set_thread_res_uid(user, user, user).map_err(|cause| format!("changing the user: {cause}"))?;
    }
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(|cause| format!("dropping capabilities: {cause}"))?;
    // Changing the user cleared it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|cause| format!("death signal: {cause}"))?;
    if getppid() != zygote {
        return Err("the zygote ended meanwhile".to_owned());
    }
    set_no_new_privs(true).map_err(|cause| format!("no_new_privs: {cause}"))
}
