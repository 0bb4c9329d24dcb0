//! AMX: whether this process may use it, and products of blocks of two by two tiles. The intrinsics are unstable,
//! so everything here is assembly. No compiled code touches the tile registers by itself, so they keep their
//! contents from one function to the next.

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

/// Rows of a tile, words of its rows, and thus also columns of f32.
pub(crate) const TILE: usize = 16;
/// Words of a whole tile.
pub(crate) const TILE_WORDS: usize = TILE * TILE;
/// Rows and columns of a block of c.
pub(crate) const BLOCK: usize = 2 * TILE;

/// Hands out the tile registers of this thread: 0 to 3 are a block of c of at most 32 × 32, row-major; 4 and 5 its
/// rows of a; 6 and 7 its columns of b. Two by two because a product takes 16 cycles and a load from L1 8: one
/// load per product is the least that four accumulators allow (with one by four it is five loads per four).
///
/// Dropping it releases them: a thread that keeps tile data is slower to switch.
#[derive(Debug)]
pub(crate) struct Tiles {
    shape: (usize, usize),
}

/// What LDTILECFG reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Tiles {
    /// # Safety
    /// [`is_usable`], also of all that follows; no other `Tiles` lives in this thread.
    pub(crate) unsafe fn new() -> Self {
        Self { shape: (0, 0) }
    }

    /// Configures the tiles for a block of `rows × cols`, each in `1..=32`; their contents are lost. Nothing
    /// beyond that many rows of a, columns of b or elements of c is then read or written.
    #[inline(always)]
    pub(crate) fn shape(&mut self, rows: usize, cols: usize) {
        if self.shape != (rows, cols) {
            self.configure(rows, cols);
        }
    }

    #[cold]
    fn configure(&mut self, rows: usize, cols: usize) {
        assert!((1..=BLOCK).contains(&rows) && (1..=BLOCK).contains(&cols), "a block of {rows} × {cols}");
        self.shape = (rows, cols);
        let rows = [rows.min(TILE), rows.saturating_sub(TILE)];
        let cols = [cols.min(TILE), cols.saturating_sub(TILE)];
        let shapes = [
            (rows[0], cols[0]),
            (rows[0], cols[1]),
            (rows[1], cols[0]),
            (rows[1], cols[1]),
            (rows[0], TILE),
            (rows[1], TILE),
            (TILE, cols[0]),
            (TILE, cols[1]),
        ];
        let mut config =
            Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        for (tile, (rows, cols)) in shapes.into_iter().enumerate() {
            // A tile that the block does not need must have neither rows nor columns.
            if rows > 0 && cols > 0 {
                #[allow(clippy::cast_possible_truncation, reason = "at most 16 and 64")]
                {
                    (config.rows[tile], config.row_bytes[tile]) = (rows as u8, 4 * cols as u16);
                }
            }
        }
        // SAFETY: AMX is usable, `new` was promised; palette 1 has tiles of up to 16 rows of 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags, readonly))
        };
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: AMX is usable, `new` was promised.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// Executes an instruction on a tile and rows of memory, `stride` words apart.
macro_rules! tile {
    ($instruction:literal, $at:expr, $stride:expr) => {
        asm!($instruction, at = in(reg) $at, stride = in(reg) 4 * $stride, options(nostack, preserves_flags))
    };
}

/// A block of `R × C` tiles becomes zero.
///
/// # Safety
/// Of all functions of blocks: `Tiles::shape` was called with as many rows and columns as make `R × C` tiles.
#[inline(always)]
pub(crate) unsafe fn zero_block<const R: usize, const C: usize>() {
    // SAFETY: the tiles used are configured.
    unsafe {
        asm!("tilezero tmm0", options(nostack, preserves_flags, nomem));
        if C == 2 {
            asm!("tilezero tmm1", options(nostack, preserves_flags, nomem));
        }
        if R == 2 {
            asm!("tilezero tmm2", options(nostack, preserves_flags, nomem));
        }
        if R == 2 && C == 2 {
            asm!("tilezero tmm3", options(nostack, preserves_flags, nomem));
        }
    }
}

/// Loads a block from `c`, whose rows are `stride` apart: 0 repeats one row, which is how a bias comes in.
///
/// # Safety
/// See [`zero_block`]; `c` is valid for the configured rows and columns.
#[inline(always)]
pub(crate) unsafe fn load_block<const R: usize, const C: usize>(c: *const f32, stride: usize) {
    // SAFETY: the tiles used are configured, and c has their rows and columns.
    unsafe {
        tile!("tileloadd tmm0, [{at} + {stride}*1]", c, stride);
        if C == 2 {
            tile!("tileloadd tmm1, [{at} + {stride}*1]", c.add(TILE), stride);
        }
        if R == 2 {
            tile!("tileloadd tmm2, [{at} + {stride}*1]", c.add(TILE * stride), stride);
        }
        if R == 2 && C == 2 {
            tile!("tileloadd tmm3, [{at} + {stride}*1]", c.add(TILE * stride + TILE), stride);
        }
    }
}

/// Stores a block to `c`, whose rows are `stride` apart.
///
/// # Safety
/// See [`load_block`].
#[inline(always)]
pub(crate) unsafe fn store_block<const R: usize, const C: usize>(c: *mut f32, stride: usize) {
    // SAFETY: the tiles used are configured, and c has their rows and columns.
    unsafe {
        tile!("tilestored [{at} + {stride}*1], tmm0", c, stride);
        if C == 2 {
            tile!("tilestored [{at} + {stride}*1], tmm1", c.add(TILE), stride);
        }
        if R == 2 {
            tile!("tilestored [{at} + {stride}*1], tmm2", c.add(TILE * stride), stride);
        }
        if R == 2 && C == 2 {
            tile!("tilestored [{at} + {stride}*1], tmm3", c.add(TILE * stride + TILE), stride);
        }
    }
}

/// Adds to a block the products over 32 summed indices: a group of each row of `a`, whose rows are `a_stride` words
/// apart, and a tile of each panel of `b`, which are `b_stride` words apart.
///
/// # Safety
/// See [`load_factors`].
#[inline(always)]
pub(crate) unsafe fn multiply_block<const R: usize, const C: usize>(
    a: *const u32,
    a_stride: usize,
    b: *const u32,
    b_stride: usize,
) {
    // SAFETY: passed on.
    unsafe {
        load_factors::<R, C>(a, a_stride, b, b_stride);
        multiply_tile::<R, C, 0>();
        multiply_tile::<R, C, 1>();
        multiply_tile::<R, C, 2>();
        multiply_tile::<R, C, 3>();
    }
}

/// Loads the factors of [`multiply_block`].
///
/// # Safety
/// See [`zero_block`]; `a` is valid for 16 words of each configured row, `b` for `C` whole tiles.
#[inline(always)]
pub(crate) unsafe fn load_factors<const R: usize, const C: usize>(
    a: *const u32,
    a_stride: usize,
    b: *const u32,
    b_stride: usize,
) {
    // SAFETY: the tiles used are configured, a has their rows, b their words.
    unsafe {
        tile!("tileloadd tmm4, [{at} + {stride}*1]", a, a_stride);
        if R == 2 {
            tile!("tileloadd tmm5, [{at} + {stride}*1]", a.add(TILE * a_stride), a_stride);
        }
        tile!("tileloadd tmm6, [{at} + {stride}*1]", b, TILE);
        if C == 2 {
            tile!("tileloadd tmm7, [{at} + {stride}*1]", b.add(b_stride), TILE);
        }
    }
}

/// Multiplies the loaded factors for tile `AT` of the four of a block; nothing if it has not got that one.
///
/// # Safety
/// See [`zero_block`]; [`load_factors`] came before.
#[inline(always)]
pub(crate) unsafe fn multiply_tile<const R: usize, const C: usize, const AT: usize>() {
    // SAFETY: the tiles used are configured.
    unsafe {
        match AT {
            0 => asm!("tdpbf16ps tmm0, tmm4, tmm6", options(nostack, preserves_flags, nomem)),
            1 if C == 2 => asm!("tdpbf16ps tmm1, tmm4, tmm7", options(nostack, preserves_flags, nomem)),
            2 if R == 2 => asm!("tdpbf16ps tmm2, tmm5, tmm6", options(nostack, preserves_flags, nomem)),
            3 if R == 2 && C == 2 => {
                asm!("tdpbf16ps tmm3, tmm5, tmm7", options(nostack, preserves_flags, nomem));
            }
            _ => {}
        }
    }
}
