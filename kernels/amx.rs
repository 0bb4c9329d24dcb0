//! Whether this process may use AMX tiles. The intrinsics are unstable, so everything here is assembly.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::sync::OnceLock;

/// Whether the CPU has AMX tiles with bf16 products and AVX-512 beside them, and the operating system saves the
/// tiles and grants them to this process. Asked once: the permission holds for every thread, present and later.
pub(crate) fn is_usable() -> bool {
    static USABLE: OnceLock<bool> = OnceLock::new();
    *USABLE.get_or_init(|| {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && cpu_has_tiles()
            && system_saves_tiles()
            && system_grants_tiles()
    })
}

#[allow(unused_unsafe, reason = "reading CPUID is unsafe in the oldest supported Rust only")]
fn cpu_has_tiles() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    // SAFETY: every x86-64 has CPUID.
    unsafe { __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE }
}

/// Whether tile configuration and tile data are in the state that the system saves.
#[allow(unused_unsafe, reason = "reading CPUID is unsafe in the oldest supported Rust only")]
fn system_saves_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILECFG_AND_TILEDATA: u32 = 3 << 17;
    // SAFETY: every x86-64 has CPUID.
    if unsafe { __cpuid(1) }.ecx & OSXSAVE == 0 {
        return false;
    }
    let saved: u32;
    // SAFETY: OSXSAVE says that XGETBV may be executed; register 0 always exists.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    saved & TILECFG_AND_TILEDATA == TILECFG_AND_TILEDATA
}

/// Asks Linux for the permission to use tile data, without which the first tile instruction is fatal.
#[cfg(target_os = "linux")]
fn system_grants_tiles() -> bool {
    const SYS_ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let result: i64;
    // SAFETY: the call reads its two integers and no memory; the kernel clobbers rcx and r11 only.
    unsafe {
        asm!(
            "syscall", inlateout("rax") SYS_ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _, out("r11") _, options(nostack)
        );
    }
    result == 0
}

/// Elsewhere nobody has tried.
#[cfg(not(target_os = "linux"))]
fn system_grants_tiles() -> bool {
    false
}
