//! What the system's allocator keeps for itself, where a program runs for months.

/// Lets threads share the allocator's arenas: with one per thread, each keeps the largest pictures that it ever held.
pub fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // SAFETY: changes how later allocations are spread; no allocation is touched.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, cores.try_into().unwrap_or(libc::c_int::MAX)) };
    }
}

/// Gives free memory back to the system.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: gives free pages back; no allocation is touched.
    unsafe {
        libc::malloc_trim(0);
    }
}
