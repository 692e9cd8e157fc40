//! What this process holds at a moment.

/// Descriptors, memory, and the processes below.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) descriptors: usize,
    pub(crate) memory_kib: u64,
    pub(crate) zygotes: usize,
    pub(crate) zygotes_memory_kib: u64,
    pub(crate) children_of_zygotes: usize,
}

impl Watch {
    pub(crate) fn now() -> Self {
        let own = std::process::id();
        let zygotes = children_of(own);
        Self {
            descriptors: std::fs::read_dir("/proc/self/fd").expect("descriptors").count(),
            memory_kib: memory_kib(own),
            zygotes: zygotes.len(),
            zygotes_memory_kib: zygotes.iter().map(|pid| memory_kib(*pid)).sum(),
            children_of_zygotes: zygotes.iter().map(|pid| children_of(*pid).len()).sum(),
        }
    }
}

/// The processes whose parent is this one; none, if it has just ended.
fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let lines = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
    lines
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Resident memory; 0 of a process that has just ended.
fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
