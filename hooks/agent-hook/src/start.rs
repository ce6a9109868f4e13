//! How the program begins, where its memory comes from, and what becomes of a bug.
//!
//! There is no C library, so what a compiler takes for granted of one is here.

use core::arch::naked_asm;
use core::panic::PanicInfo;
use core::ptr::write_volatile;

use static_alloc::Bump;

use crate::process::{self, Process};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("`_start` is written for x86-64 and ARM64; elsewhere hooks do without this program");

/// All the memory there is; the system gives only what is touched. The longest input takes a quarter of it.
#[global_allocator]
static MEMORY: Bump<[u8; 8 << 20]> = Bump::uninit();

/// Where the kernel begins: the words and the environment lie on the stack.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdi, rsp", "and rsp, -16", "call {begin}", "ud2", begin = sym begin);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x0, sp", "bl {begin}", "brk #1", begin = sym begin);
}

unsafe extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: it is what the kernel left, and nothing was put upon it.
    let process = unsafe { Process::of(stack) };
    process::exit(crate::run(&process))
}

/// A bug here is no concern of a push or a commit.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    process::exit(0)
}

// What the compiler calls by itself. Written byte by byte, and so that it does not become a call of itself.

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: whoever calls says that both are that long.
        unsafe { write_volatile(to.add(at), *from.add(at)) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr() <= from.addr() {
        // SAFETY: forwards, what is overwritten was read before.
        return unsafe { memcpy(to, from, length) };
    }
    for at in (0..length).rev() {
        // SAFETY: whoever calls says that both are that long.
        unsafe { write_volatile(to.add(at), *from.add(at)) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: whoever calls says that it is that long.
        unsafe { write_volatile(to.add(at), value as u8) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: whoever calls says that both are that long.
        let (one, other) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: as for this one.
    unsafe { memcmp(one, other, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: whoever calls says that it ends with a zero.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
