//! Memory, processor time, file size: what a child may use up.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Address space beyond the memory that may be used: the pages of libav's 200-odd shared libraries, and what malloc
/// reserves without using for the threads of an encoder (64 MiB each).
const RESERVED_ADDRESS_BYTES: u64 = 2 << 30;

/// What one child may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JailLimits {
    /// Private writable memory, in bytes: heap, stacks, anonymous mappings.
    pub(crate) memory_bytes: u64,
    /// Processor time over all threads, in seconds.
    pub(crate) cpu_secs: u64,
    /// How long a file may become, in bytes.
    pub(crate) file_bytes: u64,
}

impl JailLimits {
    /// Sets them on the calling process.
    ///
    /// There is no limit on processes here: it would count every thread of the same user on the machine. The
    /// system-call filter forbids processes, and memory bounds threads.
    pub(super) fn set(self) -> Result<(), String> {
        let address_bytes = self.memory_bytes.saturating_add(RESERVED_ADDRESS_BYTES);
        for (resource, name, soft, hard) in [
            (Resource::Data, "data", self.memory_bytes, self.memory_bytes),
            (Resource::As, "address space", address_bytes, address_bytes),
            // At the soft limit SIGXCPU says why; a child that blocks it is killed a second later.
            (Resource::Cpu, "processor time", self.cpu_secs, self.cpu_secs.saturating_add(1)),
            (Resource::Fsize, "file size", self.file_bytes, self.file_bytes),
            // A core would put the media, and what it made of the process, onto the disk.
            (Resource::Core, "core", 0, 0),
            // Above the two that a child has there is just room for the one that Landlock needs for a moment.
            (Resource::Nofile, "descriptors", 8, 8),
            (Resource::Memlock, "locked memory", 0, 0),
            (Resource::Msgqueue, "message queues", 0, 0),
        ] {
            // What the service itself may not exceed is tighter still and cannot be raised.
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
            setrlimit(resource, limit).map_err(|cause| format!("the limit on {name}: {cause}"))?;
        }
        Ok(())
    }
}
